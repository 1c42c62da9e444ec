package bundle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/blob"
)

// What a process has read once it does not read again, in a cache or where it is, also
// when it was served meanwhile; what was changed or replaced it does.
func TestCheckedOnce(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	plan, dir, limit := planOf(t, b, "alpha", "debian-13", "sonic"), t.TempDir(), int64(1<<30)
	nos, _ := b.Artifact("sonic")
	far := fromDepot(t, l)
	tar := filepath.Join(t.TempDir(), "images.tar")
	if err := PullTo(t.Context(), b, tar); err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	same := func(b []byte) []byte { return b }
	// life prepares the images as one life of an agent does, and serves them.
	life := func(t *testing.T, c *Checked, from *Bundle) (told []string, err error) {
		t.Helper()
		var cache *blob.Store
		if _, here := from.Place.(Local); !here {
			if cache, err = blob.OpenStore(t.Context(), dir, blob.Options{Limit: limit}); err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
		}
		images, err := NewImages(from, cache)
		if err != nil {
			t.Fatal(err)
		}
		images.Remember(c)
		if err := images.Prepare(t.Context(), plan, func(what Doing, n string, _ int64) { told = append(told, string(what)+" "+n) }); err != nil {
			return told, err
		}
		for _, n := range []string{"debian-13", "sonic"} {
			f, _, err := images.Open(n)
			if err == nil {
				_, err = io.Copy(io.Discard, f)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return told, nil
	}
	all := []string{"checking debian-13", "checking sonic"}
	for _, tt := range []struct {
		name    string
		from    *Bundle
		file    string
		change  func([]byte) []byte
		first   []string
		changed []string
		fails   bool
	}{
		{"a cache that is filled", far, filepath.Join(dir, "blobs", "sha256", nos.Digest.Hex()), flip, []string{"fetching debian-13", "fetching sonic"}, []string{"checking sonic", "the cache holds altered or damaged bytes: fetching anew sonic"}, false},
		{"a cache that is full", far, filepath.Join(dir, "blobs", "sha256", nos.Digest.Hex()), same, all, all[1:], false},
		{"a directory", b, blobFile(l, nos.Digest), same, all, all[1:], false},
		{"a directory that is damaged", b, blobFile(l, nos.Digest), flip, all, all[1:], true},
		{"a tar", find(t, tar, "1"), tar, same, all, all, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c Checked
			for i, want := range [][]string{tt.first, nil, nil} {
				if told, err := life(t, &c, tt.from); err != nil || !slices.Equal(told, want) {
					t.Errorf("life %d: %q, %v", i+1, told, err)
				}
			}
			was, err := os.ReadFile(tt.file)
			if err == nil {
				err = errors.Join(os.Remove(tt.file), os.WriteFile(tt.file, tt.change(bytes.Clone(was)), 0o600), os.Chtimes(tt.file, time.Time{}, time.Now().Add(time.Second)))
			}
			if err != nil {
				t.Fatal(err)
			}
			if told, err := life(t, &c, tt.from); (err != nil) != tt.fails || !slices.Equal(told, tt.changed) {
				t.Errorf("changed: %q, %v", told, err)
			}
			told, err := life(t, &c, tt.from)
			if (err != nil) != tt.fails || (len(told) != 0) != tt.fails {
				t.Errorf("after that: %q, %v", told, err)
			}
			told, err = life(t, nil, tt.from)
			if (err != nil) != tt.fails || !slices.Equal(told, all) {
				t.Errorf("another process: %q, %v", told, err)
			}
		})
	}
}
