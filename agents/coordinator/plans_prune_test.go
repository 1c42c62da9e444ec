package coordinator

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// The table of plans keeps the newest ones of a rack, and that of its run however many
// were put since. Other racks lose nothing.
func TestPlansThatNobodyNeedsAreRemoved(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	other := s.put("r2")
	put := func(n int) string { return putNumbered(t, s, n) }
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

// putNumbered puts a plan of rack r1 that differs from all others in its number.
func putNumbered(t *testing.T, s *served, n int) string {
	t.Helper()
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

// A rack whose run cannot be read at this moment, here since its plan was damaged, still
// needs its plan: it is restored, or read the next time.
func TestThePlanOfARackThatIsNotReadStays(t *testing.T) {
	dir := home(t, false)
	s := serve(t, dir, "", "127.0.0.1:0")
	begun := putNumbered(t, s, 1)
	a := s.agent("r1", nil, journal.NewMemory(), nil)
	if _, err := s.admin.Fleet.ApplyRack(t.Context(), connect.NewRequest(&messages.ApplyRackRequest{Name: "racks/r1", PlanHash: begun})); err != nil {
		t.Fatal(err)
	}
	until(t, "r1 is begun", func() bool { return s.rack("r1").GetStatus() == "imaging" && s.rack("r1").GetOrders() == 0 })
	a.stop()
	if err := s.c.plans.table.Put(t.Context(), "r1."+begun, []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil { // it reads the log from its beginning
		t.Fatal(err)
	}
	s = serve(t, dir, "", "127.0.0.1:0")
	putNumbered(t, s, 2) // what the actor takes for its plan
	until(t, "r1 cannot be read", func() bool {
		r := s.rack("r1")
		return r.GetStatus() != actors.Reading && r.GetCause() != ""
	})
	for n := range 2 * plansKept {
		putNumbered(t, s, 3+n)
	}
	if _, _, err := s.c.plans.table.Get(t.Context(), "r1."+begun); err != nil {
		t.Errorf("the plan of its run: %v", err)
	}
}
