package rackagent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// changesShown bounds the differences that an answer names.
const changesShown = 10

// applied carries out the order to carry out a plan, and answers it.
func (k *Keeper) applied(ctx context.Context, o rack.Order, plan []byte) error {
	leave, err := k.giving.enter(ctx, o.ID)
	if err != nil {
		return err
	}
	defer leave()
	k.take()
	defer k.give()
	if k.answered(o.ID) {
		return nil
	}
	if had := k.kept.Load().Carried; had != nil {
		_, err := k.answer(o, nil, k.again(had, o, plan))
		return err
	}
	p, err := k.check(o, plan)
	if err != nil {
		_, err := k.answer(o, nil, err)
		return err
	}
	// The plan is durable before the first event that speaks of it.
	if err := k.Kept().Dir.WritePlan(p); err != nil {
		return err
	}
	bundle, signedBy := p.Bundle.Words()
	_, err = k.carry(p, rack.Event{Rack: k.Name(), Kind: rack.RackStarted,
		Detail: rack.Detail{PlanHash: p.Plan.Hash, Run: k.Journal().Meta().Run, Only: o.Only, By: o.By, Order: o.ID, Bundle: bundle, SignedBy: signedBy}})
	return err
}

// Kept is the state of the rack.
func (k *Keeper) Kept() *Kept { return k.kept.Load() }

// check reads a plan that nobody began. Its error is a *rack.Refusal.
func (k *Keeper) check(o rack.Order, plan []byte) (*state.Plan, error) {
	no := func(next, what string, a ...any) (*state.Plan, error) {
		return nil, &rack.Refusal{What: messages.VerbApply + ": " + fmt.Sprintf(what, a...), Next: next}
	}
	p, err := state.Decode(plan)
	if err != nil {
		return no("apply again with a rackreach of the agent's release", "%v", err)
	}
	p.Simulated, p.Bundle = nil, nil // how the agent reaches its rack and its images is the agent's own matter
	if p.Rack.Name != k.Name() || p.Plan.Rack != k.Name() {
		return no("give it to the agent of that rack", "the plan is of rack %.80q, and this is the agent of %s", p.Rack.Name, k.Name())
	}
	for i := range p.Rack.Devices {
		if d := &p.Rack.Devices[i]; d.Protect {
			return no("take it out of the rack file, with what is cabled through it; or write protect: false, if it may be overwritten", "%s is protected, and a rack is imaged as a whole", d.Name)
		}
	}
	for _, n := range o.Only {
		if _, ok := p.Rack.Device(n); !ok {
			return no("write one of its devices, as rackreach plan shows them", "rack %s has no device %.80q", k.Name(), n)
		}
	}
	if what, next := p.Check(); what != "" {
		return no(next, "%s", what)
	}
	if err := k.o.Check(p); err != nil {
		return no("give it to an agent that can", "%v", err)
	}
	return p, nil
}

// again is why a plan is not applied to a run that was begun, or nil when it is
// being carried out already.
func (k *Keeper) again(had *state.Plan, o rack.Order, plan []byte) (err error) {
	no := func(next, what string, a ...any) error {
		return &rack.Refusal{What: messages.VerbApply + ": rack " + k.Name() + " " + fmt.Sprintf(what, a...), Next: next}
	}
	resume := "rackreach resume " + k.Name()
	p, err := state.Decode(plan)
	if err != nil {
		return no("apply again with a rackreach of the agent's release", "was given what is no plan: %v", err)
	}
	if p.Plan.Hash != had.Plan.Hash {
		changes := state.Changes(had, p)
		more := ""
		if n := len(changes) - changesShown; n > 0 {
			changes, more = changes[:changesShown], fmt.Sprintf("; and %d more", n)
		}
		return no(resume+" goes on with what was begun; or put the file back", "was begun with plan %s, and this is plan %.80s: %s%s", had.Plan.Hash, p.Plan.Hash, strings.Join(changes, "; "), more)
	}
	if e := k.look(func(run *rack.Run) {
		switch {
		case run.Status == rack.Draining || run.Status == rack.Halted && run.Cause != "":
			err = no(resume, "is %s: %s", run.Status, run.Cause)
		case run.Status == rack.Halted:
			err = no(resume+" --all: it images the others", "was begun, and only %s was asked for", strings.Join(run.Only, ", "))
		case run.Status == rack.Completed && !run.Ended():
			err = no(resume, "was completed, and work was ordered since")
		case len(o.Only) > 0 && !slices.Equal(run.Only, o.Only):
			err = no(resume+" --only "+o.Only[0], "was begun already, so it cannot begin with some of its devices")
		}
	}); e != nil {
		return e
	}
	return err
}
