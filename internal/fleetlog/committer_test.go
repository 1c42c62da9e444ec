package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestOneLateWriterOfAGroup: of a group in which some conditions do not hold, only
// those messages are refused.
func TestOneLateWriterOfAGroup(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, l *Log) {
		if !l.committer.group {
			t.Fatal("the server knows no atomic batches")
		}
		late := func(r int) bool { return r%9 == 4 }
		for name, x := range map[string]struct{ racks, few int }{"large": {40, fewAlone}, "small": {fewAlone, 1}, "none": {fewAlone, fewAlone}} {
			rack := func(r int) string { return fmt.Sprintf("%s-%d", name, r) }
			var group []*write
			for r := range x.racks {
				m := nats.NewMsg(eventsSubject(rack(r)))
				m.Header.Set(headerEpoch, "1")
				m.Header.Set(headerLast, "0")
				w := &write{ctx: t.Context(), m: m, done: make(chan written, 1)}
				if late(r) {
					w.place = 7777 // there is none
				}
				group = append(group, w)
			}
			other := committer{conn: l.conn, js: l.js, group: true, few: x.few, life: t.Context()}
			other.commit(group)
			for r, w := range group {
				got := <-w.done
				if late(r) != isWrongSequence(got.err) || !late(r) && got.err != nil {
					t.Errorf("%s: %+v", rack(r), got)
				}
				if late(r) {
					continue
				}
				m, err := l.events.GetLastMsgForSubject(t.Context(), eventsSubject(rack(r)))
				if err != nil || m.Sequence != got.place {
					t.Errorf("%s was said to be message %d: %v %v", rack(r), got.place, m, err)
				}
			}
		}
	})
}

// TestWhatASickServerShows: after a write that failed, what the server lets read is
// not acknowledged before it has written something again.
func TestWhatASickServerShows(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	claimed(t, l, "r1", "j")
	if _, err := l.Append(t.Context(), "r1", 1, events("r1", 1, 3)); err != nil {
		t.Fatal(err)
	}
	ends := func() uint64 {
		last, err := l.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	for name, ask := range map[string]func() (uint64, error){
		"head":   func() (uint64, error) { h, err := l.Head(t.Context(), "r1"); return h.Seq, err },
		"append": func() (uint64, error) { return l.Append(t.Context(), "r1", 1, events("r1", 2, 2)) },
	} {
		before := ends()
		l.committer.suspect.Store(true)
		if seq, err := ask(); err != nil || seq != 3 || ends() != before+1 || l.committer.suspect.Load() {
			t.Errorf("%s: %d %v, the log went from %d to %d", name, seq, err, before, ends())
		}
		if seq, err := ask(); err != nil || seq != 3 || ends() != before+1 {
			t.Errorf("%s of a sound server: %d %v", name, seq, err)
		}
	}
	holds(t, l, "r1", 3)
	// A server that writes no more.
	if err := l.server.DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), fullLimit)
	defer cancel()
	if seq, err := l.Append(ctx, "r1", 1, events("r1", 4, 1)); err == nil {
		t.Errorf("it acknowledged %d", seq)
	}
}

// TestClosedWhileWriting: writers get an error and end.
func TestClosedWhileWriting(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	began := make(chan struct{}, 8)
	for r := range 8 {
		name := fmt.Sprintf("r%d", r)
		claimed(t, l, name, "j")
		wg.Go(func() {
			for i := 1; ; i++ {
				if _, err := l.Append(context.Background(), name, 1, events(name, i, 1)); err != nil {
					return
				}
				if i == 1 {
					began <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-began
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := l.committer.write(t.Context(), nats.NewMsg(eventsSubject("r1")), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestACallerThatLeaves does not wait for the server.
func TestACallerThatLeaves(t *testing.T) {
	t.Parallel()
	l := open(t, Options{Dir: t.TempDir()})
	claimed(t, l, "r1", "j")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, "r1", 1, events("r1", 1, 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	deadline, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if n, err := l.Append(deadline, "r1", 1, events("r1", 1, 2)); err != nil || n != 2 {
		t.Errorf("the next one: %d %v", n, err)
	}
	holds(t, l, "r1", 2)
}
