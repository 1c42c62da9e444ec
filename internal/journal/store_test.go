package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestReopenedJournalGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	var want []rack.Event
	for round := range 3 {
		s := open(t, dir, Options{Run: fmt.Sprint("run-", round)})
		for i := range 900 {
			got, err := s.Append(event(i), event(i))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, got...)
			if i%300 != 0 {
				continue
			}
			if all, err := s.Read(1, 1e6); err != nil || !reflect.DeepEqual(all, want) {
				t.Fatalf("round %d: %d events of %d, %v", round, len(all), len(want), err)
			}
		}
		if s.Meta().Run != "run-0" || s.Meta().Rack != "r1" || s.Last() != uint64(len(want)) {
			t.Errorf("%+v, last %d", s.Meta(), s.Last())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, dbFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	report, err := Verify(dir)
	if err != nil || report.Events != uint64(len(want)) || report.Meta.Run != "run-0" {
		t.Errorf("%+v %v", report, err)
	}
	var lines strings.Builder
	if _, err := Dump(dir, &lines, func(e rack.Event) bool { return e.Seq > 5390 }); err != nil || strings.Count(lines.String(), "\n") != 10 {
		t.Errorf("%s %v", lines.String(), err)
	}
}

func TestAnyEventsReadBackEqual(t *testing.T) {
	dirs := 0
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dirs++
		dir := filepath.Join(root, fmt.Sprint(dirs))
		text := rapid.StringN(0, 40, 200)
		one := rapid.Custom(func(t *rapid.T) rack.Event {
			e := rack.Event{Rack: text.Draw(t, "rack"), Device: text.Draw(t, "device"), Kind: rack.Kind(text.Draw(t, "kind")),
				Detail: rack.Detail{Error: text.Draw(t, "error"), Attempt: rapid.IntRange(0, 1<<31).Draw(t, "attempt"), Final: rapid.Bool().Draw(t, "final"),
					Delay: time.Duration(rapid.Int64().Draw(t, "delay"))}}
			if rapid.Bool().Draw(t, "seen") {
				e.Detail.Seen = &rack.Observation{Message: text.Draw(t, "message")}
			}
			return e
		})
		var want []rack.Event
		for range rapid.IntRange(1, 3).Draw(t, "opened") {
			s, err := Open(dir, Options{Rack: "r1"})
			if err != nil {
				t.Fatal(err)
			}
			for _, events := range rapid.SliceOfN(rapid.SliceOfN(one, 1, 30), 0, 5).Draw(t, "appends") {
				got, err := s.Append(events...)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, got...)
			}
			s.tail = nil // read from disk
			got, err := s.Read(1, len(want)+1)
			if err := errors.Join(err, s.Close()); err != nil || (len(want) > 0 && !reflect.DeepEqual(got, want)) {
				t.Fatalf("%v: read back\n%+v, not\n%+v", err, got, want)
			}
		}
	})
}

func TestWhatWouldNotReadBackIsRefused(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for name, e := range map[string]rack.Event{
		"not UTF-8":           {Kind: "\xff"},
		"a role that is none": {Role: "toaster"},
		"a negative attempt":  {Detail: rack.Detail{Attempt: -1}},
		"too large":           {Detail: rack.Detail{Error: strings.Repeat("x", MaxEvent)}},
	} {
		if _, err := s.Append(event(1), e); err == nil {
			t.Errorf("%s: was journalled", name)
		}
	}
	if _, err := s.Append(make([]rack.Event, maxAppend+1)...); err == nil {
		t.Error("any number at once was journalled")
	}
	if got, err := s.Append(event(1)); err != nil || got[0].Seq != 1 {
		t.Errorf("it goes on, and nothing was half done: %+v %v", got, err)
	}
}

// TestClockGoesBack writes now, and again in a bubble whose clock says 2000.
func TestClockGoesBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	before, err := s.Append(event(1))
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		if time.Now().After(before[0].Time) {
			t.Fatal("the bubble's clock is not behind")
		}
		after, err := s.Append(event(2))
		if err != nil || !after[0].Time.Equal(before[0].Time) {
			t.Errorf("%v, then %v, %v", before[0].Time, after[0].Time, err)
		}
	})
}

func TestSecondOneIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	_, err := Open(dir, Options{Rack: "r1", LockWait: time.Millisecond})
	var inUse *InUse
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--state") {
		t.Errorf("%v", err)
	}
	if _, err := Verify(dir); !errors.As(err, &inUse) {
		t.Errorf("verify of a journal that is written: %v", err)
	}
}

func TestOtherRackIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{Rack: "r2"}); !errors.Is(err, ErrOtherRack) || !strings.Contains(err.Error(), "r1") {
		t.Errorf("%v", err)
	}
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Errorf("the refused one let go: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no rack, no journal: %v", err)
	}
}

// TestCloseWhileWriting: what was acknowledged is there, the rest is refused.
func TestCloseWhileWriting(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	var writers sync.WaitGroup
	var mu sync.Mutex
	var acknowledged uint64
	started := make(chan struct{}, 100)
	for range 20 {
		writers.Go(func() {
			for {
				got, err := s.Append(event(1))
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acknowledged = max(acknowledged, got[0].Seq)
				mu.Unlock()
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 100 {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	writers.Wait()
	if r, err := Verify(dir); err != nil || r.Events < acknowledged {
		t.Errorf("%d acknowledged, %d there, %v", acknowledged, r.Events, err)
	}
}
