package actors

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// records is a log of record in memory, with a coordinator's actors on it.
type records struct {
	t      *testing.T
	system *actor.ActorSystem
	fleet  *actor.PID

	mu       sync.Mutex
	events   map[string][]*messages.Event
	orders   []*messages.Order
	answered []string
	halted   string
	all      []*actor.PID // every Fleet on the log
	sight    func(string, Sighting)
	record   *Desired      // what the fleet is to become, since racks of it were begun
	fail     error         // of reading
	unkept   int           // orders that could not be kept
	broken   bool          // no order can be kept
	skew     time.Duration // of the agents' clocks
	saves    *savedRuns    // nil: nothing is saved
}

var proxyRack = testRack("r1", 2, 0, 2)

// newRecords starts a Fleet that has caught up with an empty log.
func newRecords(t *testing.T) *records {
	r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{}}
	r.start()
	r.send(&CaughtUp{})
	return r
}

// start starts a Fleet on a log that is empty so far.
func (r *records) start() {
	r.spawn()
	r.send(&Known{})
}

func (r *records) spawn() {
	o := FleetOptions{Read: r.read, Plan: r.plan, Order: r.keep, Answered: r.drop, Begin: r.begin, Halted: r.halt, Now: time.Now}
	o.Sight = r.sight
	if r.saves != nil {
		o.Save, o.Saved = r.saves.save, r.saves.run
	}
	r.fleet = r.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return NewFleet(o) }))
	r.all = append(r.all, r.fleet)
}

func (r *records) stop() {
	if err := r.system.Root.StopFuture(r.fleet).Wait(); err != nil {
		r.t.Error(err)
	}
	time.Sleep(6 * time.Second) // the library's dead-letter throttle ends after 5 (virtual time)
}

func (r *records) send(m any) {
	r.system.Root.Send(r.fleet, m)
	synctest.Wait()
}

func (r *records) read(_ context.Context, name string, from uint64, limit int) ([]*messages.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return nil, r.fail
	}
	all := r.events[name]
	if from > uint64(len(all)) {
		return nil, nil
	}
	return slices.Clone(all[from-1 : min(len(all), int(from)-1+limit)]), nil
}

func (r *records) plan(_ context.Context, name, hash string) (*FleetPlan, error) {
	if hash != "aa" {
		return nil, errors.New("no such plan")
	}
	x := *proxyRack
	x.Name = name
	return &FleetPlan{Rack: &x, Platforms: platform.All(), JSON: []byte("plan of " + name)}, nil
}

func (r *records) keep(_ context.Context, o *messages.Order) error {
	r.mu.Lock()
	if r.broken {
		defer r.mu.Unlock()
		if r.unkept++; r.unkept > 100 {
			r.broken = false // who asks so often would never end
		}
		return errors.New("the log is away")
	}
	twice := slices.ContainsFunc(r.orders, func(x *messages.Order) bool { return x.GetId() == o.GetId() })
	if !twice {
		r.orders = append(r.orders, o)
	}
	r.mu.Unlock()
	if !twice {
		r.tellAll(&Ordered{o})
	}
	return nil
}

func (r *records) tellAll(m any) {
	for _, pid := range r.all {
		r.system.Root.Send(pid, m)
	}
}

// begin is a table that all share: what comes first counts.
func (r *records) begin(_ context.Context, d *Desired, racks []string) error {
	r.mu.Lock()
	if r.record == nil || r.record.Revision == d.Revision {
		x := *d
		x.Begun, x.Revision = slices.Concat(d.Begun, racks), d.Revision+1
		r.record = &x
	}
	now := r.record
	r.mu.Unlock()
	r.tellAll(&Want{now})
	return nil
}

func (r *records) drop(_ context.Context, _, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = append(r.answered, id)
	return nil
}

// change changes what the fleet is to become, behind what was begun of it.
func (r *records) change(fn func(x *Desired)) {
	r.mu.Lock()
	x := *r.record
	x.Revision++
	fn(&x)
	r.record = &x
	r.mu.Unlock()
	r.tellAll(&Want{&x})
	synctest.Wait()
}

func (r *records) halt(_ context.Context, _ *Desired, cause string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted = cause
	return nil
}

// append puts events into the log, and lets the Fleet know.
func (r *records) append(name string, events ...rack.Event) {
	r.mu.Lock()
	var out []*messages.Event
	for _, e := range events {
		e.Rack, e.Seq, e.Time = name, uint64(len(r.events[name])+1), time.Now().Add(r.skew)
		m := messages.FromEvent(e)
		r.events[name] = append(r.events[name], m)
		out = append(out, m)
	}
	r.mu.Unlock()
	r.send(&Logged{Entries: []LogEntry{{Rack: name, Epoch: 1, Events: out}}})
}

// attach connects an agent.
func (r *records) attach(name string) *Line {
	l := NewLine()
	r.send(&AgentAttached{Rack: name, Hello: &messages.Hello{Rack: name, Version: "v1"}, Epoch: 1, Line: l})
	return l
}

func ask[T any](r *records, m any) T {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	v, err := Ask[T](ctx, r.system, r.fleet, m)
	if err != nil {
		r.t.Errorf("%T: %v", m, err)
	}
	return v
}

// given are the orders that were given on a line so far.
func given(l *Line) (ids []string) {
	for {
		select {
		case o := <-l.Orders():
			ids = append(ids, o.GetId())
		default:
			return ids
		}
	}
}

var begins = rack.Event{Kind: rack.RackStarted, Detail: rack.Detail{PlanHash: "aa", Run: "x"}}

// inFleet runs a test of the coordinator's actors in virtual time.
func inFleet(t *testing.T, fn func(t *testing.T, r *records)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecords(t)
		fn(t, r)
		r.stop()
	})
}
