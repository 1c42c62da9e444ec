package bundle

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/depot"
	"github.com/rackreach/rackreach/internal/frames"
	"github.com/rackreach/rackreach/internal/rack"
)

// planOf plans one device for each of the named images.
func planOf(t *testing.T, b *Bundle, platform string, names ...string) *rack.Plan {
	t.Helper()
	p := &rack.Plan{Rack: "r1"}
	for _, n := range names {
		i, err := b.Describe(n)
		if err != nil {
			t.Fatal(err)
		}
		p.Devices = append(p.Devices, rack.PlannedDevice{Name: "on-" + n, Platform: platform, Image: rack.PlannedImage(i)})
	}
	return p
}

func quiet(Doing, string, int64) {}

// fromDepot is the bundle of a layout as a depot serves it.
func fromDepot(t *testing.T, l *Layout) *Bundle {
	t.Helper()
	url, client := site(t, depot.New(depot.Options{Dir: l.dir, Who: func(*http.Request) string { return "r1" }}))
	p, err := OpenWeb(t.Context(), url, client)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Find(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a plan needs is served where it is, as files.
func TestImagesInPlace(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	plan := planOf(t, b, "alpha", "debian-13", "sonic")
	images, err := NewImages(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	if err := images.Prepare(t.Context(), plan, func(_ Doing, n string, _ int64) { told = append(told, n) }); err != nil || len(told) != 2 {
		t.Errorf("%v, told of %v", err, told)
	}
	f, i, err := images.Open("sonic")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if _, file := f.(*os.File); err != nil || !file || i.Size != int64(len(text)) || string(blob.Of(text)) != i.Digest {
		t.Errorf("%T %+v %v", f, i, err)
	}
	x, err := images.OpenFrames("debian-13")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	index, err := io.ReadAll(x)
	if y, err2 := frames.Parse(index); errors.Join(err, err2) != nil || len(y.Frames) != 2 {
		t.Errorf("%v %v", err, err2)
	}
	if _, err := images.OpenFrames("sonic"); err == nil {
		t.Error("frames of what is no disk image")
	}
	if _, _, err := images.Open("none"); err == nil || !strings.Contains(err.Error(), "it has debian-13, esxi-8/boot.cfg, sonic. Next: ") {
		t.Error(err)
	}
	a, _ := b.Artifact("sonic")
	if err := errors.Join(os.Chmod(blobFile(l, a.Digest), 0o600), os.WriteFile(blobFile(l, a.Digest), []byte("#!/bin/sh\nexit 7\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := images.Prepare(t.Context(), plan, quiet); !errors.Is(err, blob.ErrMismatch) || !strings.Contains(err.Error(), "do not use it") {
		t.Errorf("altered: %v", err)
	}
}

// What is elsewhere comes through the cache, once, and stays there while it is planned.
func TestImagesThroughTheCache(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	asked := map[string]int{}
	d := depot.New(depot.Options{Dir: l.dir, Who: func(*http.Request) string { return "r1" }})
	url, client := site(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked[filepath.Base(q.URL.Path)]++
		d.ServeHTTP(w, q)
	}))
	p, err := OpenWeb(t.Context(), url, client)
	if err != nil {
		t.Fatal(err)
	}
	far, err := Find(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewImages(far, nil); err == nil {
		t.Error("without a cache")
	}
	a, _ := b.Artifact("debian-13")
	cache, err := blob.OpenStore(t.Context(), t.TempDir(), blob.Options{Limit: a.Size + a.Disk.FramesSize + far.Ref.Size + 100})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	images, err := NewImages(far, cache)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := images.Open("sonic"); !errors.Is(err, blob.ErrNone) {
		t.Errorf("before it is prepared: %v", err)
	}
	plan := planOf(t, b, "alpha", "debian-13", "sonic")
	for range 2 {
		if err := images.Prepare(t.Context(), plan, quiet); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked[a.Digest.Hex()]; n != 1 {
		t.Errorf("fetched %d times", n)
	}
	f, _, err := images.Open("debian-13")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	want, err2 := os.ReadFile(blobFile(l, a.Digest))
	if errors.Join(err, err2) != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v %v", len(got), err, err2)
	}
	var full *blob.Full
	if err := cache.Pull(t.Context(), blob.Of(make([]byte, 200)), 200, p); !errors.As(err, &full) {
		t.Errorf("what is planned made room: %v", err)
	}
}

// A cache is not believed either: what has changed in it since it came, with its size or
// without, is fetched anew, and that is said; the rest is only read.
func TestImagesFromAnAlteredCache(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	asked := map[string]int{}
	d := depot.New(depot.Options{Dir: l.dir, Who: func(*http.Request) string { return "r1" }})
	url, client := site(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked[filepath.Base(q.URL.Path)]++
		d.ServeHTTP(w, q)
	}))
	p, err := OpenWeb(t.Context(), url, client)
	if err != nil {
		t.Fatal(err)
	}
	far, err := Find(t.Context(), p, "")
	if err != nil {
		t.Fatal(err)
	}
	plan, dir := planOf(t, b, "alpha", "debian-13", "sonic"), t.TempDir()
	prepare := func() (told []string) {
		t.Helper()
		cache, err := blob.OpenStore(t.Context(), dir, blob.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		images, err := NewImages(far, cache)
		if err == nil {
			err = images.Prepare(t.Context(), plan, func(what Doing, n string, _ int64) { told = append(told, string(what)+" "+n) })
		}
		if err != nil {
			t.Fatal(err)
		}
		return told
	}
	if told, want := prepare(), []string{"fetching debian-13", "fetching sonic"}; !slices.Equal(told, want) {
		t.Errorf("first: %q", told)
	}
	disk, _ := b.Artifact("debian-13")
	nos, _ := b.Artifact("sonic")
	const anew = "the cache holds altered or damaged bytes: fetching anew "
	for name, tt := range map[string]struct {
		blob   blob.Digest
		change func([]byte) []byte
		told   []string
	}{
		"a byte of an image":     {disk.Digest, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, []string{"checking debian-13", anew + "debian-13", "checking sonic"}},
		"a byte of an index":     {disk.Disk.Frames, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, []string{"checking debian-13", anew + "debian-13", "checking sonic"}},
		"the end of a NOS":       {nos.Digest, func(b []byte) []byte { return b[:len(b)-1] }, []string{"checking debian-13", "checking sonic", anew + "sonic"}},
		"one more byte":          {nos.Digest, func(b []byte) []byte { return append(b, 0) }, []string{"checking debian-13", "checking sonic", anew + "sonic"}},
		"a byte of the manifest": {far.Ref.Digest, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, []string{"checking debian-13", "checking sonic"}},
		"nothing":                {nos.Digest, func(b []byte) []byte { return b }, []string{"checking debian-13", "checking sonic"}},
	} {
		file := filepath.Join(dir, "blobs", "sha256", tt.blob.Hex())
		was, err := os.ReadFile(file)
		if err == nil {
			err = errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, tt.change(bytes.Clone(was)), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
		clear(asked)
		if told := prepare(); !slices.Equal(told, tt.told) {
			t.Errorf("%s: %q", name, told)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, was) {
			t.Errorf("%s: it is still there, %v", name, err)
		}
		for _, a := range []blob.Digest{disk.Digest, disk.Disk.Frames, nos.Digest} {
			if fetched := asked[a.Hex()] > 0; fetched != (a == tt.blob && name != "nothing") {
				t.Errorf("%s: %s was fetched: %v", name, a.Short(), fetched)
			}
		}
	}
}

// What was fetched is a bundle itself, signed as its place is: it counts when that is away.
func TestImagesFromTheCacheAlone(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	trust := signed(t, l, b)
	far := fromDepot(t, l)
	dir := t.TempDir()
	cache, err := blob.OpenStore(t.Context(), dir, blob.Options{})
	if err != nil {
		t.Fatal(err)
	}
	images, err := NewImages(far, cache)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLocal(dir); err == nil {
		t.Error("it is a bundle before anything was fetched")
	}
	if err := images.Prepare(t.Context(), planOf(t, b, "alpha", "sonic"), quiet); err != nil {
		t.Fatal(err)
	}
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	here, err := Choose(t.Context(), kept, "1", planOf(t, b, "alpha", "sonic"))
	if err != nil || here.Ref != far.Ref {
		t.Fatalf("%+v %v", here, err)
	}
	if _, err := here.Signer(t.Context(), trust); err != nil {
		t.Error(err)
	}
	again, err := NewImages(here, nil)
	if err == nil {
		err = again.Prepare(t.Context(), planOf(t, b, "alpha", "sonic"), quiet)
	}
	if err != nil {
		t.Error(err)
	}
	if err := again.Prepare(t.Context(), planOf(t, b, "alpha", "debian-13"), quiet); !errors.Is(err, blob.ErrNone) {
		t.Errorf("what was not planned: %v", err)
	}
}

// What a platform boots from is needed as well, of other images only those of the plan.
func TestNeeds(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	for platform, want := range map[string]string{"esxi": "esxi-8/boot.cfg sonic", "alpha": "sonic"} {
		var names []string
		for _, a := range b.Needs(planOf(t, b, platform, "sonic")) {
			names = append(names, a.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", platform, got, want)
		}
	}
}

func TestWhichReleaseFits(t *testing.T) {
	l := newLayout(t)
	one := release(t, l, "1")
	plan := planOf(t, one, "esxi", "esxi-8/boot.cfg")
	two := release(t, l, "2") // its boot.cfg is another
	for name, want := range map[string]string{"": "1", "1": "1"} {
		if b, err := Choose(t.Context(), l, name, plan); err != nil || b.Name != want {
			t.Errorf("%q: %v %v", name, b, err)
		}
	}
	if b, err := Choose(t.Context(), l, "", planOf(t, two, "alpha", "debian-13")); err != nil || b.Name != "2" {
		t.Errorf("in both: %v %v", b, err) // the newest
	}
	for name, tt := range map[string]struct {
		release string
		plan    *rack.Plan
		says    string
	}{
		"another content": {"2", plan, "use the bundle that was planned with, or plan again"},
		"in none":         {"", &rack.Plan{Devices: []rack.PlannedDevice{{Name: "x", Image: rack.PlannedImage{Name: "none"}}}}, "none of its 2 releases fits the plan"},
		"no such release": {"3", plan, "there is 1, 2"},
		"platform":        {"", planOf(t, one, "beta", "debian-13"), "debian-13 is for alpha, zeta, and the device is beta"},
	} {
		if _, err := Choose(t.Context(), l, tt.release, tt.plan); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
