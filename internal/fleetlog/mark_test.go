package fleetlog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storeOf400 makes a store with 400 events of two racks, closed.
func storeOf400(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"r1", "r2"} {
		claimed(t, l, r, "j")
		for i := range 10 {
			if _, err := l.Append(t.Context(), r, 1, events(r, 1+20*i, 20)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDamagedStore: a store that lost something says so, when it is opened or when
// it is read; never does it go on with less as if nothing were.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	flip := func(part float64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[int(part*float64(len(b)-1))] ^= 0x55
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(t *testing.T, path string) {
		s, err := os.Stat(path)
		if err == nil {
			err = os.Truncate(path, s.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		file   string // the end of its name
		damage func(*testing.T, string)
	}{
		"a bit at the begin":        {"msgs/1.blk", flip(0.01)},
		"a bit in the middle":       {"msgs/1.blk", flip(0.5)},
		"a bit at the end":          {"msgs/1.blk", flip(0.999)},
		"half of it is gone":        {"msgs/1.blk", cut},
		"the messages are gone":     {"msgs/1.blk", remove},
		"the description is broken": {"RACKREACH_EVENTS/meta.inf", flip(0.3)},
		"the description is gone":   {"RACKREACH_EVENTS/meta.inf", remove},
	} {
		for _, index := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				dir := storeOf400(t)
				n := 0
				err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
					if !strings.Contains(path, "RACKREACH_EVENTS") || err != nil {
						return err
					}
					if strings.HasSuffix(path, c.file) {
						n++
						c.damage(t, path)
					}
					if !index && strings.HasSuffix(path, "msgs/index.db") {
						remove(t, path)
					}
					return nil
				})
				if err != nil || n != 1 {
					t.Fatalf("%d files, %v", n, err)
				}
				if err := readAll(t, dir); !errors.Is(err, ErrDamaged) {
					t.Errorf("with its index %v: %v", index, err)
				}
			})
		}
	}
}

// readAll opens a store and follows it to the end that it says it has.
func readAll(t *testing.T, dir string) error {
	l, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := 0
	err = l.Follow(ctx, 0, func(entries []Entry) error {
		for _, e := range entries {
			seen += len(e.Events)
		}
		return nil
	}, CaughtUp(cancel))
	if errors.Is(err, context.Canceled) && seen == 400 {
		return nil
	}
	return err
}

func TestAWholeStoreOpens(t *testing.T) {
	t.Parallel()
	dir := storeOf400(t)
	for range 2 {
		if err := readAll(t, dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, markFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := readAll(t, dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("a mark that cannot be read: %v", err)
	}
	// As a disk that fails, or a process that has no file left to open: not damaged.
	if err := errors.Join(os.Remove(filepath.Join(dir, markFile)), os.Mkdir(filepath.Join(dir, markFile), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := readAll(t, dir); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a mark that cannot be read at this moment: %v", err)
	}
}
