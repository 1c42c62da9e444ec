package bundle

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rackreach/rackreach/internal/blob"
)

// A cache that the disk does not give back is fetched anew like one that is altered: a
// bad sector keeps no rack from starting while the depot is there. When that is away too,
// who reads what to do is not sent to a command that cannot fill a cache.
func TestImagesFromACacheThatCannotBeRead(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	far := fromDepot(t, l)
	nos, _ := b.Artifact("sonic")
	plan := planOf(t, b, "alpha", "sonic")
	for name, tt := range map[string]struct {
		spoil func(file string) error
		told  []Doing
	}{
		"it cannot be read":   {func(file string) error { return os.Mkdir(file, 0o700) }, []Doing{Checking, FetchingUnread}},
		"it cannot be opened": {func(file string) error { return os.Symlink(filepath.Base(file), file) }, []Doing{Checking, FetchingUnread}},
		"it was altered":      {func(file string) error { return os.WriteFile(file, make([]byte, nos.Size), 0o400) }, []Doing{Checking, FetchingAnew}},
		"it is not there":     {func(string) error { return nil }, []Doing{Fetching}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cache, err := blob.OpenStore(t.Context(), dir, blob.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
			images, err := NewImages(far, cache)
			if err == nil {
				err = images.Prepare(t.Context(), plan, quiet)
			}
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "blobs", "sha256", nos.Digest.Hex())
			good, err := os.ReadFile(file)
			if err = errors.Join(err, os.Remove(file), tt.spoil(file)); err != nil {
				t.Fatal(err)
			}

			kept, err := OpenKept(dir)
			if err != nil {
				t.Fatal(err)
			}
			here, err := Find(t.Context(), kept, "1")
			if err != nil {
				t.Fatal(err)
			}
			alone, err := NewImages(here, nil)
			if err == nil {
				err = alone.Prepare(t.Context(), plan, quiet)
			}
			if err == nil || strings.Contains(err.Error(), "bundle pull") || !strings.Contains(err.Error(), "Next: see that the place that it came from is reached again") {
				t.Errorf("without the depot: %v", err)
			}

			stopped, stop := context.WithCancel(t.Context())
			stop()
			if err := fetch(stopped, cache, Blob{nos.Digest, nos.Size}, far.Place, func(Doing) { t.Error("it is removed by one who was told to stop") }); !errors.Is(err, context.Canceled) {
				t.Errorf("told to stop: %v", err)
			}

			var told []Doing
			if err := images.Prepare(t.Context(), plan, func(what Doing, _ string, _ int64) { told = append(told, what) }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(told, tt.told) {
				t.Errorf("%q", told)
			}
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, good) {
				t.Errorf("it is not as it came: %v", err)
			}
		})
	}
}

// What this process cannot open for want of file descriptors is not damaged: it stays,
// for its place may be out of reach.
func TestCacheOutlivesAWantOfFiles(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	nos, _ := b.Artifact("sonic")
	dir := t.TempDir()
	cache, err := blob.OpenStore(t.Context(), dir, blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if err := fetch(t.Context(), cache, Blob{nos.Digest, nos.Size}, b.Place, func(Doing) {}); err != nil {
		t.Fatal(err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := was
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	err = fetch(t.Context(), cache, Blob{nos.Digest, nos.Size}, b.Place, func(Doing) { t.Error("it is said to be damaged") })
	if back := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); back != nil {
		t.Fatal(back)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("no file can be opened: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "blobs", "sha256", nos.Digest.Hex())); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}
