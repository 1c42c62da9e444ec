package simimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

func open(t *testing.T, s *Store, name string) ([]byte, rack.Image) {
	t.Helper()
	r, image, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b, image
}

func TestImages(t *testing.T) {
	one, err := New(Specs())
	if err != nil {
		t.Fatal(err)
	}
	two, err := New(Specs())
	if err != nil {
		t.Fatal(err)
	}
	digests := map[string]string{}
	for _, spec := range Specs() {
		b, image := open(t, one, spec.Name)
		again, _ := open(t, two, spec.Name)
		sum := sha256.Sum256(b)
		want := rack.Image{Name: spec.Name, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(spec.Size)}
		if image != want || len(b) != spec.Size || !bytes.Equal(b, again) {
			t.Errorf("%s: described as %+v, is %+v, %d bytes, the same again: %t", spec.Name, image, want, len(b), bytes.Equal(b, again))
		}
		if described, err := two.Describe(spec.Name); err != nil || described != want {
			t.Errorf("described as %+v, %v; want %+v", described, err, want)
		}
		if other := digests[want.Digest]; other != "" {
			t.Errorf("%s and %s are the same", spec.Name, other)
		}
		digests[want.Digest] = spec.Name
	}
}

func TestInstallerHeader(t *testing.T) {
	s, err := New([]Spec{{Name: "x", Size: 1 << 12, ONIE: true}})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := open(t, s, "x")
	head, payload, ok := bytes.Cut(b, []byte("\n"+Archive))
	if !ok || !bytes.HasPrefix(head, []byte(Shebang)) {
		t.Fatalf("header is %q", head)
	}
	_, rest, ok := strings.Cut(string(head), "\n"+PayloadDigest)
	said, _, _ := strings.Cut(rest, "\n")
	sum := sha256.Sum256(payload)
	if want := hex.EncodeToString(sum[:]); !ok || said != want {
		t.Errorf("header says %q, the payload is %s", said, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	s, err := New([]Spec{{Name: "x", Size: 1 << 16}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := s.Open("x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestRefusals(t *testing.T) {
	for name, specs := range map[string][]Spec{
		"no name": {{Size: 1 << 12}},
		"twice":   {{Name: "x", Size: 1 << 12}, {Name: "x", Size: 1 << 12}},
		"small":   {{Name: "x", Size: 10}},
		"large":   {{Name: "x", Size: maxSize + 1}},
	} {
		if _, err := New(specs); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s, err := New(Specs())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open("nos"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "sim-hypervisor") {
		t.Errorf("open: %v", err)
	}
	if _, err := s.Describe("nos"); !errors.Is(err, ErrUnknown) {
		t.Errorf("describe: %v", err)
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.SetBytes(ServerSize)
	for b.Loop() {
		generate(Spec{Name: "sim-hypervisor", Size: ServerSize})
	}
}
