package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// The table of plans keeps the newest ones of a rack, and that of its run however many
// were put since. Other racks lose nothing.
func TestPlansThatNobodyNeedsAreRemoved(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	other := s.put("r2")
	put := func(n int) string {
		p := plan(t, "r1")
		var err error
		if p.Plan, err = rack.NewPlan(p.Rack, p.Platforms, func(name string) (rack.Image, error) {
			return rack.Image{Name: name, Digest: "sha256:" + fmt.Sprintf("%064x", n), Size: 1}, nil
		}); err != nil {
			t.Fatal(err)
		}
		a, err := s.admin.Fleet.PutPlan(t.Context(), connect.NewRequest(&messages.PutPlanRequest{Name: "racks/r1", Plan: must(p.Encode())}))
		if err != nil {
			t.Fatal(err)
		}
		return a.Msg.GetPlanHash()
	}
	begun := put(1)
	s.agent("r1", nil, journal.NewMemory(), nil)
	if _, err := s.admin.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r1", PlanHash: begun})); err != nil {
		t.Fatal(err)
	}
	until(t, "r1 is begun", func() bool {
		return s.rack("r1").GetPlanHash() == begun && s.rack("r1").GetOrders() == 0 && s.rack("r1").GetStatus() == "imaging"
	})
	var put1 []string
	for n := range 2 * plansKept {
		put1 = append(put1, put(2+n))
	}
	keys, err := s.c.plans.table.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, k := range keys {
		if hash, ok := strings.CutPrefix(k, "r1."); ok {
			have = append(have, hash)
		}
	}
	want := append([]string{begun}, put1[plansKept:]...)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("kept are %d: %v\nwant %v", len(have), have, want)
	}
	if !slices.Contains(keys, "r2."+other) {
		t.Error("r2 lost its plan")
	}
}
