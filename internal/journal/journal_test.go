package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTailIsCompleteAndInOrder lets many writers append while several readers
// follow from different places.
func TestTailIsCompleteAndInOrder(t *testing.T) {
	const writers, each = 8, 200
	log := NewMemory()
	var readers, writing sync.WaitGroup
	for _, from := range []uint64{0, 1, 500} {
		readers.Go(func() {
			next := max(from, 1)
			err := Tail(context.Background(), log, from, func(events []rack.Event) error {
				for _, e := range events {
					if e.Seq != next {
						return fmt.Errorf("read %d, want %d", e.Seq, next)
					}
					next++
				}
				return nil
			})
			if err != nil || next != writers*each+1 {
				t.Errorf("from %d: %v, ended before %d", from, err, next)
			}
		})
	}
	for range writers {
		writing.Go(func() {
			for range each / 2 {
				stored, err := log.Append(rack.Event{Kind: "a"}, rack.Event{Kind: "b"})
				if err != nil || stored[1].Seq != stored[0].Seq+1 || stored[0].Time.IsZero() {
					t.Errorf("%+v %v", stored, err)
				}
			}
		})
	}
	writing.Wait()
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
}

func TestClosedLog(t *testing.T) {
	log := NewMemory()
	if _, err := log.Append(rack.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.Close(), log.Close()); err != nil {
		t.Error(err)
	}
	if _, err := log.Append(rack.Event{}); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed log: %v", err)
	}
	if events, err := log.Read(1, 10); err != nil || len(events) != 1 {
		t.Errorf("a closed log is still read: %v %v", events, err)
	}
	if err := log.Wait(context.Background(), 2); !errors.Is(err, ErrClosed) {
		t.Errorf("wait for what never comes: %v", err)
	}
}

func TestTailEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := NewMemory()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Tail(ctx, log, 1, func([]rack.Event) error { return nil }) }()
		synctest.Wait() // it waits for the first event
		stop()
		if err := <-done; err != nil {
			t.Errorf("ended by its context: %v", err)
		}
	})
	log := NewMemory()
	if _, err := log.Append(rack.Event{}); err != nil {
		t.Fatal(err)
	}
	want := errors.New("enough")
	if err := Tail(context.Background(), log, 1, func([]rack.Event) error { return want }); !errors.Is(err, want) {
		t.Errorf("the error of its function: %v", err)
	}
}
