package actors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/messages"
)

// TestAPlanThatComesDuringALoad: a rack that is planned anew while the run of the plan
// before is loaded is told of by the new plan, when both are read; not by the one of
// before, for as long as nothing else happens.
func TestAPlanThatComesDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{t: t, system: NewSystem(), events: map[string][]*messages.Event{}}
		slow, asked := make(chan struct{}), make(chan string, 9)
		racks := map[string]*FleetPlan{}
		for hash, servers := range map[string]int{"aa": 1, "bb": 3} {
			x := *testRack("r1", 2, 0, servers)
			racks[hash] = &FleetPlan{Rack: &x, Platforms: platform.All()}
		}
		plan := func(_ context.Context, _, hash string) (*FleetPlan, error) {
			asked <- hash
			if hash == "aa" {
				<-slow
			}
			return racks[hash], nil
		}
		r.fleet = r.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor {
			return NewFleet(FleetOptions{Read: r.read, Plan: plan, Order: r.keep, Answered: r.drop, Begin: r.begin, Halted: r.halt, Now: time.Now})
		}))
		defer r.stop()
		r.send(&Known{})
		r.send(&CaughtUp{})
		r.send(&Planned{Rack: "r1", Hash: "aa"}) // while what the log holds of it is read
		select {
		case hash := <-asked:
			if hash != "aa" {
				t.Errorf("plan %s is read", hash)
			}
		default:
			t.Error("its plan is not read")
		}
		r.send(&Planned{Rack: "r1", Hash: "bb"})
		close(slow)
		synctest.Wait()
		if n := len(ask[*messages.Rack](r, &GetRack{Rack: "r1"}).GetDevices()); n != len(racks["bb"].Rack.Devices) {
			t.Errorf("it is told of with %d devices, its plan has %d", n, len(racks["bb"].Rack.Devices))
		}
	})
}
