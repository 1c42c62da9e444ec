package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// Limits of waiting.
const (
	askLimit    = 10 * time.Second // for an actor's answer, which may have to read the log
	knownLimit  = 2 * time.Second  // for all racks to be read, after a start, before what is known is told
	answerLimit = 10 * time.Second // for an agent's answer to an order
)

// readLimit is how many events are read from the log at once.
const readLimit = 512

// watchBytes bounds a message to a watcher of the fleet, but for one of the log that
// is larger by itself.
const watchBytes = 64 << 10

// racks are the racks of the coordinator, for the API.
type racks struct{ c *Coordinator }

// Names implements api.Racks.
func (r racks) Names() []string { return r.c.heads.names() }

// Rack implements api.Racks.
func (r racks) Rack(name string) api.Rack {
	if !r.c.heads.knows(name) {
		return nil
	}
	return &oneRack{r.c, name}
}

// oneRack is one of them.
type oneRack struct {
	c    *Coordinator
	name string
}

// State implements api.Rack.
func (r *oneRack) State(ctx context.Context) (*messages.Rack, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return actors.Ask[*messages.Rack](ctx, r.c.system, r.c.fleet, &actors.GetRack{Rack: r.name})
}

// Plan implements api.Rack: of the run, or what was put last.
func (r *oneRack) Plan(ctx context.Context) ([]byte, error) {
	m, err := r.State(ctx)
	if err != nil {
		return nil, err
	}
	if m.GetPlanHash() == "" {
		return nil, connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("rack %s has no plan: rackreach apply FILE gives it one", r.name))
	}
	p, err := r.c.plans.get(ctx, r.name, m.GetPlanHash())
	if err != nil {
		return nil, err
	}
	return p.JSON, nil
}

// Events implements api.Rack.
func (r *oneRack) Events(ctx context.Context, from uint64, follow bool, fn func([]*messages.Event) error) error {
	for {
		events, err := r.c.log.Read(context.WithoutCancel(ctx), r.name, from, readLimit)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			from = events[len(events)-1].GetSeq() + 1
			if err := fn(events); err != nil {
				return err
			}
			continue
		}
		if !follow || r.c.heads.wait(ctx, r.name, from) != nil {
			return nil
		}
	}
}

// Order implements api.Rack: the order is kept, and answered once its agent has.
func (r *oneRack) Order(ctx context.Context, o rack.Order) ([]*messages.Event, error) {
	m := messages.FromOrder(r.name, o)
	m.Id = rand.Text()
	e, err := r.c.ordered(ctx, m)
	if err != nil {
		return nil, err
	}
	return []*messages.Event{e}, nil
}

// ordered keeps an order and waits for its answer. Errors: a *rack.Refusal, an
// *api.NotAnswered, or that it could not be kept.
func (c *Coordinator) ordered(ctx context.Context, m *messages.Order) (*messages.Event, error) {
	m.Time = timestamppb.Now()
	waiting, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	type answer struct {
		a   *actors.Answer
		err error
	}
	got := make(chan answer, 1)
	go func() {
		a, err := actors.Ask[*actors.Answer](waiting, c.system, c.fleet, &actors.Await{Rack: m.GetRack(), ID: m.GetId()})
		got <- answer{a, err}
	}()
	if err := c.log.Order(ctx, m); err != nil {
		c.system.Root.Send(c.fleet, &actors.Forget{Rack: m.GetRack(), ID: m.GetId()})
		return nil, fmt.Errorf("it is not known whether the order was kept: %w: look at the rack's events before it is ordered again", err)
	}
	x := <-got
	var no *rack.Refusal
	switch {
	case x.err == nil:
		return x.a.Event, nil
	case errors.As(x.err, &no):
		return nil, no
	}
	c.system.Root.Send(c.fleet, &actors.Forget{Rack: m.GetRack(), ID: m.GetId()})
	pending := &messages.Pending{Order: m.GetId()}
	asking, stop := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
	defer stop()
	if s, err := actors.Ask[*messages.Rack](asking, c.system, c.fleet, &actors.GetRack{Rack: m.GetRack()}); err == nil {
		pending.LastHeard = s.GetAgent().GetLastHeard()
	}
	return nil, &api.NotAnswered{Pending: pending}
}

// all is the fleet, for the API.
type all struct{ c *Coordinator }

// State implements api.Fleet: when the racks are still being read, after a start,
// it says of which that is so.
func (a all) State(ctx context.Context) (*messages.Fleet, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	waiting, stop := context.WithTimeout(ctx, knownLimit)
	defer stop()
	f, err := actors.Ask[*messages.Fleet](waiting, a.c.system, a.c.fleet, &actors.GetFleet{Whole: true})
	if errors.Is(err, context.DeadlineExceeded) {
		return actors.Ask[*messages.Fleet](ctx, a.c.system, a.c.fleet, &actors.GetFleet{})
	}
	return f, err
}

// Events implements api.Fleet.
func (a all) Events(ctx context.Context, after uint64, follow bool, fn func([]*messages.Event, uint64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, err := a.c.log.Last(ctx)
	if err != nil {
		return err
	}
	if !follow && after >= last {
		return nil
	}
	err = a.c.log.Follow(ctx, after, func(entries []fleetlog.Entry) error {
		for len(entries) > 0 {
			n, events := together(entries)
			position := entries[n-1].Position
			if len(events) > 0 {
				if err := fn(events, position); err != nil {
					return err
				}
			}
			if !follow && position >= last {
				cancel()
				return nil
			}
			entries = entries[n:]
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// together is as many entries as go into one message to a watcher, of whatever
// racks, and their events.
func together(entries []fleetlog.Entry) (n int, events []*messages.Event) {
	for size := 0; n == 0 || n < len(entries) && len(events)+len(entries[n].Events) <= readLimit && size+entries[n].Bytes <= watchBytes; n++ {
		events = append(events, entries[n].Events...)
		size += entries[n].Bytes
	}
	return n, events
}

// PutPlan implements api.Fleet.
func (a all) PutPlan(ctx context.Context, name string, plan []byte) (string, error) {
	hash, err := a.c.plans.put(ctx, name, plan)
	if err == nil {
		a.c.prune(ctx, name)
	}
	return hash, err
}

// ApplyRack implements api.Fleet.
func (a all) ApplyRack(ctx context.Context, name, hash string, only []string, by string) (string, error) {
	if _, err := a.c.plans.get(ctx, name, hash); err != nil {
		return "", err
	}
	o := &messages.Order{Id: rand.Text(), Verb: messages.VerbApply, Rack: name, By: by, PlanHash: hash, Only: only}
	_, err := a.c.ordered(ctx, o)
	var no *rack.Refusal
	if errors.As(err, &no) {
		return "", &api.BadRequest{What: no.What, Next: no.Next}
	}
	var later *api.NotAnswered
	if errors.As(err, &later) {
		return o.Id, nil // it is kept, which is all that was promised
	}
	return o.Id, err
}

// ApplyFleet implements api.Fleet.
func (a all) ApplyFleet(ctx context.Context, q *messages.ApplyFleetRequest, by string) error {
	return a.c.desired.apply(ctx, q, by)
}

// Halt implements api.Fleet.
func (a all) Halt(ctx context.Context, reason, by string) error {
	cause := "halted by " + by
	if reason != "" {
		cause += ": " + reason
	}
	return a.c.desired.halt(ctx, strings.ToValidUTF8(cause, "?"))
}

// Resume implements api.Fleet.
func (a all) Resume(ctx context.Context, _ string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	x, err := actors.Ask[*actors.Stopped](ctx, a.c.system, a.c.fleet, &actors.GetStopped{})
	if errors.Is(err, actors.ErrReading) {
		return &api.BadRequest{What: err.Error(), Next: "try again in a few seconds"}
	}
	if err != nil {
		return err
	}
	return a.c.desired.resume(ctx, x)
}

var (
	_ api.Racks = racks{}
	_ api.Rack  = (*oneRack)(nil)
	_ api.Fleet = all{}
)

// sorted is a sorted copy of names.
func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}
