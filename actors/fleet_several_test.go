package actors

import (
	"slices"
	"testing"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// second starts another coordinator on the log, and returns both.
func (r *records) second() (a, b func()) {
	first := r.fleet
	r.spawn()
	r.send(&Known{})
	r.send(&CaughtUp{})
	other := r.fleet
	return func() { r.fleet = first }, func() { r.fleet = other }
}

// everywhere puts events into the log, which all coordinators follow.
func (r *records) everywhere(name string, events ...rack.Event) {
	before := len(r.events[name])
	r.append(name, events...)
	for _, pid := range r.all {
		if pid != r.fleet {
			r.system.Root.Send(pid, &Logged{Entries: []LogEntry{{Rack: name, Epoch: 1, Events: r.events[name][before:]}}})
		}
	}
	r.send(&GetCounts{}) // and waits
}

func idsOf(orders []*messages.Order) (ids []string) {
	for _, o := range orders {
		ids = append(ids, o.GetId())
	}
	return ids
}

// TestTwoCoordinatorsHoldOneBound: each has an agent of its own, and one rack may be
// imaged at once.
func TestTwoCoordinatorsHoldOneBound(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		a, b := r.second()
		defer a()
		for _, n := range []string{"r1", "r2"} {
			r.tellAll(&Planned{Rack: n, Hash: "aa"})
		}
		a()
		r.attach("r1")
		b()
		r.attach("r2")
		r.tellAll(&Want{&Desired{ID: "7", Revision: 1, Spec: fleet.Spec{Name: "f", AtOnce: 1, Racks: []string{"r1", "r2"}}, Plans: map[string]string{"r1": "aa", "r2": "aa"}}})
		r.send(&GetCounts{})
		if len(r.orders) != 1 {
			t.Fatalf("one at once, and ordered: %q", idsOf(r.orders))
		}
		one := r.orders[0].GetRack()
		e := begins
		e.Detail.Order = r.orders[0].GetId()
		r.everywhere(one, e)
		if len(r.orders) != 1 {
			t.Fatalf("%s is being imaged, and ordered: %q", one, idsOf(r.orders))
		}
		r.everywhere(one, rack.Event{Kind: rack.RackCompleted})
		if len(r.orders) != 2 || r.orders[1].GetRack() == one {
			t.Fatalf("%s is completed, and ordered: %q", one, idsOf(r.orders))
		}
		b()
		if err := r.system.Root.StopFuture(r.fleet).Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestATurnThatNobodyOrdered: the coordinator that put it on record has ended before
// it ordered. The next one does, once, and nobody takes the rack's place.
func TestATurnThatNobodyOrdered(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		for _, n := range []string{"r1", "r2"} {
			r.send(&Planned{Rack: n, Hash: "aa"})
		}
		r.attach("r2")
		d := &Desired{ID: "7", Revision: 5, Begun: []string{"r1"}, Spec: fleet.Spec{Name: "f", AtOnce: 1, Racks: []string{"r1", "r2"}}, Plans: map[string]string{"r1": "aa", "r2": "aa"}}
		r.send(&Want{d})
		if got := idsOf(r.orders); !slices.Equal(got, []string{"fleet-7-r1"}) {
			t.Fatalf("ordered: %q", got)
		}
		early := *d
		early.Revision, early.Begun = 4, nil
		r.send(&Want{&early}) // the table tells of it late
		if got := idsOf(r.orders); len(got) != 1 {
			t.Errorf("ordered: %q", got)
		}
		l := r.attach("r1")
		if got := given(l); !slices.Equal(got, []string{"fleet-7-r1"}) {
			t.Errorf("given: %q", got)
		}
		r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "fleet-7-r1", Error: "no"}})
		r.send(&Ordered{r.orders[0]}) // somebody else ordered it too
		if got := given(l); len(got) > 0 {
			t.Errorf("given once more: %q", got)
		}
		if got := idsOf(r.orders); !slices.Equal(got, []string{"fleet-7-r1", "fleet-7-r2"}) {
			t.Errorf("r1 was refused, and ordered: %q", got)
		}
	})
}
