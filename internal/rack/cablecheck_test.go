package rack_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// ambiguous is a component whose keys contradict the port that it was heard at.
func (s *story) ambiguous(o rack.Observation) {
	s.event(rack.ComponentAmbiguous, "", rack.Detail{Seen: &o, Reason: "ambiguous component"})
}

// hears is a switch that hears a neighbour by LLDP.
func (s *story) hears(at, neighbour string) {
	p := port(s.T, at)
	s.event(rack.NeighbourSeen, p.Device, rack.Detail{Seen: &rack.Observation{Source: rack.FromLLDP, Via: p, Message: neighbour}})
}

// contrary are the cables that contradict the rack file, a line each.
func (s *story) contrary() (out []string) {
	checks := s.run.CheckCables()
	for i := range checks {
		c := &checks[i]
		if c.Verdict.Contradicts() {
			line := fmt.Sprintf("%s %s", c.Verdict, c.Sentence())
			if !c.With.IsZero() {
				line += " with " + c.With.String()
			}
			out = append(out, line)
		}
	}
	return out
}

// verdict is that of one port.
func (s *story) verdict(at string) rack.CableVerdict {
	s.Helper()
	for _, c := range s.run.CheckCables() {
		if c.Near.String() == at {
			return c.Verdict
		}
	}
	return ""
}

// against are the devices that something speaks against, and on which network.
func (s *story) against() string {
	var out []string
	all := s.run.Against()
	for _, d := range s.run.Rack.Devices {
		for _, n := range []rack.Network{rack.Management, rack.Data} {
			if why := all[d.Name][n]; why != "" {
				if !strings.HasPrefix(why, rack.CablingReason) {
					s.Errorf("%q", why)
				}
				out = append(out, d.Name+" "+string(n))
			}
		}
	}
	return strings.Join(out, ", ")
}

const (
	mac1, mac2   = "52:54:00:00:00:01", "52:54:00:00:00:02" // the first is in the inventory
	uuid1, uuid2 = "4c4c4544004235108052b4c04f4e3131", "4c4c4544004235108052b4c04f4e3132"
)

// told is a run whose BMCs have said which machines they are.
func told(t *testing.T) *story {
	s := tell(t)
	s.seen("server-01", rack.Observation{Source: rack.FromBMC, UUID: uuid1})
	s.seen("server-02", rack.Observation{Source: rack.FromBMC, UUID: uuid2})
	return s
}

func (s *story) packet(at, mac, uuid string) rack.Observation {
	return rack.Observation{Source: rack.FromDHCP, MAC: mac, UUID: uuid, Via: port(s.T, at), Stage: rack.StagePXE}
}

func (s *story) expect(contrary string, against string) {
	s.Helper()
	if got := strings.Join(s.contrary(), "\n"); got != contrary {
		s.Errorf("got:\n%s\nwant:\n%s", got, contrary)
	}
	if got := s.against(); got != against {
		s.Errorf("%q is held, want %q", got, against)
	}
}

// Two servers at each other's port: both are named side by side, and heard at their own
// ports again they are right.
func TestSwappedCables(t *testing.T) {
	s := told(t)
	s.expect("", "")
	s.ambiguous(s.packet("tor-1:2", mac1, uuid1))
	s.expect("missing cable tor-1:1 should lead to server-01, which was heard elsewhere\n"+
		"wrong cable tor-1:2 should lead to server-02 and leads to server-01 (option 82, by its mac)", "server-01 data, server-02 data")
	s.ambiguous(s.packet("tor-1:1", mac2, uuid2))
	s.expect("swapped cable tor-1:1 should lead to server-01 and leads to server-02 (option 82, by its uuid) with tor-1:2\n"+
		"swapped cable tor-1:2 should lead to server-02 and leads to server-01 (option 82, by its mac) with tor-1:1", "server-01 data, server-02 data")
	s.seen("server-02", s.packet("tor-1:2", mac2, uuid2))
	s.expect("", "")
	if s.verdict("tor-1:2") != rack.CableRight || s.verdict("tor-1:1") != rack.CableUnseen {
		t.Errorf("%s %s", s.verdict("tor-1:2"), s.verdict("tor-1:1"))
	}
}

// The BMCs are plugged the wrong way round: the inventory and the port of a server agree,
// and the machine that it says it is was that of the other BMC.
func TestSwappedBMCs(t *testing.T) {
	s := tell(t)
	s.seen("server-02", rack.Observation{Source: rack.FromBMC, UUID: uuid1})
	s.ambiguous(s.packet("tor-1:1", mac1, uuid1))
	s.expect("missing cable mgmt-1:1 should lead to server-01, which was heard elsewhere\n"+
		"wrong cable mgmt-1:2 should lead to server-02 and leads to server-01 (BMC, by the GUID of that BMC)", "server-01 management, server-02 management")
	s.event(rack.DeviceRetried, "server-02", rack.Detail{})
	s.expect("", "")
	// What that BMC had said is forgotten with it.
	if b, err := s.run.Binder().Bind(rack.Keys{MAC: mac1, UUID: uuid1, Via: port(t, "tor-1:1"), Stage: rack.StagePXE}); err != nil || b.Device != "server-01" {
		t.Errorf("%+v %v", b, err)
	}
}

// A component that says nothing of itself, at a port, is no proof against one that does.
func TestATakenForAnother(t *testing.T) {
	s := tell(t)
	bmc := rack.Observation{Source: rack.FromDHCP, MAC: "02:00:00:00:00:b2", Via: port(t, "mgmt-1:2"), Stage: rack.StageBMC}
	s.seen("server-02", bmc)
	if got := s.verdict("mgmt-1:2"); got != rack.CableTaken { // two BMCs at each other's port would look the same
		t.Errorf("with nothing against it, and nothing for it: %s", got)
	}
	s.seen("server-02", rack.Observation{Source: rack.FromBMC, UUID: uuid1})
	s.ambiguous(s.packet("tor-1:1", mac1, uuid1))
	want := "missing cable mgmt-1:1 should lead to server-01, which was heard elsewhere\n" +
		"wrong cable mgmt-1:2 should lead to server-02 and leads to server-01 (option 82, BMC, by the GUID of that BMC)"
	s.expect(want, "server-01 management, server-02 management")
	s.seen("server-02", bmc) // again: it is taken for server-02 because of its port
	s.expect(want, "server-01 management, server-02 management")
}

// An operator who looked at the cables has the last word, until something new is heard.
func TestRetriedAfterALookAtTheCables(t *testing.T) {
	s := told(t)
	s.ambiguous(s.packet("tor-1:2", mac1, uuid1))
	reason := s.run.Against()["server-02"][rack.Data]
	if _, err := s.run.Obey(rack.Order{Verb: rack.Retry, Device: "server-02"}); err == nil {
		t.Error("it is not held, and was retried")
	}
	s.event(rack.DeviceHeld, "server-02", rack.Detail{Reason: reason})
	events, err := s.run.Obey(rack.Order{Verb: rack.Retry, Device: "server-02"})
	if err != nil || len(events) != 1 {
		t.Fatalf("%v %v", events, err)
	}
	s.event(rack.DeviceRetried, "server-02", rack.Detail{})
	s.expect("", "")
	if d := s.run.Device("server-02"); d.Held != "" {
		t.Errorf("%+v", d)
	}
	s.ambiguous(s.packet("tor-1:2", mac1, uuid1))
	if s.against() == "" {
		t.Error("the same cable again, and nothing speaks against it")
	}
}

func TestCables(t *testing.T) {
	for name, c := range map[string]struct {
		tell              func(s *story)
		contrary, against string
	}{
		"a MAC table names a station of another slot": {func(s *story) {
			s.ambiguous(rack.Observation{Source: rack.FromMACTable, MAC: mac1, Via: port(s.T, "mgmt-1:2")})
		}, "missing cable mgmt-1:1 should lead to server-01, which was heard elsewhere\nwrong cable mgmt-1:2 should lead to server-02 and leads to server-01 (MAC table, by its mac)",
			"server-01 management, server-02 management"},
		"a strange component is no contradiction": {func(s *story) { s.ambiguous(s.packet("tor-1:2", "02:00:00:00:00:99", "")) }, "", ""},
		"a port without a cable": {func(s *story) { s.seen("server-01", s.packet("tor-1:30", mac1, uuid1)) },
			"extra port tor-1:30 should have no cable and leads to server-01", ""},
		"a name that nobody knows proves nothing": {func(s *story) { s.hears("tor-1:1", "localhost:eth0") }, "", ""},
		"a switch at a server's port": {func(s *story) { s.hears("tor-1:1", "r2/tor-2:7") },
			"wrong cable tor-1:1 should lead to server-01 and leads to tor-2 (LLDP)", "server-01 data"},
		"another rack at a server's port": {func(s *story) { s.hears("tor-1:1", "r1/tor-2:7") },
			"wrong cable tor-1:1 should lead to server-01 and leads to r1/tor-2:7 (LLDP)", "server-01 data"},
		"switches do not keep servers from anything": {func(s *story) { s.hears("mgmt-1:45", "r2/tor-2:eth0"); s.hears("mgmt-1:46", "r2/tor-1:eth0") },
			"swapped cable mgmt-1:45 should lead to tor-1 and leads to tor-2 (LLDP) with mgmt-1:46\nswapped cable mgmt-1:46 should lead to tor-2 and leads to tor-1 (LLDP) with mgmt-1:45", ""},
		"a switch hears what it hangs on": {func(s *story) { s.hears("tor-1:eth0", "r2/mgmt-1:45"); s.hears("tor-1:60", "r2/mgmt-1:43") }, "", ""},
		"the agent's own cable":           {func(s *story) { s.hears("mgmt-1:48", "r2/inter-rack-1:9") }, "", ""},
		"a link":                          {func(s *story) { s.hears("tor-1:53", "r2/tor-2:53") }, "", ""},
		"a link that leads elsewhere":     {func(s *story) { s.hears("tor-1:53", "r2/inter-rack-1:1") }, "wrong cable tor-1:53 should lead to tor-2:53 and leads to inter-rack-1:1 (LLDP)", ""},
		"a link to another port":          {func(s *story) { s.hears("tor-1:53", "r2/tor-2:52") }, "wrong cable tor-1:53 should lead to tor-2:53 and leads to tor-2:52 (LLDP)", ""},
		"a link that its far end hears":   {func(s *story) { s.hears("tor-2:53", "r2/tor-1:53") }, "", ""},
		"a link out of the rack":          {func(s *story) { s.hears("tor-1:54", "core-7:xe-0/0/1") }, "", ""},
		"swapped links":                   {func(s *story) { s.hears("tor-1:53", "r2/inter-rack-1:1"); s.hears("tor-1:49", "r2/tor-2:53") }, "swapped cable tor-1:53 should lead to tor-2:53 and leads to inter-rack-1:1 (LLDP) with tor-1:49\nswapped cable tor-1:49 should lead to inter-rack-1:1 and leads to tor-2:53 (LLDP) with tor-1:53", ""},
		"hardware that was replaced": {func(s *story) {
			s.ambiguous(s.packet("tor-1:2", mac1, uuid1))
			s.event(rack.DeviceReplaced, "server-01", rack.Detail{})
		}, "", ""},
		"an operator who binds what stands": {func(s *story) {
			s.ambiguous(s.packet("tor-1:2", mac1, uuid1))
			s.event(rack.DeviceBound, "server-02", rack.Detail{Seen: &rack.Observation{Source: rack.FromOperator, MAC: mac1}})
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := told(t)
			c.tell(s)
			s.expect(c.contrary, c.against)
		})
	}
}

// A server that said who it is stays at its port, whatever its next packet leaves out.
func TestASystemThatSaysLessThanItsFirmware(t *testing.T) {
	s := told(t)
	s.seen("server-02", s.packet("tor-1:2", mac2, uuid2))
	s.seen("server-02", s.packet("tor-1:2", mac2, ""))
	if got := s.verdict("tor-1:2"); got != rack.CableRight {
		t.Errorf("%s", got)
	}
}
