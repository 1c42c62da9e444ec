package actors

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

type executorFunc func(context.Context, Job) error

func (f executorFunc) Do(ctx context.Context, j Job) error { return f(ctx, j) }

func job(uninterruptible bool) Job {
	return Job{Device: "tor-1", Step: rack.Step{Name: "it", Action: rack.PowerOn, Limit: time.Hour, Uninterruptible: uninterruptible}}
}

// A pool that drains starts nothing more: neither what comes, nor what waits for
// its turn. What must not be interrupted runs to its end, whatever its caller does.
func TestPoolDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began, idle atomic.Int64
		release := make(chan struct{})
		p := newPool(context.Background(), executorFunc(func(ctx context.Context, j Job) error {
			began.Add(1)
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}), func() { idle.Add(1) })
		caller, stop := context.WithCancel(context.Background())
		results := make(chan error, poolWorkers+3)
		p.run(caller, job(true), func(err error) { results <- err })
		for range poolWorkers - 1 {
			p.run(caller, job(false), func(err error) { results <- err })
		}
		synctest.Wait()
		waiting := make(chan error, 1)
		p.run(context.Background(), job(false), func(err error) { waiting <- err })
		synctest.Wait()
		if n := began.Load(); n != poolWorkers {
			t.Fatalf("%d jobs began, want %d", n, poolWorkers)
		}
		p.drain()
		late := make(chan error, 1)
		p.run(context.Background(), job(false), func(err error) { late <- err })
		if err := <-late; !errors.Is(err, errDraining) {
			t.Errorf("a job that came while draining: %v", err)
		}
		stop() // the caller ends: its jobs do too, but for the one
		if err := <-waiting; !errors.Is(err, errDraining) {
			t.Errorf("a job that waited for its turn: %v", err)
		}
		synctest.Wait()
		if p.idle() || idle.Load() != 0 {
			t.Error("the job that must not be interrupted was")
		}
		close(release)
		p.wg.Wait()
		if !p.idle() || idle.Load() != 1 {
			t.Errorf("idle %v, told %d times", p.idle(), idle.Load())
		}
		if n := began.Load(); n != poolWorkers {
			t.Errorf("%d jobs began, want %d", n, poolWorkers)
		}
	})
}

func TestPoolSaysWhyAJobEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, do := range map[string]executorFunc{
			"power-on crashed: oh":                                func(context.Context, Job) error { panic("oh") },
			"no answer to power-on within 1h0m0s":                 func(ctx context.Context, _ Job) error { <-ctx.Done(); return errors.New("some socket closed") },
			"no answer to power-on within 1h0m0s: it has no room": func(ctx context.Context, _ Job) error { <-ctx.Done(); return noRoom{} },
		} {
			p := newPool(context.Background(), do, func() {})
			got := make(chan error, 1)
			p.run(context.Background(), job(false), func(err error) { got <- err })
			if err := <-got; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}

// noRoom is what a device answered all the time.
type noRoom struct{}

func (noRoom) Error() string  { return "it has no room" }
func (noRoom) Answered() bool { return true }
