package rack_test

import (
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// Firmware waits for its ticket from when the device is waited for until the ticket is
// open, and no longer: not when something holds it, and not when the rack stops.
func TestBootPending(t *testing.T) {
	r := rack.NewRun(small(), platform.All())
	name := r.Rack.ManagementSwitchName()
	d, _ := r.Rack.Device(name)
	var network, ticket string
	for _, s := range r.Platforms[d.Platform].Steps {
		switch {
		case s.Action == rack.Wait && s.Until == rack.DHCPPXE:
			network = s.Name
		case s.Action == rack.IssueTicket:
			ticket = s.Name
		}
	}
	if network == "" || ticket == "" {
		t.Fatal("the platform does not boot from the network")
	}
	seq := uint64(0)
	on := func(want bool, e rack.Event) {
		t.Helper()
		seq++
		e.Seq, e.Rack = seq, r.Rack.Name
		r.Apply(e)
		if got := r.BootPending(name); got != want {
			t.Errorf("after %s %s: %v", e.Kind, e.Detail.Step, got)
		}
	}
	of := func(k rack.Kind, step string) rack.Event {
		return rack.Event{Kind: k, Device: name, Phase: rack.Discovery, Detail: rack.Detail{Step: step, Attempt: 1}}
	}
	on(false, rack.Event{Kind: rack.RackStarted, Detail: rack.Detail{Run: "run"}})
	on(false, of(rack.StepStarted, "power-cycle"))
	on(true, of(rack.StepStarted, network))
	on(true, of(rack.StepCompleted, network))
	on(false, rack.Event{Kind: rack.DeviceHeld, Device: name, Detail: rack.Detail{Reason: "a link is closed"}})
	on(true, of(rack.StepStarted, ticket))
	on(false, rack.Event{Kind: rack.TicketIssued, Device: name, Phase: rack.Installation, Detail: rack.Detail{Ticket: "t/1", Step: ticket}})
	if r.BootPending("nobody") {
		t.Error("nobody waits")
	}
}
