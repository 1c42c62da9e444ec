package rack_test

import (
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// A DHCP client that names no boot stage is the installed system only with the MAC that the
// installer was loaded through, and after its report.
func TestOwnSystem(t *testing.T) {
	const nic, other = "52:54:00:00:00:01", "52:54:00:00:00:02"
	client := func(mac string) *rack.Observation {
		return &rack.Observation{Source: rack.FromDHCP, Device: "server-01", MAC: mac, Stage: rack.StageUnknown, Proves: rack.DHCPUnnamed}
	}
	s := tell(t)
	want := func(what string, of *rack.Observation, want bool) {
		t.Helper()
		if got := s.run.OwnSystem(of); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	s.event(rack.RackStarted, "", rack.Detail{Run: "x7"})
	want("nothing was seen", client(nic), false)
	want("nobody says who it is", client(""), false)
	s.seen("server-01", rack.Observation{Source: rack.FromDHCP, MAC: other, Stage: rack.StageBMC, Proves: rack.DHCPBMC})
	s.seen("server-01", rack.Observation{Source: rack.FromDHCP, MAC: nic, Stage: rack.StagePXE, Proves: rack.DHCPPXE})
	s.event(rack.TicketIssued, "server-01", rack.Detail{Ticket: "r2/server-01/1"})
	want("before the installer", client(nic), false)
	s.seen("server-01", rack.Observation{Source: rack.FromHTTP, Proves: rack.FetchedImage})
	want("in the installer", client(nic), false)
	s.seen("server-01", rack.Observation{Source: rack.FromHTTP, Proves: rack.ReportedInstalled})
	want("after its report", client(nic), true)
	want("the BMC", client(other), false)
	want("nobody says who it is", client(""), false)
	of := client(nic)
	of.Proves = rack.NoEvidence
	want("a renewal", of, false)
	of.Device = "server-99"
	want("a stranger", of, false)
	s.event(rack.TicketIssued, "server-01", rack.Detail{Ticket: "r2/server-01/2"})
	want("the next installation", client(nic), false)
}
