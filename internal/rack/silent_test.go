package rack_test

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// Firmware that is seen by its question, and takes no address that it is offered, is silent
// after its OFFER once its ticket is there. One that took its address is not.
func TestSilentAfterItsOffer(t *testing.T) {
	for _, took := range []bool{false, true} {
		s := newShell(rack.Server)
		for _, g := range []rack.Gate{rack.ManagementOpen, rack.SwitchesReady, rack.DataReady, rack.DataOpen, rack.ManagementReady} {
			s.open[g] = true
		}
		s.machine.SetGates(s.open)
		asks := func(address string) {
			s.journal(rack.Event{Kind: rack.Observed, Device: "it", Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Stage: rack.StagePXE, Proves: rack.DHCPPXE, Address: address}}})
			s.drive(rack.Input{Kind: rack.Woken})
		}
		s.sees(rack.DHCPBMC, rack.FromBMC)
		for _, step := range []string{"bmc-login", "boot-device", "power-on"} {
			s.drive(rack.Input{Kind: rack.ActionDone, Step: step, Attempt: 1})
		}
		asks("") // network-boot
		asks("") // and again, with its ticket
		if took {
			asks("192.168.2.10")
		}
		s.out.Reset()
		s.drive(rack.Input{Kind: rack.LimitPassed, Step: "boot-loader", Attempt: 1})
		got := s.out.String()
		if !strings.Contains(got, "step-failed · installation · boot-loader") || strings.Contains(got, "silent after its OFFER") == took || !strings.Contains(got, "(recovery "+string(rack.PowerCycled)+")") {
			t.Errorf("took its address %v: %s", took, got)
		}
	}
}
