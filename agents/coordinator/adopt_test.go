package coordinator

import (
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// TestAnAdoptionHandsOverAll that a new agent needs: the events, and the plan that
// the run carries out, which need not be the one that was put last. A rack that was
// never begun has a plan that nobody ordered: it is not handed over.
func TestAnAdoptionHandsOverAll(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	hash := s.put("r1")
	s.put("r2")
	a, b := s.agent("r1", nil, nil, nil), s.agent("r2", nil, nil, nil)
	until(t, "both are connected", func() bool { return s.connected("r1") && s.connected("r2") })
	if _, err := s.admin.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r1", PlanHash: hash})); err != nil {
		t.Fatal(err)
	}
	a.add(findings(700)...) // more than one part
	until(t, "all events are in the log", func() bool { return s.rack("r1").GetLastSeq() == 701 })
	a.stop()
	b.stop()
	until(t, "both are away", func() bool { return !s.connected("r1") && !s.connected("r2") })
	client, err := bus.Dial(s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, want := range map[string]int{"r1": 701, "r2": 0} {
		var plan []byte
		events := 0
		err := bus.Adopt(t.Context(), client, name, "j-new", false, func(p []byte, epoch, _ uint64, e []rack.Event) error {
			if len(p) > 0 {
				plan = p
			}
			if events += len(e); epoch != 2 {
				t.Errorf("%s: epoch %d", name, epoch)
			}
			return nil
		})
		if err != nil || events != want || len(plan) > 0 != (want > 0) {
			t.Errorf("%s: %d events, a plan of %d bytes: %v", name, events, len(plan), err)
		}
		if want > 0 {
			if p, err := state.Decode(plan); err != nil || p.Plan.Hash != hash {
				t.Errorf("%s: another plan: %v", name, err)
			}
		}
	}
}
