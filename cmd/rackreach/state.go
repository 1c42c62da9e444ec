package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// homeOf is the state directory: the one that a flag names, or the default one.
func homeOf(flag string, env func(string) (string, bool)) (state.Home, error) {
	if flag != "" {
		return state.Home(flag), nil
	}
	home, err := state.Default(env)
	if err != nil {
		return "", badInput(err)
	}
	return home, nil
}

// kept is the state of one rack, opened: nobody else can write to it until it
// is closed.
type kept struct {
	dir  state.Dir
	plan *state.Plan
	log  *journal.Store
	run  *rack.Run // as the journal says when it was opened
}

// resolved is everything that a run of a rack carries out.
func resolved(r *rack.Rack) (*state.Plan, error) {
	plan, _, err := planned(r)
	if err != nil {
		return nil, err
	}
	p := &state.Plan{Rack: r, Plan: plan, Platforms: map[string]rack.Platform{}}
	all := platform.All()
	for i := range r.Devices {
		name := r.Devices[i].Platform
		p.Platforms[name] = all[name]
	}
	return p, nil
}

// openKept opens the state of a rack that was begun. fresh, when it is not nil,
// begins one where there is none. Errors name what holds it and what to do.
func openKept(dir state.Dir, rackName string, fresh *state.Plan) (_ *kept, err error) {
	o := journal.Options{} // the journal must exist
	if fresh != nil {
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
	k := &kept{dir: dir, plan: fresh, log: log}
	begun := k.log.Last() > 0
	old, err := dir.ReadPlan()
	switch {
	case err == nil && begun:
		k.plan = old
	case begun:
		return nil, fmt.Errorf("the journal in %s has events, but what its run carries out cannot be read: restore plan.json from a backup, or move the directory away and begin anew: %w", dir, err)
	case fresh == nil:
		return nil, fmt.Errorf("the run of rack %s in %s was never begun: rackreach apply FILE", rackName, dir)
	default:
		// The plan is durable before the first event that speaks of it.
		if err := dir.WritePlan(fresh); err != nil {
			return nil, err
		}
	}
	k.run, err = k.replay()
	if err == nil && begun && k.run.PlanHash != k.plan.Plan.Hash {
		err = fmt.Errorf("the journal in %s is of plan %s, plan.json beside it is %s: restore both from one backup, or move the directory away and begin anew", dir, k.run.PlanHash, k.plan.Plan.Hash)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// replay is the state of the run as its journal says now.
func (k *kept) replay() (*rack.Run, error) {
	run := k.NewRun()
	for {
		events, err := k.log.Read(run.Seq()+1, replayBatch)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return run, nil
		}
		for _, e := range events {
			run.Apply(e)
		}
	}
}

// replayBatch bounds the events that are held at once while replaying.
const replayBatch = 1024

// NewRun implements api.Backend.
func (k *kept) NewRun() *rack.Run {
	run := rack.NewRun(k.plan.Rack, k.plan.Platforms)
	run.Salvaged = k.log.Meta().Salvaged
	return run
}

// Log implements api.Backend.
func (k *kept) Log() journal.Log { return k.log }

// Plan implements api.Backend.
func (k *kept) Plan() []byte {
	b, err := k.plan.Encode()
	if err != nil {
		return nil // it was read from JSON
	}
	return b
}

// Driven implements api.Backend: there is no agent.
func (k *kept) Driven() bool { return false }

// Speed implements api.Backend. Nobody knows it while there is no agent.
func (k *kept) Speed() float64 { return 1 }

// Transferred implements api.Backend: nothing is served.
func (k *kept) Transferred(string) (sent, size int64) { return 0, 0 }

// Order implements api.Backend: it is journalled, and comes into force when the
// run goes on.
func (k *kept) Order(_ context.Context, o rack.Order) ([]rack.Event, error) {
	run, err := k.replay()
	if err != nil {
		return nil, err
	}
	if o.Verb == rack.HaltNow && run.Status == rack.Imaging {
		return nil, &rack.Refusal{What: "halt: no agent drives rack " + run.Rack.Name + ", so nothing is sent to a device", Next: "nothing, until somebody starts rackreach resume or apply"}
	}
	// It was interrupted, and nobody drives it: nobody would end the draining, and
	// no configuration is being pushed.
	if run.Status == rack.Draining || run.Status == rack.Imaging && (o.Verb != rack.Resume || len(o.Only) > 0) {
		run.Status = rack.Halted
	}
	events, err := run.Obey(o)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return k.log.Append(events...)
}

func (k *kept) close() error { return k.log.Close() }
