package rackagent

import (
	"context"
	"errors"
	"fmt"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// replayBatch bounds the events that are held at once while replaying.
const replayBatch = 1024

// Kept is the state of one rack, opened: nobody else can write to it until it
// is closed. It is the API of a rack that no actor drives. Its fields do not
// change; it may be used from any goroutine.
type Kept struct {
	Dir     state.Dir
	Carried *state.Plan // what the run carries out; nil: it was never begun
	Journal *journal.Store
	Run     *rack.Run // as the journal said when it was opened
}

var _ api.Backend = (*Kept)(nil)

// OpenKept opens the state of a rack whose run was begun. fresh, when it is not
// nil, is what a run that was not begun is to carry out; it is kept then. Errors
// name what holds the state and what to do.
func OpenKept(dir state.Dir, rackName string, fresh *state.Plan) (*Kept, error) {
	return openKept(dir, rackName, fresh != nil, func(k *Kept, begun bool) error {
		if begun {
			return nil
		}
		if fresh == nil {
			return state.Unfitf("the run of rack %s in %s was never begun: rackreach apply FILE", rackName, dir)
		}
		// The plan is durable before the first event that speaks of it.
		k.Carried = fresh
		return dir.WritePlan(fresh)
	})
}

// OpenWaiting opens the state of a rack whether its run was begun or not; a
// journal is made where there is none. A plan that lies there and was not begun
// is none: nobody ordered it. Errors: as OpenKept.
func OpenWaiting(dir state.Dir, rackName string) (*Kept, error) {
	return openKept(dir, rackName, true, func(*Kept, bool) error { return nil })
}

func openKept(dir state.Dir, rackName string, create bool, complete func(k *Kept, begun bool) error) (_ *Kept, err error) {
	o := journal.Options{} // the journal must exist
	if create {
		o.Rack = rackName
	}
	log, err := journal.Open(string(dir), o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, log.Close())
		}
	}()
	if of := log.Meta().Rack; of != rackName {
		return nil, fmt.Errorf("%w: %s, not %s: move it to where it belongs, or restore the one of %s (in %s)", journal.ErrOtherRack, of, rackName, rackName, dir)
	}
	k := &Kept{Dir: dir, Journal: log}
	begun, err := hasBegun(log)
	if err != nil {
		return nil, err
	}
	if begun {
		if k.Carried, err = dir.ReadPlan(); err != nil {
			return nil, state.Unread(err, "the journal in %s has events, but what its run carries out cannot be read: restore plan.json from a backup, or move the directory away and begin anew", dir)
		}
	}
	if err := complete(k, begun); err != nil {
		return nil, err
	}
	k.Run, err = k.Replay()
	if err == nil && begun && k.Run.PlanHash != k.Carried.Plan.Hash {
		err = state.Unfitf("the journal in %s is of plan %s, plan.json beside it is %s: restore both from one backup, or move the directory away and begin anew", dir, k.Run.PlanHash, k.Carried.Plan.Hash)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// hasBegun reports whether a journal is that of a run that was begun. What stands
// before its beginning are answers to orders.
func hasBegun(log journal.Log) (bool, error) {
	for from := uint64(1); ; {
		events, err := log.Read(from, replayBatch)
		if err != nil || len(events) == 0 {
			return false, err
		}
		for _, e := range events {
			if e.Kind != rack.OrderAnswered {
				return true, nil
			}
			from = e.Seq + 1
		}
	}
}

// carrying is the same state with a plan that its run is to carry out.
func (k *Kept) carrying(p *state.Plan) *Kept {
	with := *k
	with.Carried = p
	return &with
}

// Replay is the state of the run as its journal says now.
func (k *Kept) Replay() (*rack.Run, error) {
	run := k.NewRun()
	return run, catchUp(run, k.Journal)
}

// catchUp applies what a journal holds behind the state of a run.
func catchUp(run *rack.Run, log journal.Log) error {
	for {
		events, err := log.Read(run.Seq()+1, replayBatch)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			run.Apply(e)
		}
	}
}

// NewRun implements api.Backend. Without a plan it is the run of a rack whose
// devices nobody knows.
func (k *Kept) NewRun() *rack.Run {
	run := rack.NewRun(&rack.Rack{Name: k.Journal.Meta().Rack}, nil)
	if k.Carried != nil {
		run = rack.NewRun(k.Carried.Rack, k.Carried.Platforms)
	}
	run.Salvaged = k.Journal.Meta().Salvaged
	return run
}

// Log implements api.Backend.
func (k *Kept) Log() journal.Log { return k.Journal }

// Plan implements api.Backend; nil: there is none.
func (k *Kept) Plan() []byte {
	if k.Carried == nil {
		return nil
	}
	b, err := k.Carried.Encode()
	if err != nil {
		return nil // it was read from JSON
	}
	return b
}

// Driven implements api.Backend: there is no agent.
func (k *Kept) Driven() bool { return false }

// Speed implements api.Backend. Nobody knows it while there is no agent.
func (k *Kept) Speed() float64 { return 1 }

// Transferred implements api.Backend: nothing is served.
func (k *Kept) Transferred(string) (sent, size int64) { return 0, 0 }

// Order implements api.Backend: it is journalled, and comes into force when the
// run goes on.
func (k *Kept) Order(_ context.Context, o rack.Order) ([]rack.Event, error) {
	if o.Verb.OfLight() {
		return nil, &rack.Refusal{What: fmt.Sprintf("%s %s: no agent drives rack %s, so nobody here asks its BMC", o.Verb, o.Device, k.Journal.Meta().Rack), Next: "rackreach identify FILE DEVICE, with the rack file: it asks the BMC from this machine"}
	}
	events, err := k.decide(o)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return k.Journal.Append(events...)
}

// decide is what follows from an order while nobody drives the rack.
func (k *Kept) decide(o rack.Order) ([]rack.Event, error) {
	run, err := k.Replay()
	if err != nil {
		return nil, err
	}
	if o.Verb == rack.HaltNow && run.Status == rack.Imaging {
		return nil, &rack.Refusal{What: "halt: no agent drives rack " + run.Rack.Name + ", so nothing is sent to a device", Next: "nothing, until somebody starts rackreach resume or apply"}
	}
	// It was interrupted, and nobody drives it: nobody would end the draining, and
	// no configuration is being pushed.
	if run.Status == rack.Draining || run.Status == rack.Imaging && (o.Verb != rack.Resume || len(o.Only) > 0 || o.All) {
		run.Status = rack.Halted
	}
	return run.Obey(o)
}

// Close lets go of the state.
func (k *Kept) Close() error { return k.Journal.Close() }
