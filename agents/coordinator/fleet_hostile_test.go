package coordinator

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
)

// TestFleetsThatAreNotApplied: nothing of them is kept.
func TestFleetsThatAreNotApplied(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	r1 := &messages.ApplyRackRequest{Name: "racks/r1", PlanHash: s.put("r1")}
	for _, x := range []struct {
		name string
		q    *messages.ApplyFleetRequest
		want string
	}{
		{"no racks", &messages.ApplyFleetRequest{Name: "f"}, "a fleet of 0 racks"},
		{"too many", &messages.ApplyFleetRequest{Name: "f", Racks: make([]*messages.ApplyRackRequest, 5001)}, "a fleet of 5001 racks"},
		{"no name", &messages.ApplyFleetRequest{Racks: []*messages.ApplyRackRequest{r1}}, "is not a name for a fleet"},
		{"a name for a terminal", &messages.ApplyFleetRequest{Name: "f\x1b[2J", Racks: []*messages.ApplyRackRequest{r1}}, "is not a name for a fleet"},
		{"a long name", &messages.ApplyFleetRequest{Name: strings.Repeat("f", 1<<20), Racks: []*messages.ApplyRackRequest{r1}}, "is not a name for a fleet"},
		{"a rack twice", &messages.ApplyFleetRequest{Name: "f", Racks: []*messages.ApplyRackRequest{r1, r1}}, "named twice"},
		{"a rack that is none", &messages.ApplyFleetRequest{Name: "f", Racks: []*messages.ApplyRackRequest{{Name: "r1"}}}, "write racks/RACK"},
		{"a plan that nobody put", &messages.ApplyFleetRequest{Name: "f", Racks: []*messages.ApplyRackRequest{{Name: "racks/r1", PlanHash: "x"}}}, "has no plan"},
		{"another rack's plan", &messages.ApplyFleetRequest{Name: "f", Racks: []*messages.ApplyRackRequest{{Name: "racks/r2", PlanHash: r1.PlanHash}}}, "has no plan"},
		{"a plan by a pattern", &messages.ApplyFleetRequest{Name: "f", Racks: []*messages.ApplyRackRequest{{Name: "racks/r1", PlanHash: "*"}}}, ""},
		{"no plan", &messages.ApplyFleetRequest{Name: "f", Racks: []*messages.ApplyRackRequest{{Name: "racks/r1"}}}, ""},
	} {
		_, err := s.admin.Fleet.ApplyFleet(t.Context(), connect.NewRequest(x.q))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %.300v", x.name, err)
		}
	}
	if got := s.fleet(); got.GetName() != "" {
		t.Errorf("a fleet was applied: %v", got)
	}
	if _, err := s.admin.Fleet.ApplyFleet(t.Context(), connect.NewRequest(&messages.ApplyFleetRequest{Name: "row-4", Racks: []*messages.ApplyRackRequest{r1}})); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{strings.Repeat("x", 501), "two\nlines", "\x1b[2J"} {
		if _, err := s.admin.Fleet.HaltFleet(t.Context(), connect.NewRequest(&messages.HaltFleetRequest{Reason: reason})); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("halted by %.20q: %v", reason, err)
		}
	}
	if got := s.fleet(); got.GetName() != "row-4" || got.GetCause() != "" {
		t.Errorf("it was halted: %v", got)
	}
}
