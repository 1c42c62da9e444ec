package bundle

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BUNDLE_TEST_ADD_TO"); dir != "" {
		addUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// file writes a file of a test and gives its path.
func file(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// disk is a raw disk image: noise, zeros and text.
func disk(size int) []byte {
	b := make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{7}).Read(b[:size/4]); err != nil {
		panic(err)
	}
	copy(b[size/2:], bytes.Repeat([]byte("rackreach "), size/40))
	return b
}

func newLayout(t *testing.T) *Layout {
	t.Helper()
	l, err := Init(t.Context(), filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

const diskSize = frames.MinSize + 3*frames.Sector

// release adds some of everything and gives the release.
func release(t *testing.T, l *Layout, name string) *Bundle {
	t.Helper()
	artifacts, err := l.Add(t.Context(),
		Input{Path: file(t, "d", disk(diskSize)), Name: "debian-13", Kind: DiskImage, Platforms: []string{"zeta", "alpha", "zeta"}, FrameSize: frames.MinSize},
		Input{Path: file(t, "n", []byte("#!/bin/sh\nexit 0\n")), Name: "sonic", Kind: NOSInstaller},
		Input{Path: filepath.Dir(file(t, "boot.cfg", []byte("title="+name))), Name: "esxi-8", Kind: BootFile, Platforms: []string{"esxi"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.SetRelease(t.Context(), (&Release{Name: name}).With(artifacts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signer makes a key and whoever trusts it.
func signer(t *testing.T) (*Key, Trust) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := NewKey(path); err != nil {
		t.Fatal(err)
	}
	k, err := ReadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ReadTrust(filepath.Dir(path))
	if err != nil || len(trust.Keys()) != 1 {
		t.Fatalf("%v %v", trust, err)
	}
	return k, trust
}

func signed(t *testing.T, l *Layout, b *Bundle) Trust {
	t.Helper()
	k, trust := signer(t)
	if _, err := l.Sign(t.Context(), b, k); err != nil {
		t.Fatal(err)
	}
	return trust
}

func find(t *testing.T, path, name string) *Bundle {
	t.Helper()
	p, err := OpenLocal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := Find(t.Context(), p, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// whole holds that a bundle is signed and undamaged.
func whole(t *testing.T, b *Bundle, trust Trust) {
	t.Helper()
	if _, err := b.Signer(t.Context(), trust); err != nil {
		t.Error(err)
	}
	if damaged, err := b.CheckBlobs(t.Context()); err != nil || len(damaged) > 0 {
		t.Errorf("%v, damaged: %v", err, damaged)
	}
}

func addUntilKilled(dir string) {
	l, err := OpenLayout(context.Background(), dir)
	if err != nil {
		panic(err)
	}
	a, err := l.Add(context.Background(), Input{Path: os.Getenv("BUNDLE_TEST_FILE"), Name: "debian-13", Kind: DiskImage})
	panic([]any{a, err})
}

func blobFile(l *Layout, d blob.Digest) string {
	return filepath.Join(l.dir, "blobs", "sha256", d.Hex())
}
