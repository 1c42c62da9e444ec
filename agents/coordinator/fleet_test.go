package coordinator

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// TestAFleetFromEndToEnd: as many racks as it may, none any more once one has
// halted, and on after a resume.
func TestAFleetFromEndToEnd(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	agents := map[string]*agent{}
	q := &messages.ApplyFleetRequest{Name: "hall", AtOnce: 1, HaltAfter: 1}
	for _, name := range []string{"r1", "r2", "r3"} {
		agents[name] = s.agent(name, nil, nil, nil)
		q.Racks = append(q.Racks, &messages.ApplyRackRequest{Name: messages.RackName(name), PlanHash: s.put(name)})
		until(t, name+" is connected", func() bool { return s.connected(name) })
	}
	if _, err := s.admin.Fleet.ApplyFleet(t.Context(), connect.NewRequest(q)); err != nil {
		t.Fatal(err)
	}
	status := func(name string) rack.Status { return rack.Status(s.rack(name).GetStatus()) }
	until(t, "r1 is begun", func() bool { return status("r1") == rack.Imaging })
	if len(agents["r2"].did())+len(agents["r3"].did()) > 0 {
		t.Error("more than one rack was begun")
	}
	agents["r1"].add(rack.Event{Kind: rack.RackCompleted})
	until(t, "r2 is begun", func() bool { return status("r2") == rack.Imaging })
	agents["r2"].add(rack.Event{Kind: rack.RackDraining, Device: "tor-1", Detail: rack.Detail{Error: "no image"}}, rack.Event{Kind: rack.RackHalted})
	until(t, "the fleet is halted", func() bool { return s.fleet().GetStatus() == string(rack.Halted) })
	if f := s.fleet(); !strings.Contains(f.GetCause(), "1 racks have halted") || len(agents["r3"].did()) > 0 {
		t.Errorf("the fleet: %v", f)
	}
	if _, err := s.admin.Fleet.ResumeFleet(t.Context(), connect.NewRequest(&messages.ResumeFleetRequest{})); err != nil {
		t.Fatal(err)
	}
	until(t, "r3 is begun", func() bool { return status("r3") == rack.Imaging })
	if _, err := s.admin.Fleet.HaltFleet(t.Context(), connect.NewRequest(&messages.HaltFleetRequest{Reason: "tea"})); err != nil {
		t.Fatal(err)
	}
	if f := s.fleet(); f.GetStatus() != string(rack.Halted) || !strings.HasSuffix(f.GetCause(), ": tea") {
		t.Errorf("the fleet: %v", f)
	}
	for name, a := range agents {
		if len(a.did()) != 1 {
			t.Errorf("%s obeyed %q", name, a.did())
		}
	}
}
