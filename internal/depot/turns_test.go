package depot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Agents take turns: one that asks for much does not keep out one that asks for
// little.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(2, 2, 100)
		var mu sync.Mutex
		var served []string
		hold := make(chan struct{})
		var all sync.WaitGroup
		ask := func(agent string, n int) {
			for range n {
				all.Go(func() {
					if err := turns.enter(t.Context(), agent); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					served = append(served, agent)
					mu.Unlock()
					<-hold
					turns.leave(agent)
				})
				synctest.Wait()
			}
		}
		ask("greedy", 6)
		ask("a", 1)
		ask("b", 2)
		if active, waiting := turns.stand(); active != 2 || waiting != 7 {
			t.Errorf("%d active, %d waiting", active, waiting)
		}
		for range 9 {
			hold <- struct{}{}
			synctest.Wait()
		}
		all.Wait()
		if want := []string{"greedy", "greedy", "greedy", "a", "b", "greedy", "b", "greedy", "greedy"}; !slices.Equal(served, want) {
			t.Errorf("served %v, want %v", served, want)
		}
		if active, waiting := turns.stand(); active != 0 || waiting != 0 || len(turns.taken) != 0 || len(turns.queues) != 0 || len(turns.order) != 0 {
			t.Errorf("left over: %d active, %d waiting, %+v", active, waiting, turns)
		}
	})
}

func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(4, 1, 2)
		if err := turns.enter(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 2)
		for range 2 {
			go func() { gone <- turns.enter(ctx, "a") }() // there is room, but not for more of a
			synctest.Wait()
		}
		if err := turns.enter(t.Context(), "a"); !errors.Is(err, errTooMany) {
			t.Errorf("%v", err)
		}
		if err := turns.enter(t.Context(), "b"); err != nil {
			t.Errorf("another agent: %v", err)
		}
		cancel()
		for range 2 {
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if active, waiting := turns.stand(); active != 2 || waiting != 0 {
			t.Errorf("%d active, %d waiting", active, waiting)
		}
	})
}

// One agent that asks for more than it can ever be sent does not fill the places of all
// who wait.
func TestOneAgentDoesNotFillTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 1, DefaultWaiting)
		if err := turns.enter(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range DefaultWaiting + 10 {
			all.Go(func() { _ = turns.enter(ctx, "a") })
		}
		synctest.Wait()
		got := make(chan error, 1)
		go func() { got <- turns.enter(ctx, "b") }()
		synctest.Wait()
		select {
		case err := <-got:
			t.Errorf("another agent may not wait: %v", err)
		default:
		}
		cancel()
		all.Wait()
	})
}

// Whoever comes, goes and loses patience in whatever order: never more than may, and
// nobody waits while there is a place for them.
func TestTurnsProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			turns := newTurns(rapid.IntRange(1, 4).Draw(r, "most"), rapid.IntRange(1, 3).Draw(r, "per agent"), rapid.IntRange(0, 5).Draw(r, "waiting"))
			type one struct {
				agent  string
				cancel context.CancelFunc
				in     chan error
			}
			var waiting, served []*one
			settle := func() {
				synctest.Wait()
				waiting = slices.DeleteFunc(waiting, func(o *one) bool {
					select {
					case err := <-o.in:
						if err == nil {
							served = append(served, o)
						}
						return true
					default:
						return false
					}
				})
				active, waits := turns.stand()
				by := map[string]int{}
				for _, o := range served {
					by[o.agent]++
					if by[o.agent] > turns.perAgent {
						r.Fatalf("%d of %s", by[o.agent], o.agent)
					}
				}
				if active != len(served) || active > turns.most || waits != len(waiting) || waits > turns.waitMost {
					r.Fatalf("%d active of %d, %d waiting of %d", active, len(served), waits, len(waiting))
				}
				for _, o := range waiting {
					if active < turns.most && by[o.agent] < turns.perAgent {
						r.Fatalf("%s waits though there is a place", o.agent)
					}
				}
			}
			for range rapid.IntRange(1, 50).Draw(r, "steps") {
				switch what := rapid.IntRange(0, 3).Draw(r, "what"); {
				case what < 2:
					ctx, cancel := context.WithCancel(t.Context())
					o := &one{fmt.Sprint(rapid.IntRange(0, 3).Draw(r, "agent")), cancel, make(chan error, 1)}
					waiting = append(waiting, o)
					go func() { o.in <- turns.enter(ctx, o.agent) }()
				case what == 2 && len(served) > 0:
					o := served[0]
					served = served[1:]
					turns.leave(o.agent)
					o.cancel()
				case what == 3 && len(waiting) > 0:
					waiting[rapid.IntRange(0, len(waiting)-1).Draw(r, "impatient")].cancel()
				}
				settle()
			}
			for len(served) > 0 {
				o := served[0]
				served = served[1:]
				turns.leave(o.agent)
				settle()
			}
			for _, o := range waiting {
				r.Fatalf("%s waits for ever", o.agent)
			}
		})
	})
}
