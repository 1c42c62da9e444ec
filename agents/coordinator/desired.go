package coordinator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/messages"
)

// desiredKey is where the table holds what the fleet is to become.
const desiredKey = "desired"

// recordLimit bounds a write for the actors, who try again.
const recordLimit = 10 * time.Second

// desired keeps what the fleet is to become. Every coordinator of a cluster
// follows it.
type desired struct {
	table *fleetlog.Table
	plans *plans
	told  func(*actors.Desired) // is told of every change that was made here
}

// read is what the fleet is to become; nil: nothing.
func (d *desired) read(ctx context.Context) (*actors.Desired, uint64, error) {
	b, revision, err := d.table.Get(ctx, desiredKey)
	if errors.Is(err, fleetlog.ErrNone) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read what the fleet is to become: %w", err)
	}
	x, err := decodeDesired(b, revision)
	return x, revision, err
}

func decodeDesired(b []byte, revision uint64) (*actors.Desired, error) {
	var x actors.Desired
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("read what the fleet is to become: %w", err)
	}
	x.Revision = revision
	return &x, nil
}

// put writes what the fleet is to become if nobody has since a revision, and tells of
// it. Errors: fleetlog.ErrConflict.
func (d *desired) put(ctx context.Context, x *actors.Desired, after uint64) error {
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("keep what the fleet is to become: %w", err)
	}
	if x.Revision, err = d.table.Update(ctx, desiredKey, b, after); err == nil {
		d.told(x)
	}
	return err
}

// onRecord writes what becomes of a fleet by the word of the actors, for as long as it
// is to become what they go by; else they are told what it is to become by now.
func (d *desired) onRecord(ctx context.Context, by *actors.Desired, fn func(x *actors.Desired)) error {
	ctx, cancel := context.WithTimeout(ctx, recordLimit)
	defer cancel()
	x := *by
	fn(&x)
	err := d.put(ctx, &x, by.Revision)
	if !errors.Is(err, fleetlog.ErrConflict) {
		return err
	}
	now, _, err := d.read(ctx)
	switch {
	case err != nil:
		return err
	case now == nil || now.Revision <= by.Revision:
		return errors.New("what the fleet is to become is not in the log any more, or the log came out of a backup: restart every coordinator, then apply the fleet again")
	}
	d.told(now)
	return nil
}

// begin puts on record that the turn of racks has come, as actors.FleetOptions has it.
func (d *desired) begin(ctx context.Context, by *actors.Desired, racks []string) error {
	return d.onRecord(ctx, by, func(x *actors.Desired) { x.Begun = slices.Concat(by.Begun, racks) })
}

// stop puts on record that no further rack is begun, as actors.FleetOptions has it.
func (d *desired) stop(ctx context.Context, by *actors.Desired, cause string) error {
	return d.onRecord(ctx, by, func(x *actors.Desired) { x.Halted = cause })
}

// change changes what the fleet is to become, by compare-and-set.
func (d *desired) change(ctx context.Context, fn func(old *actors.Desired) (*actors.Desired, error)) error {
	for {
		old, revision, err := d.read(ctx)
		if err != nil {
			return err
		}
		x, err := fn(old)
		if err != nil || x == old {
			return err
		}
		if err := d.put(ctx, x, revision); !errors.Is(err, fleetlog.ErrConflict) {
			return err
		}
	}
}

// apply makes a fleet what is desired. Racks whose plan was begun go on with it.
func (d *desired) apply(ctx context.Context, q *messages.ApplyFleetRequest, by string) error {
	x := &actors.Desired{ID: rand.Text(), By: by, Plans: map[string]string{}, Only: map[string][]string{},
		Spec: fleet.Spec{Name: q.GetName(), AtOnce: int(q.GetAtOnce()), HaltAfter: int(q.GetHaltAfter())}}
	for _, r := range q.GetRacks() {
		name, err := messages.ParseRack(r.GetName())
		if err != nil {
			return &api.BadRequest{What: err.Error(), Next: "write racks/RACK"}
		}
		if _, err := d.plans.get(ctx, name, r.GetPlanHash()); err != nil {
			return err
		}
		if x.Plans[name] != "" {
			return &api.BadRequest{What: fmt.Sprintf("rack %s is named twice", name), Next: "name each rack once"}
		}
		x.Plans[name] = r.GetPlanHash()
		if len(r.GetOnly()) > 0 {
			x.Only[name] = r.GetOnly()
		}
		x.Spec.Racks = append(x.Spec.Racks, name)
	}
	return d.change(ctx, func(*actors.Desired) (*actors.Desired, error) { return x, nil })
}

// halt keeps why no further rack is begun, by the word of a person.
func (d *desired) halt(ctx context.Context, cause string) error {
	return d.change(ctx, func(old *actors.Desired) (*actors.Desired, error) {
		switch {
		case old == nil:
			return nil, &api.BadRequest{What: "no fleet was applied", Next: "rackreach apply FLEET-FILE"}
		case old.Halted != "":
			return old, nil
		}
		x := *old
		x.Halted = cause
		return &x, nil
	})
}

// resume lets further racks begin again. The racks that have stopped by now count no
// more, until they stop anew.
func (d *desired) resume(ctx context.Context, stopped *actors.Stopped) error {
	return d.change(ctx, func(old *actors.Desired) (*actors.Desired, error) {
		switch {
		case old == nil:
			return nil, &api.BadRequest{What: "no fleet was applied", Next: "rackreach apply FLEET-FILE"}
		case old.Halted == "":
			return old, nil
		case old.ID != stopped.Fleet:
			return nil, &api.BadRequest{What: "another fleet was applied at this moment", Next: "look at rackreach status, and resume it again if it is halted"}
		}
		x := *old
		x.Halted, x.Spec.Forgiven = "", stopped.Racks
		return &x, nil
	})
}

// watch calls fn with what the fleet is to become, now and whenever it changes. told
// is called once it was told what that is now, if anything.
func (d *desired) watch(ctx context.Context, fn func(*actors.Desired), told func()) error {
	return d.table.WatchKeys(ctx, desiredKey, func(key string, value []byte, revision uint64) error {
		if key != desiredKey || value == nil {
			return nil
		}
		x, err := decodeDesired(value, revision)
		if err == nil {
			fn(x)
		}
		return err
	}, told)
}
