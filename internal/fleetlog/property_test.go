package fleetlog

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestTwoWriters: whatever two coordinators do at once for two agents of one rack,
// the log holds each event once, in order, of one history, and nothing of an epoch
// behind the claim of a newer one; what was acknowledged is there.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	everywhereTwice(t, func(t *testing.T, logs [2]*Log) {
		run := 0
		rapid.Check(t, func(rt *rapid.T) {
			run++
			name := fmt.Sprintf("rack-%d", run)
			var before uint64
			for _, l := range logs {
				if last, err := l.Last(t.Context()); err != nil {
					rt.Fatal(err)
				} else {
					before = max(before, last)
				}
			}
			type step struct{ Claim, Overlap, Count int }
			steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
				return step{rapid.IntRange(0, 4).Draw(rt, "claim"), rapid.IntRange(0, 3).Draw(rt, "overlap"), rapid.IntRange(1, 4).Draw(rt, "count")}
			}), 1, 5)
			var acknowledged [2]uint64
			var writers sync.WaitGroup
			for w, l := range logs {
				todo := steps.Draw(rt, fmt.Sprintf("writer %d", w))
				writers.Go(func() {
					var h Head
					for _, s := range todo {
						if h.Epoch == 0 || s.Claim == 0 {
							now, err := l.Head(context.Background(), name)
							if err == nil {
								now, err = l.Claim(context.Background(), name, fmt.Sprintf("j%d", w), now)
							}
							if errors.Is(err, ErrFenced) {
								continue
							}
							if err != nil {
								t.Error(err)
								return
							}
							h = now
						}
						from := 1 + max(0, int(h.Seq)-s.Overlap)
						seq, err := l.Append(context.Background(), name, h.Epoch, events(name, from, s.Overlap+s.Count))
						switch {
						case err == nil:
							h.Seq, acknowledged[w] = seq, max(acknowledged[w], seq)
						case errors.Is(err, ErrFenced):
							h = Head{}
						default:
							t.Error(err)
							return
						}
					}
				})
			}
			writers.Wait()
			judge(t, rt, logs[0], name, before, max(acknowledged[0], acknowledged[1]))
		})
	})
}

// judge follows the log from a place on and checks one rack.
func judge(t *testing.T, rt *rapid.T, l *Log, name string, after, acknowledged uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var epoch, seq uint64
	err := l.Follow(ctx, after, func(entries []Entry) error {
		for _, e := range entries {
			switch {
			case e.Rack != name:
				return fmt.Errorf("message %d is of %s", e.Position, e.Rack)
			case e.Journal != "" && e.Epoch != epoch+1, e.Journal == "" && e.Epoch != epoch:
				return fmt.Errorf("message %d, claim %q, is of epoch %d in epoch %d", e.Position, e.Journal, e.Epoch, epoch)
			}
			epoch = e.Epoch
			for _, x := range e.Events {
				if seq++; x.GetSeq() != seq {
					return fmt.Errorf("message %d: event %d where event %d is due", e.Position, x.GetSeq(), seq)
				}
			}
		}
		return nil
	}, CaughtUp(cancel))
	if !errors.Is(err, context.Canceled) || seq < acknowledged {
		rt.Fatalf("%d events, %d were acknowledged: %v", seq, acknowledged, err)
	}
}

// everywhereTwice runs a test on two users of one log: of an embedded one, who
// share nothing of what is remembered, and of a cluster.
func everywhereTwice(t *testing.T, fn func(t *testing.T, logs [2]*Log)) {
	t.Run("embedded", func(t *testing.T) {
		a := open(t, Options{Dir: t.TempDir()})
		fn(t, [2]*Log{a, secondUser(t, a)})
	})
	t.Run("cluster", func(t *testing.T) {
		checks := flag.Lookup("rapid.checks")
		all := checks.Value.String()
		if err := checks.Value.Set("25"); err != nil { // a cluster is slow
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := checks.Value.Set(all); err != nil {
				t.Error(err)
			}
		})
		c := newCluster(t)
		fn(t, [2]*Log{open(t, Options{URL: c.url}), open(t, Options{URL: c.url})})
	})
}

// secondUser is another user of an embedded server.
func secondUser(t *testing.T, of *Log) *Log {
	b := &Log{o: of.o, conn: of.conn, js: of.js, events: of.events, orders: of.orders, tails: map[string]*tail{}, hints: hints{at: map[hint]uint64{}},
		committer: newCommitter(of.conn, of.js, of.committer.group, 1, func(error) {})} // two are a group
	t.Cleanup(b.committer.close)
	return b
}
