package actors

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// TestAHaltedFleetBeginsNothing until somebody lets it go on: neither a rack that
// connects, nor one whose turn comes because another one has ended.
func TestAHaltedFleetBeginsNothing(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		d := Desired{ID: "f", Spec: fleet.Spec{Name: "f", AtOnce: 1, Racks: []string{"r1", "r2"}}, Plans: map[string]string{"r1": "aa", "r2": "aa"}, Halted: "halted by ada: smoke"}
		r.send(&Want{&d})
		r.attach("r1")
		r.attach("r2")
		if len(r.orders) > 0 {
			t.Errorf("ordered: %v", r.orders)
		}
		goes := d
		goes.Halted = ""
		r.send(&Want{&goes})
		if len(r.orders) != 1 || r.orders[0].GetRack() != "r1" {
			t.Errorf("ordered once it went on: %v", r.orders)
		}
		r.append("r1", begins)
		r.change(func(x *Desired) { x.Halted = d.Halted })
		r.append("r1", rack.Event{Kind: rack.RackCompleted})
		if len(r.orders) != 1 {
			t.Errorf("ordered while it was halted: %v", r.orders)
		}
		r.change(func(x *Desired) { x.Halted = "" })
		if len(r.orders) != 2 || r.orders[1].GetRack() != "r2" {
			t.Errorf("ordered in the end: %v", r.orders)
		}
	})
}

// TestAFleetThatHasNotReadItsLogBeginsNothing: what it takes for an idle rack may
// have been imaged long ago.
func TestAFleetThatHasNotReadItsLogBeginsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{}}
		r.start()
		r.send(&Want{&Desired{ID: "f", Spec: fleet.Spec{Name: "f", Racks: []string{"r1"}}, Plans: map[string]string{"r1": "aa"}}})
		r.attach("r1")
		if len(r.orders) > 0 {
			t.Errorf("ordered: %v", r.orders)
		}
		r.send(&CaughtUp{})
		if len(r.orders) != 1 {
			t.Errorf("ordered once it has read it: %v", r.orders)
		}
		r.stop()
	})
}

// TestARackThatRefusesMakesRoom for the next one.
func TestARackThatRefusesMakesRoom(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		d := &Desired{ID: "f", Spec: fleet.Spec{Name: "f", AtOnce: 1, Racks: []string{"r1", "r2"}}, Plans: map[string]string{"r1": "aa", "r2": "aa"}}
		r.attach("r1")
		r.attach("r2")
		r.send(&Want{d})
		if len(r.orders) != 1 || r.orders[0].GetRack() != "r1" {
			t.Fatalf("ordered: %v", r.orders)
		}
		r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: d.OrderID("r1"), Error: "it is of another plan", Next: "look"}})
		if len(r.orders) != 2 || r.orders[1].GetRack() != "r2" {
			t.Errorf("ordered behind the refusal: %v", r.orders)
		}
	})
}

// TestAnOrderThatWasAnsweredLongAgo is in the queue still, when a coordinator ended
// between the answer and the queue: it is looked for in the log before the agent is
// given it.
func TestAnOrderThatWasAnsweredLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{}}
		r.start() // it has not caught up
		answer := func(id string) rack.Event {
			return rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: id}}
		}
		r.mu.Lock()
		for i, e := range []rack.Event{answer("o0"), begins, answer("o1")} {
			e.Rack, e.Seq, e.Time = "r1", uint64(i+1), time.Now()
			r.events["r1"] = append(r.events["r1"], messages.FromEvent(e))
		}
		r.mu.Unlock()
		r.send(&Logged{Entries: []LogEntry{{Rack: "r1", Epoch: 1, Events: r.events["r1"][:1]}}}) // so far
		for _, id := range []string{"o1", "o1", "o2"} {                                          // one came twice
			r.send(&Ordered{&messages.Order{Id: id, Rack: "r1", Verb: "halt"}})
		}
		l := r.attach("r1")
		if ids := given(l); !slices.Equal(ids, []string{"o2"}) {
			t.Errorf("given: %q", ids)
		}
		r.append("r1", answer("o2"))
		r.send(&CaughtUp{})
		if n := ask[*messages.Fleet](r, &GetFleet{}).GetRacks()[0].GetOrders(); n != 0 {
			t.Errorf("%d orders are not answered", n)
		}
		r.stop()
	})
}

// TestAnOrderThatCameTwice is answered once.
func TestAnOrderThatCameTwice(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.append("r1", begins)
		for range 2 {
			r.send(&Ordered{&messages.Order{Id: "o1", Rack: "r1", Verb: "halt"}})
		}
		l := r.attach("r1")
		if ids := given(l); !slices.Equal(ids, []string{"o1"}) {
			t.Errorf("given: %q", ids)
		}
		r.append("r1", rack.Event{Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "o1"}})
		if n := ask[*messages.Fleet](r, &GetFleet{}).GetRacks()[0].GetOrders(); n != 0 {
			t.Errorf("%d orders are not answered", n)
		}
	})
}
