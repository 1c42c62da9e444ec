package bundle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

func TestRelease(t *testing.T) {
	l := newLayout(t)
	release(t, l, "2026.3")
	b := find(t, l.dir, "")
	var names []string
	for _, a := range b.Artifacts {
		names = append(names, a.Name)
	}
	if !slices.Equal(names, []string{"debian-13", "esxi-8/boot.cfg", "sonic"}) {
		t.Errorf("artifacts %v", names)
	}
	a, ok := b.Artifact("debian-13")
	if !ok || a.Disk == nil || a.Disk.RawSize != diskSize || !slices.Equal(a.Platforms, []string{"alpha", "zeta"}) || string(a.Disk.RawDigest) != string(blob.Of(disk(diskSize))) {
		t.Errorf("%+v", a)
	}
	if _, ok := b.Artifact("debian"); ok {
		t.Error("found what is not there")
	}
	if got := b.For("alpha", DiskImage); len(got) != 1 || len(b.For("beta", DiskImage)) != 0 || len(b.For("beta", NOSInstaller)) != 1 {
		t.Errorf("for alpha: %v", got)
	}
	x, err := b.Frames(t.Context(), a)
	if err != nil || len(x.Frames) != 2 {
		t.Errorf("%d frames: %v", len(x.Frames), err)
	}
	if damaged, err := b.CheckBlobs(t.Context()); err != nil || len(damaged) > 0 {
		t.Errorf("%v, damaged: %v", err, damaged)
	}
}

// The same files make the same digest, in whatever order they come; a tar of it has
// the same bytes each time.
func TestReproducible(t *testing.T) {
	one, two := newLayout(t), newLayout(t)
	a := release(t, one, "2026.3")
	in := Input{Path: file(t, "n", []byte("#!/bin/sh\nexit 0\n")), Name: "sonic", Kind: NOSInstaller}
	first, err := two.Add(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.SetRelease(t.Context(), (&Release{Name: "2026.3"}).With(first...)); err != nil {
		t.Fatal(err)
	}
	b := release(t, two, "2026.3")
	if a.Ref != b.Ref {
		t.Errorf("%v and %v", a.Ref, b.Ref)
	}
	var tars [][]byte
	for i, x := range []*Bundle{a, b} {
		to := filepath.Join(t.TempDir(), "x.tar")
		if err := PullTo(t.Context(), x, to); err != nil {
			t.Fatal(i, err)
		}
		text, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		tars = append(tars, text)
	}
	if !bytes.Equal(tars[0], tars[1]) {
		t.Error("two tars of one release differ")
	}
}

// A signed release stays so, from a directory into a tar, from there into a directory.
func TestPull(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "2026.3")
	trust := signed(t, l, b)
	release(t, l, "2026.4")
	dir := t.TempDir()
	tar, other := filepath.Join(dir, "x.tar"), filepath.Join(dir, "other")
	if err := PullTo(t.Context(), find(t, l.dir, "2026.3"), tar); err != nil {
		t.Fatal(err)
	}
	whole(t, find(t, tar, ""), trust)
	for range 2 { // again changes nothing
		if err := PullTo(t.Context(), find(t, tar, ""), other); err != nil {
			t.Fatal(err)
		}
	}
	whole(t, find(t, other, "2026.3"), trust)
	if err := PullTo(t.Context(), find(t, l.dir, "2026.4"), other); err != nil {
		t.Fatal(err)
	}
	whole(t, find(t, other, "2026.3"), trust)
	if _, err := find(t, other, "2026.4").Signer(t.Context(), trust); !errors.Is(err, ErrUnsigned) {
		t.Error(err)
	}
	for name, says := range map[string]string{"": "holds 2 releases: say which with --release: 2026.3, 2026.4", "2026.5": "as 2026.5: there is 2026.3, 2026.4"} {
		if _, err := Find(t.Context(), find(t, other, "2026.3").Place, name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A blob of a tar is read where it is, as a file of its own.
func TestTarInPlace(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	tar := filepath.Join(t.TempDir(), "x.tar")
	if err := PullTo(t.Context(), b, tar); err != nil {
		t.Fatal(err)
	}
	p, ok := find(t, tar, "").Place.(Local)
	if !ok {
		t.Fatal("a tar is not local")
	}
	a, _ := b.Artifact("debian-13")
	want, err := os.ReadFile(blobFile(l, a.Digest))
	if err != nil {
		t.Fatal(err)
	}
	f, err := p.Open(a.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, ok := f.(*Section)
	if !ok {
		t.Fatalf("%T", f)
	}
	for _, from := range []int64{0, 7, a.Size - 1, a.Size, a.Size + 5} {
		if _, err := s.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(got, want[min(from, a.Size):]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
	}
	if n, err := s.Seek(-5, io.SeekEnd); n != a.Size-5 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	raw, left := s.File()
	got, err := io.ReadAll(io.LimitReader(raw, left))
	if err != nil || !bytes.Equal(got, want[a.Size-5:]) {
		t.Errorf("the file itself: %d bytes, %v", len(got), err)
	}
	if _, err := s.Seek(-1, io.SeekStart); err == nil {
		t.Error("before the beginning")
	}
}

func TestAddRefuses(t *testing.T) {
	l := newLayout(t)
	for name, tt := range map[string]struct {
		in   Input
		says string
	}{
		"qcow2":            {Input{Path: file(t, "x", []byte("QFI\xfb....")), Kind: DiskImage}, "qemu-img convert -O raw"},
		"xz":               {Input{Path: file(t, "x", []byte("\xfd7zXZ\x00")), Kind: DiskImage}, "xz -dk FILE"},
		"odd size":         {Input{Path: file(t, "x", make([]byte, 1000)), Kind: DiskImage}, "multiple of 512"},
		"empty":            {Input{Path: file(t, "x", nil), Kind: DiskImage}, "empty"},
		"no installer":     {Input{Path: file(t, "x", []byte("ELF")), Kind: NOSInstaller}, "begin with #!"},
		"unknown kind":     {Input{Path: file(t, "x", nil), Kind: "rootfs"}, "write one of boot-file, kernel"},
		"a name that goes": {Input{Path: file(t, "x", nil), Name: "../x", Kind: Kernel}, "write letters, digits"},
		"a platform":       {Input{Path: file(t, "x", nil), Kind: Kernel, Platforms: []string{"A B"}}, "platform"},
		"not there":        {Input{Path: "/nowhere", Kind: Kernel}, "no such file"},
		"empty directory":  {Input{Path: t.TempDir(), Kind: BootFile}, "holds no files"},
		"a directory":      {Input{Path: t.TempDir(), Kind: DiskImage}, "a disk image is one file"},
	} {
		if tt.in.Name == "" {
			tt.in.Name = "x"
		}
		if _, err := l.Add(t.Context(), tt.in); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
	links := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(links, "x")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(t.Context(), Input{Path: links, Name: "x", Kind: BootFile}); err == nil || !strings.Contains(err.Error(), "no plain file") {
		t.Errorf("a symbolic link: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(l.dir, "ingest", "*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestInit(t *testing.T) {
	l := newLayout(t)
	if _, err := Init(t.Context(), l.dir); err == nil || !strings.Contains(err.Error(), "a bundle already") {
		t.Error(err)
	}
	if _, err := Init(t.Context(), filepath.Dir(file(t, "x", nil))); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
	for path, says := range map[string]string{t.TempDir(): "it is no bundle", file(t, "x", []byte("x")): "no tar", "/nowhere": "is not there"} {
		if _, err := OpenLocal(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := OpenLayout(t.Context(), l.dir); !errors.Is(err, blob.ErrInUse) {
		t.Errorf("written by two: %v", err)
	}
	if _, err := OpenLayout(t.Context(), file(t, "x", nil)); err == nil || !strings.Contains(err.Error(), "a tar is written whole") {
		t.Error(err)
	}
	if _, err := Find(t.Context(), l, ""); !errors.Is(err, ErrNoRelease) {
		t.Error(err)
	}
}

// Killed in the middle of an add: the bundle is what it was, and the next add goes.
func TestAddKilled(t *testing.T) {
	l := newLayout(t)
	before := release(t, l, "1")
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BUNDLE_TEST_ADD_TO="+l.dir, "BUNDLE_TEST_FILE="+pipe)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write(disk(4 * frames.DefaultSize)); err != nil { // more than it can hold without writing
		t.Fatal(err, out.String())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("it was not killed: %v\n%s", err, out.String())
	}
	if left, err := filepath.Glob(filepath.Join(l.dir, "ingest", "new-*")); err != nil || len(left) != 1 {
		t.Fatalf("it was not in the middle: %v %v", left, err)
	}
	if b := find(t, l.dir, ""); b.Ref != before.Ref {
		t.Errorf("%v, was %v", b.Ref, before.Ref)
	}
	again, err := OpenLayout(t.Context(), l.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if left, err := filepath.Glob(filepath.Join(l.dir, "ingest", "*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	if b := release(t, again, "1"); b.Ref != before.Ref {
		t.Errorf("%v, was %v", b.Ref, before.Ref)
	}
}

func TestCollect(t *testing.T) {
	l := newLayout(t)
	old := release(t, l, "1")
	signed(t, l, old)
	b := release(t, l, "2")
	trust := signed(t, l, b)
	if c, err := l.Collect(t.Context()); err != nil || c.Blobs != 0 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := l.Collect(t.Context(), "3"); !errors.Is(err, ErrNoRelease) {
		t.Error(err)
	}
	c, err := l.Collect(t.Context(), "1")
	if err != nil || c.Blobs != 4 { // its manifest, its own boot.cfg, its signature and the payload of that
		t.Errorf("%+v %v", c, err)
	}
	whole(t, find(t, l.dir, ""), trust)
	refs, err := l.Refs(t.Context())
	if err != nil || len(refs) != 2 {
		t.Errorf("%v %v", refs, err)
	}
	// An artifact that is replaced: the old signature goes, nothing else.
	a, err := l.Add(t.Context(), Input{Path: file(t, "n", []byte("#!/bin/bash\n")), Name: "sonic", Kind: NOSInstaller})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.SetRelease(t.Context(), b.With(a...)); err != nil {
		t.Fatal(err)
	}
	if c, err := l.Collect(t.Context()); err != nil || c.Blobs != 4 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := find(t, l.dir, "").Signer(t.Context(), trust); !errors.Is(err, ErrUnsigned) {
		t.Error(err)
	}
	// What cannot be read refers to what nobody knows.
	if err := os.Remove(blobFile(l, find(t, l.dir, "").Ref.Digest)); err != nil {
		t.Fatal(err)
	}
	before := len(l.store.All())
	if _, err := l.Collect(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was removed") || len(l.store.All()) < before-1 {
		t.Errorf("%v, %d blobs of %d", err, len(l.store.All()), before)
	}
}
