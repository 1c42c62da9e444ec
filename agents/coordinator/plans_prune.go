package coordinator

import (
	"context"
	"fmt"
	"slices"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// plansKept is how many plans of a rack are kept besides those that are needed: whoever
// plans and applies a few times finds each of them. A plan of a rack of 48 devices has
// some 200 kB.
const plansKept = 16

// prune removes the oldest plans of a rack, and never one that is needed. It is done when
// one is put, so that the table grows with the racks and not with time.
func (c *Coordinator) prune(ctx context.Context, name string) {
	if err := c.pruned(ctx, name); err != nil && ctx.Err() == nil {
		c.o.Logger.Warn("plans that nobody needs stay in the table; it is tried again with the next plan", "rack", name, "error", err)
	}
}

func (c *Coordinator) pruned(ctx context.Context, name string) error {
	keys, err := c.plans.table.KeysOf(ctx, name+".*")
	if err != nil || len(keys) <= plansKept {
		return err
	}
	needed, sure, err := c.needed(ctx, name)
	if err != nil || !sure {
		return err
	}
	for _, key := range keys[:len(keys)-plansKept] {
		if slices.Contains(needed, key) {
			continue
		}
		if err := c.plans.table.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// beginning is how many events of a rack's log are looked at for the plan of its run: what
// stands before its beginning are answers to orders.
const beginning = 512

// needed are the keys of the plans that a run of a rack carries out, or that the fleet is
// to begin. The log says which the former is: the actor of a rack whose plan or log could
// not be read does not know it. It is not sure while the rack's log is being read, and while
// orders are not answered, which may name any plan.
func (c *Coordinator) needed(ctx context.Context, name string) (keys []string, sure bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	x, _, err := c.desired.read(ctx)
	if err != nil {
		return nil, false, err
	}
	if x != nil && x.Plans[name] != "" {
		keys = append(keys, name+"."+x.Plans[name])
	}
	begun, err := c.log.Read(ctx, name, 1, beginning)
	if err != nil {
		return nil, false, err
	}
	for _, e := range begun {
		if e.GetKind() == string(rack.RackStarted) {
			keys = append(keys, name+"."+e.GetDetail().GetPlanHash())
		}
	}
	f, err := actors.Ask[*messages.Fleet](ctx, c.system, c.fleet, &actors.GetFleet{Whole: true})
	if err != nil {
		return nil, false, fmt.Errorf("ask what the racks carry out: %w", err)
	}
	for _, r := range f.GetRacks() {
		if r.GetName() == messages.RackName(name) {
			return append(keys, name+"."+r.GetPlanHash()), r.GetStatus() != actors.Reading && r.GetOrders() == 0, nil
		}
	}
	return nil, false, nil
}
