package coordinator

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/messages"
)

// TestWhatIsDesiredIsChangedByEverybody: nobody's word is lost to another's that
// came at the same time, and none is taken for another fleet.
func TestWhatIsDesiredIsChangedByEverybody(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	d, ctx := s.c.desired, t.Context()
	now := func() *actors.Desired {
		t.Helper()
		x, _, err := d.read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if err := d.halt(ctx, "x"); err == nil || now() != nil {
		t.Errorf("a fleet that nobody applied was halted: %+v", now())
	}
	q := &messages.ApplyFleetRequest{Name: "f", HaltAfter: 1, Racks: []*messages.ApplyRackRequest{{Name: "racks/r1", PlanHash: s.put("r1")}}}
	if _, err := s.admin.Fleet.ApplyFleet(ctx, connect.NewRequest(q)); err != nil {
		t.Fatal(err)
	}
	calls := 0
	if err := d.change(ctx, func(old *actors.Desired) (*actors.Desired, error) {
		if calls++; calls == 1 { // another coordinator is quicker
			if err := d.halt(ctx, "smoke"); err != nil {
				t.Fatal(err)
			}
		}
		x := *old
		x.By = "ada"
		return &x, nil
	}); err != nil {
		t.Fatal(err)
	}
	if x := now(); calls != 2 || x.By != "ada" || x.Halted != "smoke" {
		t.Errorf("after %d tries: %+v", calls, x)
	}
	if err := d.resume(ctx, &actors.Stopped{Fleet: "the fleet before"}); err == nil || now().Halted != "smoke" {
		t.Errorf("resumed by what stopped in another fleet: %v", err)
	}
	at := time.Now().Round(0)
	if err := d.resume(ctx, &actors.Stopped{Fleet: now().ID, Racks: map[string]time.Time{"r1": at, "r2": {}}}); err != nil {
		t.Fatal(err)
	}
	if x := now(); x.Halted != "" || x.Spec.HaltAfter != 1 || len(x.Spec.Forgiven) != 2 || !x.Spec.Forgiven["r1"].Equal(at) || !x.Spec.Forgiven["r2"].IsZero() {
		t.Errorf("resumed behind two that had stopped: %+v", x)
	}
	before := now()
	if err := d.begin(ctx, before, []string{"r1"}); err != nil {
		t.Fatal(err)
	}
	if x := now(); len(x.Begun) != 1 || x.Begun[0] != "r1" || x.Revision <= before.Revision {
		t.Errorf("r1 is on record: %+v", x)
	}
	// A table that came out of a backup has lower revisions than a coordinator that runs on.
	newer := *now()
	newer.Revision += 100
	if err := d.begin(ctx, &newer, []string{"r2"}); err == nil || !strings.Contains(err.Error(), "restart every coordinator, then apply the fleet again") {
		t.Errorf("the log came out of a backup: %v", err)
	}
	// What was decided before that counts for nothing, and is no error.
	if err := d.begin(ctx, before, []string{"r2"}); err != nil || len(now().Begun) != 1 {
		t.Errorf("%v: %+v", err, now())
	}
	if err := d.stop(ctx, before, "late word"); err != nil || now().Halted != "" {
		t.Errorf("%v: %+v", err, now())
	}
	if err := d.stop(ctx, now(), "first"); err != nil {
		t.Fatal(err)
	}
	if err := d.halt(ctx, "second"); err != nil || now().Halted != "first" {
		t.Errorf("%v: %+v", err, now())
	}
}
