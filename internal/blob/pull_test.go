package blob

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
)

// A transfer that breaks off goes on where it was, as long as it gets further.
func TestPullResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := noise(1<<20, 1)
		f := newFar(b)
		f.cut = 300 << 10
		s := open(t, t.TempDir(), Options{})
		if err := s.Pull(t.Context(), Of(b), int64(len(b)), f); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content(t, s, Of(b)), b) || !slices.Equal(f.asked, []int64{0, 300 << 10, 600 << 10, 900 << 10}) {
			t.Errorf("asked from %v", f.asked)
		}
		if n := left(t, s); len(n) > 0 || s.Used() != 1<<20 || s.booked != 0 || s.owed.Load() != 0 {
			t.Errorf("left over: %v, used %d, booked %d, owed %d", n, s.Used(), s.booked, s.owed.Load())
		}
	})
}

// One that gets no further gives up, and a later one goes on.
func TestPullGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := noise(1<<20, 1)
		f := newFar(b)
		f.cut = 300 << 10
		f.before = func(from int64) {
			if from > 0 {
				f.err = errCut
			}
		}
		s := open(t, t.TempDir(), Options{})
		if err := s.Pull(t.Context(), Of(b), int64(len(b)), f); !errors.Is(err, errCut) || len(f.asked) != 1+maxAttempts {
			t.Fatalf("%v, asked from %v", err, f.asked)
		}
		if _, err := s.Open(Of(b)); !errors.Is(err, ErrNone) {
			t.Errorf("a half blob is visible: %v", err)
		}
		f.err, f.before, f.cut, f.asked = nil, nil, 0, nil
		if err := s.Pull(t.Context(), Of(b), int64(len(b)), f); err != nil || !slices.Equal(f.asked, []int64{300 << 10}) {
			t.Errorf("%v, asked from %v", err, f.asked)
		}
		f.err = &Final{errors.New("you may not")}
		other := noise(10, 2)
		if err := s.Pull(t.Context(), Of(other), 10, f); err == nil || err.Error() != "you may not" || len(f.asked) != 2 {
			t.Errorf("%v, asked %d times", err, len(f.asked))
		}
	})
}

func TestPullWholeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := noise(1<<20, 1)
		f := newFar(b)
		f.noRange, f.cut = true, 300<<10
		f.before = func(int64) {
			if len(f.asked) == 2 {
				f.cut = 0
			}
		}
		s := open(t, t.TempDir(), Options{})
		if err := s.Pull(t.Context(), Of(b), int64(len(b)), f); err != nil || !bytes.Equal(content(t, s, Of(b)), b) {
			t.Error(err)
		}
		if !slices.Equal(f.asked, []int64{0, 300 << 10, 0}) {
			t.Errorf("asked from %v", f.asked)
		}
	})
}

// What is not the blob never becomes visible, and is not gone on with.
func TestPullChecks(t *testing.T) {
	b, other := noise(1000, 1), noise(1000, 2)
	for name, sent := range map[string][]byte{"other bytes": other, "more": append(bytes.Clone(b), 0)} {
		s := open(t, t.TempDir(), Options{})
		f := newFar()
		f.blobs[Of(b)] = sent
		err := s.Pull(t.Context(), Of(b), 1000, f)
		if name == "more" { // only what it should be is read of it
			if err != nil || !bytes.Equal(content(t, s, Of(b)), b) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if _, none := s.Open(Of(b)); !errors.Is(err, ErrMismatch) || !errors.Is(none, ErrNone) || len(left(t, s)) > 0 || s.Used() != 0 {
			t.Errorf("%s: %v, %v, left %v", name, err, none, left(t, s))
		}
	}
	s := open(t, t.TempDir(), Options{})
	if err := s.Pull(t.Context(), "sha256:../../etc/passwd", 1, newFar()); err == nil {
		t.Error("a digest that is a path")
	}
	if _, err := s.Put(b); err != nil {
		t.Fatal(err)
	}
	if err := s.Pull(t.Context(), Of(b), 999, newFar()); !errors.Is(err, ErrMismatch) {
		t.Errorf("another size: %v", err)
	}
}

// A beginning that a power cut has damaged is found out at the end, and the blob
// fetched anew.
func TestPullDamagedBeginning(t *testing.T) {
	b := noise(1000, 1)
	for name, beginning := range map[string][]byte{"zeros": make([]byte, 500), "too long": make([]byte, 2000), "whole, but wrong": make([]byte, 1000)} {
		dir := t.TempDir()
		s, err := OpenStore(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(s.beginning(Of(b)), beginning, 0o600), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
		if err := s.Pull(t.Context(), Of(b), 1000, newFar(b)); err != nil || !bytes.Equal(content(t, s, Of(b)), b) {
			t.Errorf("%s: %v", name, err)
		}
		if s.Used() != 1000 || s.booked != 0 || s.owed.Load() != 0 {
			t.Errorf("%s: used %d, booked %d, owed %d", name, s.Used(), s.booked, s.owed.Load())
		}
	}
}

// Many that ask for one blob fetch it once; when the one that fetches it is told
// to stop, another goes on.
func TestPullOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := noise(1<<20, 1)
		f := newFar(b)
		f.cut = 300 << 10
		impatient, stop := context.WithCancel(t.Context())
		f.before = func(from int64) {
			if from == 300<<10 {
				synctest.Wait()
				stop()
			}
		}
		s := open(t, t.TempDir(), Options{})
		first := make(chan error, 1)
		go func() { first <- s.Pull(impatient, Of(b), int64(len(b)), f) }()
		synctest.Wait()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if err := s.Pull(t.Context(), Of(b), int64(len(b)), f); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("who was told to stop: %v", err)
		}
		if n := len(f.asked); n > 6 {
			t.Errorf("%d transfers for one blob: %v", n, f.asked)
		}
		if !bytes.Equal(content(t, s, Of(b)), b) {
			t.Error("other bytes")
		}
	})
}

// Who waits for another's pull may be told to stop.
func TestPullWaiterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := noise(1000, 1)
		f := newFar(b)
		hold := make(chan struct{})
		f.before = func(int64) { <-hold }
		s := open(t, t.TempDir(), Options{})
		first := make(chan error, 1)
		go func() { first <- s.Pull(t.Context(), Of(b), 1000, f) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Pull(ctx, Of(b), 1000, f); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(hold)
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// Killed in the middle: nothing is visible, and the next process goes on.
func TestPullKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BLOB_TEST_KILLED_IN="+dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v\n%s", err, out)
	}
	b := noise(1<<20, 9)
	s := open(t, dir, Options{})
	if _, err := s.Open(Of(b)); !errors.Is(err, ErrNone) {
		t.Fatalf("a half blob is visible: %v", err)
	}
	f := newFar(b)
	if err := s.Pull(t.Context(), Of(b), int64(len(b)), f); err != nil || !slices.Equal(f.asked, []int64{512 << 10}) || !bytes.Equal(content(t, s, Of(b)), b) {
		t.Errorf("%v, asked from %v", err, f.asked)
	}
	if i, err := os.Stat(s.path(Of(b))); err != nil || i.Mode() != fs.FileMode(0o400) {
		t.Errorf("%v %v", i.Mode(), err)
	}
}
