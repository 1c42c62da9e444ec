package audit

import (
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestSentence(t *testing.T) {
	for _, x := range []struct {
		e    rack.Event
		want string
	}{
		{rack.Event{Kind: rack.RackStarted}, "imaging starts"},
		{rack.Event{Kind: rack.RackStarted, Detail: rack.Detail{Only: []string{"tor-1", "tor-2"}}}, "imaging starts, only tor-1, tor-2"},
		{rack.Event{Kind: rack.RackResumed, Detail: rack.Detail{By: "ada", Reason: "tor-1 has a new disk"}}, "imaging goes on, ordered by ada: tor-1 has a new disk"},
		{rack.Event{Kind: rack.RackDraining, Detail: rack.Detail{Error: "it broke", Reason: "no new ticket"}}, "draining: it broke"},
		{rack.Event{Kind: rack.RackDraining, Detail: rack.Detail{By: "ada", Error: "halted by ada: a fan is loud", Reason: "no new ticket"}}, "draining: halted by ada: a fan is loud"},
		{rack.Event{Kind: rack.RackHalted, Detail: rack.Detail{Error: "it broke"}}, "halted: it broke"},
		{rack.Event{Kind: rack.RackHalted, Detail: rack.Detail{Reason: "r1/x/1 may still be writing"}}, "halted: r1/x/1 may still be writing"},
		{rack.Event{Kind: rack.RackHalted}, "halted"},
		{rack.Event{Kind: rack.RackCompleted, Detail: rack.Detail{Ready: 8, Failed: 1}}, "completed: 8 ready, 1 failed"},
		{rack.Event{Kind: rack.LinkClosed, Detail: rack.Detail{Link: "tor-1:1"}}, "link tor-1:1 closed"},
		{rack.Event{Kind: rack.ComponentAmbiguous, Detail: rack.Detail{Reason: "two fit"}}, "ambiguous component: two fit"},
		{rack.Event{Kind: rack.DeviceRetried, Detail: rack.Detail{By: "ada"}}, "to be tried again, ordered by ada"},
		{rack.Event{Kind: rack.DeviceSkipped, Detail: rack.Detail{By: "ada", Reason: "it burns"}}, "skipped in this run, ordered by ada: it burns"},
		{rack.Event{Kind: rack.ReimageOrdered, Detail: rack.Detail{By: "ada", Overwrites: "foreign:ext4"}}, "to be imaged anew, overwriting foreign:ext4, ordered by ada"},
		{rack.Event{Kind: rack.ReimageOrdered}, "to be imaged anew"},
		{rack.Event{Kind: rack.LightOn, Detail: rack.Detail{Reason: "it failed"}}, "identify light on: it failed"},
		{rack.Event{Kind: rack.LightOff, Detail: rack.Detail{By: "ada"}}, "identify light off, ordered by ada"},
		{rack.Event{Kind: rack.DeviceBound, Detail: rack.Detail{By: "ada", Seen: &rack.Observation{MAC: "02:00:00:00:00:01", Serial: "S1"}}}, "bound to its slot (MAC 02:00:00:00:00:01, serial number S1), ordered by ada"},
		{rack.Event{Kind: rack.DeviceReplaced, Detail: rack.Detail{By: "ada", Reason: "its board died"}}, "replaced by other hardware, ordered by ada: its board died"},
		{rack.Event{Kind: rack.DeviceDiscovered, Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Stage: rack.StageONIE, Via: rack.Port{Device: "mgmt-1", Name: "45"}}}}, "discovered by dhcp in stage onie through mgmt-1:45"},
		{rack.Event{Kind: rack.PhaseStarted, Phase: rack.Discovery}, "discovery starts"},
		{rack.Event{Kind: rack.PhaseCompleted, Phase: rack.Discovery}, "discovery completed"},
		{rack.Event{Kind: rack.StepFailed, Detail: rack.Detail{Step: "push", Attempt: 1, Delay: time.Second, Error: "no"}}, "push failed (attempt 1), tried again in 1s: no"},
		{rack.Event{Kind: rack.StepFailed, Detail: rack.Detail{Step: "push", Final: true, Error: "no"}}, "push failed: no"},
		{rack.Event{Kind: rack.StepWaiting, Detail: rack.Detail{Step: "write", Reason: "slow"}}, "write waits on: slow"},
		{rack.Event{Kind: rack.DeviceHeld, Detail: rack.Detail{Reason: "no link"}}, "held: no link"},
		{rack.Event{Kind: rack.DeviceReady}, "ready"},
		{rack.Event{Kind: rack.DeviceFailed, Detail: rack.Detail{Error: "no"}}, "failed: no"},
		{rack.Event{Kind: rack.DeviceCrashed, Detail: rack.Detail{Error: "nil"}}, "crashed, driven again from the journal: nil"},
		{rack.Event{Kind: rack.DeviceFinding, Detail: rack.Detail{Reason: "quiet"}}, "finding: quiet"},
		{rack.Event{Kind: rack.TicketIssued, Detail: rack.Detail{Ticket: "r1/x/1"}}, ""},
		{rack.Event{Kind: rack.Observed, Detail: rack.Detail{Seen: &rack.Observation{}}}, ""},
		{rack.Event{Kind: rack.StepStarted}, ""},
	} {
		if got := Sentence(x.e); got != x.want {
			t.Errorf("%s: %q, want %q", x.e.Kind, got, x.want)
		}
	}
}

// UEFI firmware takes no address before there is something to boot: nothing says it did.
func TestProvenByAQuestion(t *testing.T) {
	for _, x := range []struct{ address, want string }{
		{"", "its firmware asks to boot from the network"},
		{"10.0.4.14", "its firmware boots from the network and took its address 10.0.4.14"},
	} {
		if got := proven(&rack.Observation{Source: rack.FromDHCP, Proves: rack.DHCPPXE, Address: x.address}); got != x.want {
			t.Errorf("address %q: %q, want %q", x.address, got, x.want)
		}
	}
}
