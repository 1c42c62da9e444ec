package actors

import (
	"testing"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
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
		r.send(&Want{&d})
		r.append("r1", rack.Event{Kind: rack.RackCompleted})
		if len(r.orders) != 1 {
			t.Errorf("ordered while it was halted: %v", r.orders)
		}
		r.send(&Want{&goes})
		if len(r.orders) != 2 || r.orders[1].GetRack() != "r2" {
			t.Errorf("ordered in the end: %v", r.orders)
		}
	})
}
