//go:build lab

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What was made of the same files once is kept, in a folder of its digest. A process that
// uses one holds a shared lock on it until it ends, however it ends; others are outdated, and
// are removed when nobody holds theirs: several checkouts may run the lab on one machine. All
// of this happens under one lock, so that two that need the same make it once.

const lockName = ".lock"

// lock locks a file, which is made if it is missing.
func lock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

// cached is the folder of a digest, which made fills if it is not there yet. The file is the
// lock on it.
func cached(cache, digest string, made func(dir string) error) (dir string, held *os.File, err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", nil, err
	}
	all, err := lock(filepath.Join(cache, lockName), unix.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	dir = filepath.Join(cache, digest)
	if held, err = lock(dir+lockName, unix.LOCK_SH); err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, held, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", nil, errors.Join(err, held.Close())
	}
	fresh := dir + ".new" // half of one, if who made it was killed
	err = errors.Join(removeOutdated(cache), os.RemoveAll(fresh))
	if err == nil {
		err = made(fresh)
	}
	if err == nil {
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		return "", nil, errors.Join(err, held.Close())
	}
	return dir, held, nil
}

// removeOutdated removes what nobody uses.
func removeOutdated(cache string) (err error) {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), lockName) {
			continue
		}
		dir := filepath.Join(cache, e.Name())
		free, e := lock(dir+lockName, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(e, unix.EWOULDBLOCK) {
			continue
		}
		if e == nil {
			e = errors.Join(os.RemoveAll(dir), os.Remove(dir+lockName), free.Close())
		}
		err = errors.Join(err, e)
	}
	return err
}

// TestJudgeCache: what another process uses stays; what nobody uses goes when something new
// is made.
func TestJudgeCache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	made := 0
	get := func(digest string) *os.File {
		t.Helper()
		dir, held, err := cached(cache, digest, func(dir string) error {
			made++
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "image"), []byte(digest), 0o600))
		})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "image")); err != nil || string(b) != digest {
			t.Fatalf("%s holds %q, %v", dir, b, err)
		}
		return held
	}
	has := func(want ...string) {
		t.Helper()
		for _, digest := range []string{"a", "b", "c", "a.new"} {
			_, err := os.Stat(filepath.Join(cache, digest))
			if wanted := strings.Contains(strings.Join(want, " ")+" ", digest+" "); wanted != (err == nil) {
				t.Errorf("of %s it is said %v, want only %q", digest, err, want)
			}
		}
	}
	a := get("a")
	a2 := get("a")
	if made != 1 {
		t.Errorf("it was made %d times", made)
	}
	b := get("b")
	has("a", "b")
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	c := get("c")
	has("a", "c") // one of two still uses the first
	if err := errors.Join(a2.Close(), os.Mkdir(filepath.Join(cache, "a.new"), 0o700)); err != nil {
		t.Fatal(err)
	}
	b = get("b")
	has("b", "c")
	if err := errors.Join(b.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cached(cache, "a", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), errors.New("no space")) }); err == nil {
		t.Error("what could not be made is given out")
	}
	if made = 0; get("a").Close() != nil || made != 1 {
		t.Errorf("after a failure it was made %d times", made)
	}
}
