package lease

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// slow is a disk whose next sync waits until it is let go, with what it is to return.
type slow struct {
	begun chan struct{}
	end   chan error
}

func newSlow() *slow { return &slow{make(chan struct{}), make(chan error)} }

func (d *slow) sync(f *os.File) error {
	if d == nil {
		return datasync(f)
	}
	d.begun <- struct{}{}
	return <-d.end
}

// What changes while a commit is on its way is not in it: it is undone alone when the
// next commit fails, and together with it when the first one does.
func TestChangesDuringACommit(t *testing.T) {
	disk, p := newSlow(), small(9)
	var busy *slow
	s, err := Open(filepath.Join(t.TempDir(), "leases"), Options{Sync: func(f *os.File) error { return busy.sync(f) }})
	if err != nil {
		t.Fatal(err)
	}
	busy = disk
	one, two := stranger(1), stranger(2)
	first := of(one, offered(t, s, one, p, none, t0), t0)
	again := of(one, first.Address, t0.Add(time.Minute)) // a renewal
	second := of(two, offered(t, s, two, p, none, t0), t0)
	commit := func(during func(), end error) {
		t.Helper()
		done := make(chan error)
		go func() { done <- s.Commit() }()
		<-disk.begun
		during()
		disk.end <- end
		if err := <-done; !errors.Is(err, end) || (err == nil) != (end == nil) {
			t.Errorf("commit: %v, want %v", err, end)
		}
	}
	has := func(l Lease, want bool) {
		t.Helper()
		if x, ok := s.At(l.Address); ok != want || (ok && !x.Ends.Equal(l.Ends)) {
			t.Errorf("%s: %+v %v", l.Address, x, ok)
		}
	}
	errDisk := errors.New("the disk is on fire")

	bound(t, s, first, t0)
	commit(func() { bound(t, s, again, t0); bound(t, s, second, t0) }, errDisk)
	has(first, false)
	has(second, false)
	if s.Changed() {
		t.Error("what was undone is to be committed")
	}

	bound(t, s, first, t0)
	commit(func() { bound(t, s, again, t0); bound(t, s, second, t0) }, nil)
	has(again, true)
	has(second, true)
	if !s.Changed() {
		t.Fatal("what changed meanwhile is not committed")
	}
	commit(func() {}, errDisk)
	has(first, true)
	has(second, false)

	bound(t, s, second, t0)
	commit(func() {}, nil)
	has(second, true)
	busy = nil
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Commits go on beside changes, also while the file is written anew, and whatever was
// there before a commit began is on disk after it.
func TestCommitBesideChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const few, rounds = 20, 30
	s.disk.least, s.disk.fewer = few, few
	p, now := small(few), time.Now()
	ended := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		for {
			committed(t, s)
			s.Stats()
			select {
			case <-ended:
				return
			default:
			}
		}
	})
	want := map[Lease]bool{}
	for round := range rounds {
		for i := range few {
			l := of(stranger(i), offered(t, s, stranger(i), p, none, now), now.Add(time.Duration(round)*time.Minute))
			bound(t, s, l, now)
		}
	}
	close(ended)
	beside.Wait()
	committed(t, s)
	s.All(func(l Lease) { want[l] = true })
	if s.Changed() || len(s.undo) > 0 || len(want) != few || s.Stats().Stored > 3*few {
		t.Errorf("%d changes to undo, %d leases, %+v", len(s.undo), len(want), s.Stats())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	s.All(func(l Lease) {
		if !want[l] {
			t.Errorf("%+v is on disk", l)
		}
		delete(want, l)
	})
	if len(want) > 0 {
		t.Errorf("not on disk: %+v", want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
