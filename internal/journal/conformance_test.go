package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// open opens a journal that the test closes.
func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Rack == "" {
		o.Rack = "r1"
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func event(i int) rack.Event {
	return rack.Event{
		Rack: "r1", Device: fmt.Sprintf("server-%02d", i%40), Role: rack.Server, Kind: rack.StepFailed, Phase: rack.Installation,
		Detail: rack.Detail{Step: "write", Attempt: i, Error: "the installer went silent", Delay: time.Duration(i) * time.Second,
			Seen: &rack.Observation{Source: rack.FromDHCP, MAC: "02:00:00:00:00:01", Via: rack.Port{Device: "tor-1", Name: "7"}}},
	}
}

// TestConformance is what every Log does.
func TestConformance(t *testing.T) {
	logs := map[string]func(t *testing.T) Log{
		"memory": func(*testing.T) Log { return NewMemory() },
		"store":  func(t *testing.T) Log { return open(t, filepath.Join(t.TempDir(), "state"), Options{}) },
	}
	stories := map[string]func(t *testing.T, log Log){
		"reads back what was appended":                         readsBack,
		"followers see all in order, to the end after a close": followersSeeAll,
		"a closed log refuses and is read":                     closedLog,
		"a wait ends with its context":                         waitEnds,
		"a caller's events stay together":                      staysTogether,
	}
	for name, make := range logs {
		for story, run := range stories {
			t.Run(name+"/"+story, func(t *testing.T) { run(t, make(t)) })
		}
	}
}

func readsBack(t *testing.T, log Log) {
	var want []rack.Event
	for i := range 50 {
		got, err := log.Append(event(2*i), event(2*i+1))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, got...)
	}
	for _, c := range []struct{ from, limit, first, n int }{{0, 10, 1, 10}, {1, 1000, 1, 100}, {91, 50, 91, 10}, {100, 1, 100, 1}, {101, 5, 0, 0}} {
		got, err := log.Read(uint64(c.from), c.limit)
		if err != nil || len(got) != c.n {
			t.Fatalf("read %d from %d: %d events, %v", c.limit, c.from, len(got), err)
		}
		for i, e := range got {
			if w := want[c.first-1+i]; e.Seq != uint64(c.first+i) || !reflect.DeepEqual(e, w) {
				t.Errorf("event %d reads back as\n%+v, not\n%+v", c.first+i, e, w)
			}
		}
	}
}

func followersSeeAll(t *testing.T, log Log) {
	const writers, each = 8, 300
	var readers, writing sync.WaitGroup
	for _, from := range []uint64{0, 500, writers * each} {
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
			for i := range each {
				if _, err := log.Append(event(i)); err != nil {
					t.Error(err)
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

func closedLog(t *testing.T, log Log) {
	if _, err := log.Append(event(1)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.Close(), log.Close()); err != nil {
		t.Error(err)
	}
	if _, err := log.Append(event(2)); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed log: %v", err)
	}
	if events, err := log.Read(1, 10); err != nil || len(events) != 1 {
		t.Errorf("a closed log is still read: %v %v", events, err)
	}
	if err := errors.Join(log.Wait(context.Background(), 1)); err != nil {
		t.Errorf("wait for what is there: %v", err)
	}
	if err := log.Wait(context.Background(), 2); !errors.Is(err, ErrClosed) {
		t.Errorf("wait for what never comes: %v", err)
	}
}

func waitEnds(t *testing.T, log Log) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := log.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func staysTogether(t *testing.T, log Log) {
	var writing sync.WaitGroup
	for w := range 8 {
		writing.Go(func() {
			for i := range 50 {
				got, err := log.Append(event(w), event(i), event(w))
				if err != nil || got[2].Seq != got[0].Seq+2 || got[1].Time.IsZero() || got[1].Detail.Attempt != i {
					t.Errorf("%+v %v", got, err)
				}
			}
		})
	}
	writing.Wait()
	if got, err := log.Read(1, 5000); err != nil || len(got) != 8*50*3 {
		t.Errorf("%d events, %v", len(got), err)
	}
}
