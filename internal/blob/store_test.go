package blob

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCreate(t *testing.T) {
	s := open(t, t.TempDir(), Options{Shared: true})
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	b := noise(5000, 1)
	if _, err := w.Write(b[:1]); err != nil {
		t.Fatal(err)
	}
	if len(s.All()) != 0 {
		t.Error("visible before it is whole")
	}
	if _, err := w.Write(b[1:]); err != nil {
		t.Fatal(err)
	}
	d, n, err := w.Commit()
	if err != nil || d != Of(b) || n != 5000 || string(content(t, s, d)) != string(b) {
		t.Errorf("%s %d %v", d, n, err)
	}
	if _, _, err := w.Commit(); err == nil {
		t.Error("committed twice")
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
	w, err = s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil || len(left(t, s)) > 0 {
		t.Errorf("%v, left %v", err, left(t, s))
	}
	for range 2 {
		if d, err := s.Put(b); err != nil || d != Of(b) || s.Used() != 5000 {
			t.Errorf("%s %v, used %d", d, err, s.Used())
		}
	}
	if i, err := os.Stat(s.path(d)); err != nil || i.Mode().Perm() != 0o444 {
		t.Errorf("%v %v", i.Mode(), err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for _, wait := range []time.Duration{0, 50 * time.Millisecond} {
		if _, err := OpenStore(t.Context(), dir, Options{Wait: wait}); !errors.Is(err, ErrInUse) {
			t.Errorf("opened twice: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
}

// What others left in the directory is no blob; what a killed process left goes.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := noise(100, 1), noise(200, 2)
	for _, b := range [][]byte{one, two} {
		if _, err := s.Put(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"blobs/sha256/README", "blobs/sha256/" + strings.Repeat("A", 64), "ingest/new-1", "ingest/" + Of(one).Hex(), "ingest/" + strings.Repeat("a", 64)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "blobs/sha256", strings.Repeat("b", 64)), 0o700), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	want := []Digest{Of(one), Of(two)}
	slices.Sort(want)
	if got := s.All(); !slices.Equal(got, want) || s.Used() != 305 || len(left(t, s)) != 1 {
		t.Errorf("%v, used %d, left %v", got, s.Used(), left(t, s))
	}
	if n, err := s.Clear(); n != 5 || err != nil || s.Used() != 300 || len(left(t, s)) != 0 {
		t.Errorf("cleared %d: %v, used %d", n, err, s.Used())
	}
	if err := os.Remove(s.path(Of(one))); err != nil { // by hand
		t.Fatal(err)
	}
	if _, err := s.Open(Of(one)); !errors.Is(err, ErrNone) || s.Used() != 200 {
		t.Errorf("%v, used %d", err, s.Used())
	}
}

// What was not used for the longest time makes room; what is pinned never does.
func TestLimit(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(t.Context(), dir, Options{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	pull := func(seed byte, size int) error {
		b := noise(size, seed)
		return s.Pull(t.Context(), Of(b), int64(size), newFar(b))
	}
	has := func(seeds ...byte) {
		t.Helper()
		var want []Digest
		for _, x := range seeds {
			want = append(want, Of(noise(300, x)))
		}
		slices.Sort(want)
		if got := s.All(); !slices.Equal(got, want) {
			t.Errorf("it holds %v, want %v", got, seeds)
		}
	}
	for seed := byte(1); seed <= 3; seed++ {
		if err := pull(seed, 300); err != nil {
			t.Fatal(err)
		}
	}
	content(t, s, Of(noise(300, 1)))
	if err := pull(4, 300); err != nil {
		t.Fatal(err)
	}
	has(1, 3, 4)
	s.Pin("plan", []Digest{Of(noise(300, 3)), Of(noise(300, 1)), Of(noise(300, 5))})
	if err := pull(5, 300); err != nil {
		t.Fatal(err)
	}
	has(1, 3, 5)
	var full *Full
	if err := pull(6, 300); !errors.As(err, &full) || !strings.Contains(err.Error(), "--cache-size") {
		t.Errorf("%v", err)
	}
	has(1, 3, 5)
	s.Pin("plan", nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.path(Of(noise(300, 5))), old, old); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{Limit: 1000})
	if err := pull(6, 300); err != nil { // the order outlives the process
		t.Fatal(err)
	}
	has(1, 3, 6)
}

func TestFullDisk(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var full *Full
	if err := s.Pull(t.Context(), Of(nil), 1<<60, newFar()); !errors.As(err, &full) || full.Need != 1<<60 || full.Free < 0 {
		t.Errorf("%v", err)
	}
	if err := s.full(&os.PathError{Op: "write", Err: syscall.ENOSPC}, 5<<20); !errors.As(err, &full) || !strings.Contains(err.Error(), "is full: 5.0 MiB are needed") || !strings.Contains(err.Error(), "make room there") {
		t.Errorf("%v", err)
	}
	if err := s.full(os.ErrPermission, 1); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

// Whatever is pulled, pinned and read in whatever order: the store holds no more
// than its limit, what is pinned stays, and the sums are those of the files.
func TestLimitProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "blob")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, err := OpenStore(t.Context(), dir, Options{Limit: 2000})
		if err != nil {
			r.Fatal(err)
		}
		defer s.Close()
		pinned := map[Digest]bool{}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			seed := byte(rapid.IntRange(1, 12).Draw(r, "blob"))
			b := noise(100*int(seed), seed)
			switch rapid.IntRange(0, 3).Draw(r, "what") {
			case 0, 1:
				had := s.All()
				err := s.Pull(t.Context(), Of(b), int64(len(b)), newFar(b))
				var full *Full
				if err != nil && !errors.As(err, &full) {
					r.Fatal(err)
				}
				for _, d := range had {
					if pinned[d] && !slices.Contains(s.All(), d) {
						r.Fatalf("%s was pinned and is gone", d)
					}
				}
			case 2:
				pinned = map[Digest]bool{Of(b): true}
				s.Pin("plan", []Digest{Of(b)})
			case 3:
				if f, err := s.Open(Of(b)); err == nil {
					f.Close()
				}
			}
			var sum int64
			for _, d := range s.All() {
				i, err := os.Stat(s.path(d))
				if err != nil {
					r.Fatal(err)
				}
				sum += i.Size()
			}
			if sum != s.Used() || sum > 2000 || s.booked != 0 || s.owed.Load() != 0 {
				r.Fatalf("files of %d bytes, used %d, booked %d, owed %d", sum, s.Used(), s.booked, s.owed.Load())
			}
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Add("sha256:../" + strings.Repeat("a", 61))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDigest(text)
		if err == nil && (string(d) != text || filepath.Base(d.Hex()) != d.Hex() || len(d.Hex()) != 64) {
			t.Errorf("%q", text)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
