package bundle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rackreach/rackreach/internal/blob"
)

// Who altered anything is found out, and told apart from who never signed.
func TestSigner(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	_, none := signer(t)
	_, err := b.Signer(t.Context(), none)
	if !errors.Is(err, ErrUnsigned) || !strings.Contains(err.Error(), "Next: if it is yours, rackreach bundle sign") {
		t.Errorf("unsigned: %v", err)
	}
	k, trust := signer(t)
	for range 2 {
		if p, err := l.Sign(t.Context(), b, k); err != nil || p.ID != trust.Keys()[0].ID {
			t.Fatal(p, err)
		}
	}
	if refs, err := l.Refs(t.Context()); err != nil || len(refs) != 2 {
		t.Errorf("signed twice with one key: %v %v", refs, err)
	}
	whole(t, b, trust)
	_, err = b.Signer(t.Context(), none)
	if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "only key "+trust.Keys()[0].ID) || !strings.Contains(err.Error(), "Next: do not use it") {
		t.Errorf("signed by a stranger: %v", err)
	}
	empty, err := ReadTrust(filepath.Join(t.TempDir(), "trust"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Signer(t.Context(), empty); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "no key is trusted yet") {
		t.Errorf("nobody trusted: %v", err)
	}
	second, others := signer(t)
	if _, err := l.Sign(t.Context(), b, second); err != nil {
		t.Fatal(err)
	}
	whole(t, b, trust)
	whole(t, b, others)
	if ids, err := b.Claims(t.Context()); err != nil || len(ids) != 2 {
		t.Errorf("%v %v", ids, err)
	}
}

// A signature of another release does not count, however it is hung up.
func TestMovedSignature(t *testing.T) {
	l := newLayout(t)
	b, other := release(t, l, "1"), release(t, l, "2")
	trust := signed(t, l, b)
	sigs, err := b.signatures(t.Context())
	if err != nil || len(sigs) != 1 {
		t.Fatal(sigs, err)
	}
	text, err := os.ReadFile(blobFile(l, sigs[0].ref.Digest))
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	subject := other.Ref.descriptor()
	m.Subject = &subject
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Put(text); err != nil {
		t.Fatal(err)
	}
	if err := l.refer(t.Context(), Ref{Digest: blob.Of(text), Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Signer(t.Context(), trust); !errors.Is(err, ErrUntrusted) {
		t.Errorf("%v", err)
	}
	whole(t, b, trust)
}

// A release that stands under the name of another is refused.
func TestMovedTag(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	if err := l.writeIndex([]Ref{{b.Ref.Digest, b.Ref.Size, "2"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), l, "2"); err == nil || !strings.Contains(err.Error(), "calls itself 1") {
		t.Error(err)
	}
}

func TestAltered(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	trust := signed(t, l, b)
	change := func(d blob.Digest, fn func([]byte) []byte) (undo func()) {
		t.Helper()
		was, err := os.ReadFile(blobFile(l, d))
		if err != nil {
			t.Fatal(err)
		}
		set := func(b []byte) {
			if err := errors.Join(os.Chmod(blobFile(l, d), 0o600), os.WriteFile(blobFile(l, d), b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		set(fn(append([]byte(nil), was...)))
		return func() { set(was) }
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for i, a := range b.Artifacts {
		for name, fn := range map[string]func([]byte) []byte{"a bit": flip, "cut": func(b []byte) []byte { return b[:len(b)-1] }, "more": func(b []byte) []byte { return append(b, 0) }} {
			undo := change(a.Digest, fn)
			damaged, err := b.CheckBlobs(t.Context())
			if err != nil || len(damaged) != 1 || damaged[0].Artifact != b.Artifacts[i].Name {
				t.Errorf("%s of %s: %v, damaged %v", name, a.Name, err, damaged)
			}
			undo()
		}
	}
	a, _ := b.Artifact("debian-13")
	undo := change(a.Disk.Frames, flip)
	if damaged, err := b.CheckBlobs(t.Context()); err != nil || len(damaged) != 1 {
		t.Errorf("an index of frames: %v %v", damaged, err)
	}
	undo()
	undo = change(b.Ref.Digest, flip)
	if _, err := Find(t.Context(), l, ""); !errors.Is(err, blob.ErrMismatch) {
		t.Errorf("the manifest: %v", err)
	}
	undo()
	sigs, err := b.signatures(t.Context())
	if err != nil || len(sigs) != 1 {
		t.Fatal(sigs, err)
	}
	undo = change(sigs[0].payload.Digest, flip)
	if _, err := b.Signer(t.Context(), trust); !errors.Is(err, ErrUntrusted) {
		t.Errorf("the payload: %v", err)
	}
	undo()
	undo = change(sigs[0].ref.Digest, flip)
	if _, err := b.Signer(t.Context(), trust); !errors.Is(err, ErrUnsigned) {
		t.Errorf("the signature: %v", err)
	}
	undo()
	if err := os.Remove(blobFile(l, a.Digest)); err != nil {
		t.Fatal(err)
	}
	if damaged, err := b.CheckBlobs(t.Context()); err != nil || len(damaged) != 1 || !errors.Is(damaged[0], blob.ErrNone) {
		t.Errorf("a blob that is gone: %v %v", damaged, err)
	}
}

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := NewKey(path)
	if err != nil || len(k.ID) != 16 || k.File != path+".pub" {
		t.Fatal(k, err)
	}
	for name, mode := range map[string]fs.FileMode{path: 0o600, path + ".pub": 0o644} {
		if i, err := os.Stat(name); err != nil || i.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, i.Mode(), err)
		}
	}
	if _, err := NewKey(path); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Error(err)
	}
	for name, says := range map[string]string{path + ".pub": "a PRIVATE KEY is needed", file(t, "x", []byte("x")): "is no key", file(t, "y", make([]byte, maxKeyFile+1)): "is no key",
		file(t, "z", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")): "no Ed25519 key"} {
		if _, err := ReadKey(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, says := range map[string]string{path: "a PUBLIC KEY is needed", file(t, "z", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")): "no public Ed25519 key", "/nowhere.pub": "no such file"} {
		if _, err := ReadTrust(name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
