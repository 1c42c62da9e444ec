package rack_test

import (
	"slices"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// story applies events to a run, as Agent and RackSupervisor do.
type story struct {
	*testing.T
	run *rack.Run
	seq uint64
}

func tell(t *testing.T) *story {
	return &story{T: t, run: rack.NewRun(small(), platform.All())}
}

func (s *story) event(kind rack.Kind, device string, d rack.Detail) {
	s.seq++
	e := rack.Event{Seq: s.seq, Rack: "r2", Device: device, Kind: kind, Detail: d}
	switch kind {
	case rack.PhaseStarted, rack.TicketIssued, rack.StepStarted, rack.StepFailed:
		e.Phase = rack.Installation
	}
	s.run.Apply(e)
	switch kind {
	case rack.Observed:
		for _, p := range s.run.LinksClosedBy(d.Seen) {
			s.event(rack.LinkClosed, "", rack.Detail{Link: p.String()})
		}
		for _, p := range s.run.LinksOpenedBy(d.Seen) {
			s.event(rack.LinkOpen, "", rack.Detail{Link: p.String()})
		}
	case rack.DeviceReady:
		for _, c := range s.run.LinksToReady(device) {
			s.event(rack.LinkReady, c.Device, rack.Detail{Link: c.Near.String()})
		}
	}
}

func (s *story) seen(device string, o rack.Observation) {
	o.Device = device
	s.event(rack.Observed, device, rack.Detail{Seen: &o})
}

// gates fails the test unless exactly these gates hold.
func (s *story) gates(device string, want ...rack.Gate) {
	s.Helper()
	var got []rack.Gate
	for g, open := range s.run.Gates(device) {
		if open {
			got = append(got, g)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.Errorf("after %d events the gates of %s are %v, want %v", s.seq, device, got, want)
	}
}

func TestTheNetworkOpensOnEvidenceOnly(t *testing.T) {
	s := tell(t)
	bmc := rack.Observation{Source: rack.FromDHCP, Stage: rack.StageBMC, Via: port(t, "mgmt-1:1"), Proves: rack.DHCPBMC}
	nic := rack.Observation{Source: rack.FromDHCP, Stage: rack.StageIPXE, Via: port(t, "tor-1:1"), Proves: rack.DHCPPXE}
	s.event(rack.RackStarted, "", rack.Detail{})
	s.gates("mgmt-1", rack.ManagementReady, rack.ManagementOpen)
	s.gates("server-01")
	s.seen("server-01", bmc) // too early: its switch was not verified yet
	s.gates("server-01")
	if s.run.Reachable("server-01") {
		t.Error("no deadline may run for a server before its route is ready")
	}

	s.event(rack.DeviceReady, "mgmt-1", rack.Detail{})
	if !s.run.Reachable("server-01") || s.run.Link(port(t, "mgmt-1:1")) != rack.LinkIsReady {
		t.Error("the management switch is ready, and so are its links")
	}
	s.gates("server-01", rack.ManagementReady)
	s.seen("server-01", rack.Observation{Source: rack.FromMACTable, Via: port(t, "mgmt-1:1")}) // says not when
	s.gates("server-01", rack.ManagementReady)
	s.seen("server-01", bmc)
	s.gates("server-01", rack.ManagementReady, rack.ManagementOpen)

	s.event(rack.DeviceReady, "tor-1", rack.Detail{})
	s.gates("server-01", rack.ManagementReady, rack.ManagementOpen, rack.DataReady)
	s.event(rack.DeviceReady, "tor-2", rack.Detail{})
	s.event(rack.DeviceReady, "inter-rack-1", rack.Detail{})
	s.gates("server-01", rack.ManagementReady, rack.ManagementOpen, rack.DataReady, rack.SwitchesReady)
	s.seen("server-01", nic)
	s.gates("server-01", rack.ManagementReady, rack.ManagementOpen, rack.DataReady, rack.SwitchesReady, rack.DataOpen)
	if s.run.Link(port(t, "mgmt-1:43")) != rack.LinkIsOpen {
		t.Error("what came through tor-1 came through its only uplink too")
	}
	if got := s.run.Unproven("server-01"); got == "" {
		t.Error("nothing was heard through tor-2:1: that is a finding")
	}
	s.gates("server-02", rack.ManagementReady, rack.DataReady, rack.SwitchesReady)
}

func TestALinkClosesAgain(t *testing.T) {
	s := tell(t)
	s.event(rack.RackStarted, "", rack.Detail{})
	for _, d := range []string{"mgmt-1", "tor-1", "tor-2", "inter-rack-1"} {
		s.event(rack.DeviceReady, d, rack.Detail{})
	}
	s.seen("server-01", rack.Observation{Source: rack.FromDHCP, Stage: rack.StageIPXE, Via: port(t, "tor-1:1")})
	s.seen("tor-1", rack.Observation{Source: rack.FromDHCP, Stage: rack.StageONIE, Via: port(t, "mgmt-1:45")})
	for near, want := range map[string]rack.LinkState{"tor-1:1": rack.LinkIsClosed, "tor-2:1": rack.LinkIsClosed /* it leads through tor-1 */, "mgmt-1:1": rack.LinkIsReady} {
		if got := s.run.Link(port(t, near)); got != want {
			t.Errorf("tor-1 is back in ONIE: link %s is %s, want %s", near, got, want)
		}
	}
	s.gates("server-01", rack.ManagementReady, rack.SwitchesReady)
}

func TestTickets(t *testing.T) {
	s := tell(t)
	open := func(want ...string) {
		t.Helper()
		if got := s.run.OpenTickets(); !slices.Equal(got, want) {
			t.Errorf("open tickets %v, want %v", got, want)
		}
	}
	s.event(rack.RackStarted, "", rack.Detail{})
	for _, d := range []string{"mgmt-1", "tor-1", "tor-2", "server-01"} {
		s.event(rack.PhaseStarted, d, rack.Detail{})
		s.event(rack.TicketIssued, d, rack.Detail{Ticket: "r2/" + d + "/1"})
	}
	open() // nothing is served before the step that waits for the device
	s.event(rack.StepStarted, "mgmt-1", rack.Detail{Step: "power-cycle-again"})
	open()
	for d, step := range map[string]string{"mgmt-1": "boot-loader", "tor-1": "image-transfer", "tor-2": "image-transfer", "server-01": "boot-loader"} {
		s.event(rack.StepStarted, d, rack.Detail{Step: step})
	}
	open("mgmt-1", "tor-1", "tor-2", "server-01")
	s.seen("mgmt-1", rack.Observation{Source: rack.FromHTTP, Proves: rack.ReportedInstalled})
	open("tor-1", "tor-2", "server-01")
	s.seen("server-01", rack.Observation{Source: rack.FromHTTP, Proves: rack.ReportedFailed})
	open("tor-1", "tor-2")
	s.seen("tor-1", rack.Observation{Source: rack.FromDHCP, Proves: rack.DHCPONIE}) // asks for the installer's address
	open("tor-1", "tor-2")
	s.seen("tor-1", rack.Observation{Source: rack.FromHTTP, Proves: rack.FetchedImage})
	s.seen("tor-1", rack.Observation{Source: rack.FromDHCP, Proves: rack.DHCPONIE}) // is back: the installer gave up
	open("tor-2")
	s.event(rack.RackDraining, "tor-1", rack.Detail{Error: "why"})
	s.event(rack.TicketIssued, "tor-1", rack.Detail{Ticket: "r2/tor-1/2"}) // journalled a moment too late
	s.event(rack.StepStarted, "tor-1", rack.Detail{Step: "image-transfer"})
	open("tor-2")
	s.seen("tor-2", rack.Observation{Source: rack.FromDHCP, Proves: rack.DHCPNOS})
	open()
	s.event(rack.RackHalted, "tor-1", rack.Detail{})
	s.event(rack.RackResumed, "", rack.Detail{})
	open("tor-1") // what was issued then is served now
}
