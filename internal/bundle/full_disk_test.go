//go:build system

package bundle

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

// TestFullDisk: a disk that has no room says so, shows nothing half, and takes the same
// once there is room.
func TestFullDisk(t *testing.T) {
	small := t.TempDir()
	mount := func(size string) {
		t.Helper()
		if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size="+size+",mode=0755"); err != nil {
			t.Fatalf("this test mounts a small disk and needs root: %v", err)
		}
	}
	mount("6m")
	t.Cleanup(func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(small, "images")
	l, err := Init(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	was := release(t, l, "1") // 1 MiB of noise in it
	noise := disk(4 * 8 << 20)[:8<<20]
	_, err = l.Add(t.Context(), Input{Path: file(t, "x", noise), Name: "debian-14", Kind: DiskImage, FrameSize: frames.MinSize})
	var full *blob.Full
	if !errors.As(err, &full) || !strings.Contains(err.Error(), "is full") || !strings.Contains(err.Error(), "make room there, then do the same again") {
		t.Errorf("add: %v", err)
	}
	if b := find(t, dir, ""); b.Ref != was.Ref {
		t.Errorf("%v, was %v", b.Ref, was.Ref)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "ingest", "*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	// A pull knows the size before it begins.
	far := newLayout(t)
	a, err := far.Add(t.Context(), Input{Path: file(t, "x", noise), Name: "debian-14", Kind: DiskImage, FrameSize: frames.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	b, err := far.SetRelease(t.Context(), (&Release{Name: "2"}).With(a...))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	url, client := site(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, a[0].Digest.Hex()) {
			asked++
		}
		http.FileServer(http.Dir(far.dir)).ServeHTTP(w, q)
	}))
	p, err := OpenWeb(t.Context(), url, client)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = Find(t.Context(), p, "2"); err != nil {
		t.Fatal(err)
	}
	if err := l.Pull(t.Context(), b); !errors.As(err, &full) || asked > 0 {
		t.Errorf("pull: %v, asked %d times for what has no room", err, asked)
	}
	// A tar is written beside its name first.
	if err := WriteTar(t.Context(), filepath.Join(small, "x.tar"), []*Bundle{find(t, far.dir, "")}); !errors.As(err, &full) {
		t.Errorf("tar: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(small, "*tar*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", syscall.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	if err := l.Pull(t.Context(), b); err != nil {
		t.Errorf("with room: %v", err)
	}
	if damaged, err := find(t, dir, "2").CheckBlobs(t.Context()); err != nil || len(damaged) > 0 {
		t.Errorf("%v %v", damaged, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
