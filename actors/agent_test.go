package actors

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestRackIsImagedInOrder(t *testing.T) {
	play(t, testRack("r2", 2, 2, 4), nil, func(t *testing.T, w *world) {
		if n := len(w.find(rack.DeviceReady, "")); n != len(w.rack.Devices) {
			t.Errorf("%d devices are ready, want %d", n, len(w.rack.Devices))
		}
		done := w.find(rack.RackCompleted, "")
		if len(done) != 1 || done[0].Detail.Ready != len(w.rack.Devices) {
			t.Errorf("rack-completed: %+v", done)
		}
		for _, e := range w.find(rack.TicketIssued, "") {
			if !w.delivered[e.Detail.Ticket] {
				t.Errorf("ticket %s was never offered as delivered, although its image went out", e.Detail.Ticket)
			}
		}
		var lastSwitch uint64
		for _, e := range w.find(rack.DeviceReady, "") {
			if e.Role.IsSwitch() {
				lastSwitch = max(lastSwitch, e.Seq)
			}
		}
		for _, e := range w.find(rack.StepStarted, "") {
			if e.Role == rack.Server && e.Detail.Step != "bmc-login" && e.Seq < lastSwitch {
				t.Errorf("%s of %s started at %d, before the last switch was ready at %d", e.Detail.Step, e.Device, e.Seq, lastSwitch)
			}
		}
		for _, c := range rack.NewCabling(w.rack).Cables() {
			if len(linkEvents(w, rack.LinkReady, c.Near)) != 1 {
				t.Errorf("link %s: ready %d times, want once", c.Near, len(linkEvents(w, rack.LinkReady, c.Near)))
			}
		}
	})
}

func linkEvents(w *world, k rack.Kind, near rack.Port) (out []rack.Event) {
	for _, e := range w.find(k, "") {
		if e.Detail.Link == near.String() {
			out = append(out, e)
		}
	}
	return out
}

func TestHundredRacksOfFortyInVirtualTime(t *testing.T) {
	const racks = 100
	synctest.Test(t, func(t *testing.T) {
		// One actor system per rack: an event stream carries one agent's wires.
		worlds := make([]*world, racks)
		for i := range worlds {
			worlds[i] = newWorld(t, NewSystem(), testRack(fmt.Sprintf("r%d", i), 2, 1, 36))
			worlds[i].start()
		}
		for i, w := range worlds {
			if err := <-w.ended; err != nil {
				t.Errorf("rack %d: %v", i, err)
			}
		}
		synctest.Wait()
		for i, w := range worlds {
			if n := len(w.find(rack.DeviceReady, "")); n != 40 {
				t.Errorf("rack %d: %d of 40 devices are ready", i, n)
			}
			w.finish()
			w.proven()
		}
		time.Sleep(settle)
	})
}
