package rack_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// A step that waits in vain while something speaks against the cables is broken off once,
// and the device is held until its cables agree, also where no step before it would be
// tried again: else it would fill the journal.
func TestAWaitInVainIsBrokenOffOnce(t *testing.T) {
	s := newShell(rack.Server)
	p := platform.All()[platform.SimServer]
	p.Steps = []rack.Step{{Name: "boot", Phase: rack.Discovery, Until: rack.DHCPPXE, Limit: time.Minute}}
	s.machine = rack.NewMachine("r1", s.device, p, testImage)
	s.sees(rack.NoEvidence, rack.FromDHCP)
	for _, n := range []rack.Network{rack.Data, rack.Management} {
		s.out.Reset()
		s.machine.SetCabling(map[rack.Network]string{n: "what was heard contradicts the rack file: it"})
		s.drive(rack.Input{Kind: rack.Woken})
		for range 50 {
			s.drive(rack.Input{Kind: rack.RetryDue, Step: "boot"})
		}
		if got := s.out.String(); strings.Count(got, "step-failed") != 1 || strings.Count(got, "device-held") != 1 {
			t.Errorf("%s: %.2000s", n, got)
		}
		s.machine.SetCabling(nil)
		s.drive(rack.Input{Kind: rack.Woken})
	}
	s.sees(rack.DHCPPXE, rack.FromDHCP)
	if got := s.out.String(); !strings.Contains(got, "device-ready") {
		t.Errorf("it does not go on: %.2000s", got)
	}
}
