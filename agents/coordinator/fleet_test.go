package coordinator

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// TestAFleetGoesOnAfterARefusal: a resume forgives the racks of the fleet that have
// stopped, whichever way, and no others.
func TestAFleetGoesOnAfterARefusal(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	outside := s.agent("r9", nil, nil, nil) // not in the fleet
	q := &messages.ApplyFleetRequest{Name: "hall", AtOnce: 1, HaltAfter: 1}
	agents := map[string]*agent{}
	for _, name := range []string{"r1", "r2", "r3", "r4", "r9"} {
		hash := s.put(name)
		if name == "r9" {
			if _, err := s.admin.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r9", PlanHash: hash})); err != nil {
				t.Fatal(err)
			}
			continue
		}
		agents[name] = s.agent(name, nil, nil, func(o *bus.UplinkOptions) {
			if obey := o.Obey; name == "r1" {
				o.Obey = func(ctx context.Context, x *messages.Order) { x.Plan = nil; obey(ctx, x) }
			}
		})
		q.Racks = append(q.Racks, &messages.ApplyRackRequest{Name: messages.RackName(name), PlanHash: hash})
		until(t, name+" is connected", func() bool { return s.connected(name) })
	}
	status := func(name string) rack.Status { return rack.Status(s.rack(name).GetStatus()) }
	halts := []rack.Event{{Kind: rack.RackDraining, Device: "tor-1"}, {Kind: rack.RackHalted}}
	if _, err := s.admin.Fleet.ApplyFleet(t.Context(), connect.NewRequest(q)); err != nil {
		t.Fatal(err)
	}
	halted := func() bool { return s.fleet().GetStatus() == string(rack.Halted) }
	resume := func() {
		t.Helper()
		if _, err := s.admin.Fleet.ResumeFleet(t.Context(), connect.NewRequest(&messages.ResumeFleetRequest{})); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "r1 was refused", halted)
	resume()
	until(t, "r2 is begun", func() bool { return status("r2") == rack.Imaging })
	outside.add(halts...)
	until(t, "r9 is halted", func() bool { return status("r9") == rack.Halted })
	agents["r2"].add(halts...)
	until(t, "the fleet is halted again, by r2", halted)
	resume()
	until(t, "r3 is begun", func() bool { return status("r3") == rack.Imaging })
	agents["r3"].add(halts...)
	until(t, "r3 is halted", func() bool { return status("r3") == rack.Halted })
	until(t, "the fleet is halted once more, by r3", halted)
	if n := len(agents["r4"].did()); n > 0 {
		t.Errorf("r4 was begun though a rack had stopped since the resume: %d orders", n)
	}
}

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
