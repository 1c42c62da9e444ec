package simulate

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// epoch is the time at which a simulated rack starts, for its events.
func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// Run simulates racks until each has completed or halted. Its errors are those
// of the options, and the cause of ctx when that ends before.
func Run(ctx context.Context, o Options) (*Result, error) {
	s, err := newSetup(o)
	if err != nil {
		return nil, err
	}
	outcomes, err := s.each(ctx, func(ctx context.Context, number int) (outcome, error) {
		n := newSimulation(s, number, epoch())
		n.begin()
		if err := n.play(ctx); err != nil {
			return outcome{}, err
		}
		return n.outcome(), nil
	})
	if err != nil {
		return nil, err
	}
	return s.sum(outcomes), nil
}

// each simulates every rack on the workers; the outcomes stand in the order of
// their numbers. The error is that of the lowest number that has one.
func (s *setup) each(ctx context.Context, one func(context.Context, int) (outcome, error)) ([]outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	outcomes, errs := make([]outcome, s.o.Racks), make([]error, s.o.Racks)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(s.o.Workers, s.o.Racks) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < s.o.Racks; i = int(next.Add(1)) - 1 {
				if outcomes[i], errs[i] = one(ctx, i); errs[i] != nil {
					cancel(fmt.Errorf("another rack could not be simulated: %w", errs[i]))
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}
