package simulate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestPercentile(t *testing.T) {
	ten := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, tt := range []struct {
		of   []time.Duration
		p    int
		want time.Duration
	}{
		{nil, 50, 0}, {ten[:1], 50, 1}, {ten[:1], 90, 1}, {ten[:2], 50, 1}, {ten[:2], 90, 2}, {ten[:3], 50, 2},
		{ten, 50, 5}, {ten, 90, 9}, {ten, 91, 10}, {ten, 100, 10}, {ten, 0, 1}, {ten[:9], 50, 5},
	} {
		if got := percentile(tt.of, tt.p); got != tt.want {
			t.Errorf("p%d of %v is %d, want %d", tt.p, tt.of, got, tt.want)
		}
	}
	if got := spread([]time.Duration{3 * time.Second, time.Second, 2 * time.Second}); got != (Spread{3, 2000, 3000}) {
		t.Errorf("spread %+v", got)
	}
}

func TestEveryRowKeepsItsBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range Durations() {
		d := row.Takes
		if d.Low <= 0 || d.Middle < d.Low || d.High < d.Middle || row.Source == "" || row.Mark == "" {
			t.Errorf("%s %v: %+v", row.Of, row.Roles, d)
		}
		draws := make([]time.Duration, 2001)
		for i := range draws {
			draws[i] = d.Draw(r)
			if draws[i] < d.Low || draws[i] > d.High {
				t.Fatalf("%s: %s is outside %s and %s", row.Of, draws[i], d.Low, d.High)
			}
			if late := d.Rest(r, draws[i]); late < 0 {
				t.Fatalf("%s: %s are left", row.Of, late)
			}
		}
		slices.Sort(draws)
		if median := draws[1000]; d.Shape == LogNormal && (median < d.Middle*95/100 || median > d.Middle*105/100) {
			t.Errorf("%s: the median is %s, not %s", row.Of, median, d.Middle)
		}
		if d.High > d.Low && draws[0] == draws[2000] {
			t.Errorf("%s: all draws are %s", row.Of, draws[0])
		}
	}
}

func TestLargeImagesTakeLonger(t *testing.T) {
	table := durations{Durations()}
	small, err := table.find(string(rack.FetchedImage), rack.Server, 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	large, err := table.find(string(rack.FetchedImage), rack.Server, 1300<<20)
	if err != nil {
		t.Fatal(err)
	}
	if small.High != 4*time.Minute || large.High != 8*time.Minute || large.Low != 2*time.Minute {
		t.Errorf("32 MiB take %+v, 1300 MiB %+v", small, large)
	}
}

// TestEveryStepFitsItsLimit: without faults no time limit may pass.
func TestEveryStepFitsItsLimit(t *testing.T) {
	table := durations{Durations()}
	for _, p := range platform.All() {
		for _, s := range p.Steps {
			of := string(s.Action)
			if s.Action == rack.Wait {
				of = string(s.Until)
			}
			if s.Action == rack.IssueTicket {
				continue
			}
			d, err := table.find(of, p.Roles[0], 0)
			if err != nil || d.High >= s.Limit {
				t.Errorf("%s %s takes up to %s (%v), its limit is %s", p.Name, s.Name, d.High, err, s.Limit)
			}
		}
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := queue{}
		var at []time.Duration
		var order []uint64
		var add func(depth int)
		add = func(depth int) {
			for range rapid.IntRange(0, 4).Draw(t, "n") {
				due := q.now + max(0, time.Duration(rapid.IntRange(-2, 5).Draw(t, "after")))
				q.after(due-q.now, func() {
					if q.now != due {
						t.Fatalf("what was due at %d happens at %d", due, q.now)
					}
					at = append(at, q.now)
					if depth < 3 {
						add(depth + 1)
					}
				})
				order = append(order, q.n)
			}
		}
		add(0)
		for q.next(time.Hour) {
		}
		if !slices.IsSorted(at) || len(at) != len(order) {
			t.Fatalf("%d of %d things happened, at %v", len(at), len(order), at)
		}
	})
}

func TestWhatIsDueTogetherKeepsItsOrder(t *testing.T) {
	q := queue{}
	var got []int
	for i := range 50 {
		q.after(time.Second, func() { got = append(got, i) })
	}
	if q.next(time.Millisecond) {
		t.Error("something happened behind the limit")
	}
	for q.next(time.Minute) {
	}
	if len(got) != 50 || !slices.IsSorted(got) {
		t.Errorf("in the order %v", got)
	}
}
