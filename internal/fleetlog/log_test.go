package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/rackreach/rackreach/messages"
)

// patience bounds what a test waits for; it is no measure of speed.
const patience = time.Minute

// fullLimit bounds how long a writer waits for a server that cannot write.
const fullLimit = time.Second

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		if h, err := l.Head(ctx, "r1"); err != nil || h.Epoch != 0 || h.Seq != 0 {
			t.Fatalf("%+v %v", h, err)
		}
		if _, err := l.Append(ctx, "r1", 1, events("r1", 1, 1)); !errors.Is(err, ErrFenced) {
			t.Fatalf("without a claim: %v", err)
		}
		claimed(t, l, "r1", "j1")
		claimed(t, l, "r2", "j9")
		if n, err := l.Append(ctx, "r1", 1, events("r1", 1, 2*maxBatch+7)); err != nil || n != 2*maxBatch+7 {
			t.Fatalf("%d %v", n, err)
		}
		if n, err := l.Append(ctx, "r2", 1, events("r2", 1, 3)); err != nil || n != 3 {
			t.Fatalf("%d %v", n, err)
		}
		// What is there is compared and left out, whole or in part.
		for _, again := range [][2]int{{1, 5}, {2*maxBatch + 7, 1}, {2 * maxBatch, 20}} {
			if _, err := l.Append(ctx, "r1", 1, events("r1", again[0], again[1])); err != nil {
				t.Fatalf("%v: %v", again, err)
			}
		}
		last := 2*maxBatch + 19
		holds(t, l, "r1", last)
		holds(t, l, "r2", 3)
		if _, err := l.Append(ctx, "r1", 1, events("r1", last+2, 1)); !errors.Is(err, ErrGap) {
			t.Errorf("a gap: %v", err)
		}
		hole := append(events("r1", last+1, 1), events("r1", last+3, 1)...)
		if _, err := l.Append(ctx, "r1", 1, hole); !errors.Is(err, ErrGap) {
			t.Errorf("a gap inside: %v", err)
		}
		other := events("r1", 7, 2)
		other[1].Device = "another"
		if _, err := l.Append(ctx, "r1", 1, other); !errors.Is(err, ErrDiverged) {
			t.Errorf("another history: %v", err)
		}
		holds(t, l, "r1", last)
		for _, name := range []string{"", "*", "r1.r2", "r 1", ">", strings.Repeat("x", 200)} {
			if _, err := l.Append(ctx, name, 1, events(name, 1, 1)); err == nil {
				t.Errorf("a rack called %q", name)
			}
		}
	})
}

func TestAClaimFencesTheEpochBeforeIt(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		h := claimed(t, l, "r1", "j1")
		if _, err := l.Append(ctx, "r1", 1, events("r1", 1, 4)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Claim(ctx, "r1", "j2", Head{}); !errors.Is(err, ErrFenced) {
			t.Fatalf("a claim on what was long ago: %v", err)
		}
		// Another coordinator, which knows nothing of this claim, has the old agent.
		second, err := l.Claim(ctx, "r1", "j2", h)
		if err != nil || second.Epoch != 2 || second.Seq != 4 || second.Journal != "j2" {
			t.Fatalf("%+v %v", second, err)
		}
		if _, err := l.Append(ctx, "r1", 1, events("r1", 5, 1)); !errors.Is(err, ErrFenced) {
			t.Fatalf("the old agent writes: %v", err)
		}
		if n, err := l.Append(ctx, "r1", 2, events("r1", 5, 1)); err != nil || n != 5 {
			t.Fatal(n, err)
		}
		holds(t, l, "r1", 5)
	})
}

// TestTwoCoordinators: the old agent is connected to one, the new one to another.
func TestTwoCoordinators(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := open(t, Options{URL: c.url}), open(t, Options{URL: c.url})
	ctx := t.Context()
	claimed(t, a, "r1", "j1")
	if _, err := a.Append(ctx, "r1", 1, events("r1", 1, 4)); err != nil {
		t.Fatal(err)
	}
	// The agent moves to the other coordinator and back; either takes it up.
	if _, err := b.Append(ctx, "r1", 1, events("r1", 3, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(ctx, "r1", 1, events("r1", 7, 4)); err != nil {
		t.Fatal(err)
	}
	claimed(t, b, "r1", "j2")
	if _, err := a.Append(ctx, "r1", 1, events("r1", 11, 1)); !errors.Is(err, ErrFenced) {
		t.Fatalf("the old agent writes: %v", err)
	}
	holds(t, a, "r1", 10)
	holds(t, b, "r1", 10)
}

// TestManyClaimOne: of those who claim a rack at once, one gets it.
func TestManyClaimOne(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		before := claimed(t, l, "r1", "j0")
		var wg sync.WaitGroup
		won := make(chan Head, 8)
		for i := range 8 {
			wg.Go(func() {
				h, err := l.Claim(context.Background(), "r1", fmt.Sprintf("j%d", i+1), before)
				switch {
				case err == nil:
					won <- h
				case !errors.Is(err, ErrFenced):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d got it", len(won))
		}
		h, err := l.Head(t.Context(), "r1")
		if w := <-won; err != nil || h.Journal != w.Journal || h.Epoch != 2 {
			t.Errorf("%+v %+v %v", h, w, err)
		}
	})
}

func TestFollowSeesAllOnce(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		const racks, each = 5, 60
		for r := range racks {
			claimed(t, l, fmt.Sprintf("r%d", r), "j")
		}
		var wg sync.WaitGroup
		for r := range racks {
			wg.Go(func() {
				name := fmt.Sprintf("r%d", r)
				for i := 1; i <= each; i += 3 {
					if _, err := l.Append(context.Background(), name, 1, events(name, i, 3)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		next, seen, place := map[string]uint64{}, 0, uint64(0)
		err := l.Follow(ctx, 0, func(entries []Entry) error {
			for _, e := range entries {
				if e.Position <= place {
					return fmt.Errorf("place %d behind place %d", e.Position, place)
				}
				place = e.Position
				for _, x := range e.Events {
					next[e.Rack]++
					seen++
					if x.GetSeq() != next[e.Rack] {
						return fmt.Errorf("event %d of %s where %d is due", x.GetSeq(), e.Rack, next[e.Rack])
					}
				}
			}
			if seen == racks*each {
				cancel()
			}
			return nil
		})
		wg.Wait()
		if seen != racks*each || !errors.Is(err, context.Canceled) {
			t.Fatalf("%d events, %v", seen, err)
		}
		last, err := l.Last(t.Context())
		if err != nil || last != place {
			t.Errorf("%d %d %v", last, place, err)
		}
	})
}

func TestOrdersAreKeptUntilAnswered(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		ctx := t.Context()
		for _, id := range []string{"a", "b", "a", "c", "b"} {
			if err := l.Order(ctx, &messages.Order{Rack: "r1", Id: id, Verb: "halt"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Answered(ctx, "r1", "b"); err != nil {
			t.Fatal(err)
		}
		if err := l.Answered(ctx, "r1", "never"); err != nil {
			t.Fatal(err)
		}
		following, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var got []string
		err := l.FollowOrders(following, func(o *messages.Order) error {
			got = append(got, o.GetId())
			if o.GetId() == "c" {
				return l.Order(ctx, &messages.Order{Rack: "r2", Id: "d"})
			}
			if o.GetId() == "d" {
				cancel()
			}
			return nil
		})
		if fmt.Sprint(got) != "[a c d]" {
			t.Errorf("%v %v", got, err)
		}
		for _, id := range []string{"", "a.b", "*"} {
			if err := l.Order(ctx, &messages.Order{Rack: "r1", Id: id}); err == nil {
				t.Errorf("an order called %q", id)
			}
		}
	})
}

func TestARestartKeepsAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for life := range 3 {
		l, err := Open(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			claimed(t, l, "r1", "j1")
		}
		holds(t, l, "r1", 40*life)
		if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another coordinator has it open") {
			t.Errorf("two at once: %v", err)
		}
		if _, err := l.Append(t.Context(), "r1", 1, events("r1", 40*life+1, 40)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	if l, err := Open(t.Context(), Options{URL: fmt.Sprintf("nats://%s:%d", loopback(), clientPort)}); err == nil || !strings.Contains(err.Error(), "--nats") {
		t.Errorf("%v %v", l, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(file, "x")}); err == nil {
		t.Error("a directory below a file")
	}
}

// TestTheLeaderDies while many racks are written: what was acknowledged is there,
// once, in order, and it goes on without it.
func TestTheLeaderDies(t *testing.T) {
	t.Parallel()
	const racks, each = 12, 30
	c := newCluster(t)
	l := open(t, Options{URL: c.url})
	info, err := l.events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var leader *server.Server
	for _, s := range c.servers {
		if s.Name() == info.Cluster.Leader {
			leader = s
		}
	}
	if leader == nil {
		t.Fatalf("no server is called %q", info.Cluster.Leader)
	}
	var writers sync.WaitGroup
	half := make(chan struct{}, racks)
	for r := range racks {
		name := fmt.Sprintf("r%d", r)
		claimed(t, l, name, "j1")
		writers.Go(func() {
			acknowledged := 0
			for end := time.Now().Add(patience); acknowledged < 3*each; {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				got, err := l.Append(ctx, name, 1, events(name, acknowledged+1, 3))
				cancel()
				switch {
				case errors.Is(err, ErrGap) || errors.Is(err, ErrDiverged) || errors.Is(err, ErrFenced) || time.Now().After(end):
					t.Errorf("%s after event %d: %v", name, acknowledged, err)
					half <- struct{}{}
					return
				case err == nil && int(got) != acknowledged+3:
					t.Errorf("%s: %d acknowledged, %d were", name, got, acknowledged+3)
				case err == nil:
					if acknowledged += 3; acknowledged == 3*each/2 {
						half <- struct{}{}
					}
				}
			}
		})
	}
	for range racks {
		<-half
	}
	leader.Shutdown()
	writers.Wait()
	for r := range racks {
		holds(t, l, fmt.Sprintf("r%d", r), 3*each)
	}
}

// TestWhoIsFenced is told by whom.
func TestWhoIsFenced(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	first := claimed(t, l, "r1", "j1")
	if again, err := l.Claim(t.Context(), "r1", "j1", Head{}); err != nil || again.Epoch != 1 || again.Claimed.IsZero() || !again.Claimed.Equal(first.Claimed) {
		t.Errorf("the same claim again: %+v %v", again, err)
	}
	claimed(t, l, "r1", "j2")
	_, err := l.Append(t.Context(), "r1", 1, events("r1", 1, 1))
	var f *Fenced
	if !errors.As(err, &f) || f.Epoch != 2 || f.Journal != "j2" || !errors.Is(err, ErrFenced) {
		t.Errorf("%v", err)
	}
}

// TestReadFromAnywhere: also where nobody read before, among other racks.
func TestReadFromAnywhere(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	for _, r := range []string{"r1", "r2", "r3"} {
		claimed(t, l, r, "j")
	}
	const last = 60
	for i := 1; i <= last; i += 4 {
		for _, r := range []string{"r1", "r2"} {
			if _, err := l.Append(t.Context(), r, 1, events(r, i, 4)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 29 {
			claimed(t, l, "r3", "other")
		}
	}
	for from := 1; from <= last+2; from++ {
		for _, limit := range []int{0, 1, 5, 100} {
			l.hints.put("r1", 0, 0) // at least one, of nobody
			clear(l.hints.at)
			got, err := l.Read(t.Context(), "r1", uint64(from), limit)
			if want := max(0, min(limit, last+1-from)); err != nil || len(got) != want || want > 0 && got[0].GetSeq() != uint64(from) {
				t.Fatalf("%d from %d: %d events, %v", limit, from, len(got), err)
			}
		}
	}
}
