package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/blob"
)

// sample is a release whose blobs are nowhere.
func sample() *Release {
	d := func(s string) blob.Digest { return blob.Of([]byte(s)) }
	return &Release{Name: "2026.3", Artifacts: []Artifact{
		{Name: "debian-13", Kind: DiskImage, Platforms: []string{"a", "b"}, Digest: d("1"), Size: 10, Disk: &Disk{RawDigest: d("2"), RawSize: 512, Frames: d("3"), FramesSize: 20}},
		{Name: "esxi/EFI/BOOT/BOOTX64.EFI", Kind: BootFile, Digest: d("4"), Size: 0},
		{Name: "vmlinuz", Kind: Kernel, Digest: d("5"), Size: 1 << 20},
	}}
}

func TestManifest(t *testing.T) {
	for _, r := range []*Release{sample(), {Name: "empty"}} {
		b, err := r.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseRelease(b)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%v: %+v", err, again)
		}
	}
	if n := sample().Size(); n != 10+20+1<<20 {
		t.Errorf("%d bytes", n)
	}
}

func TestHostileManifest(t *testing.T) {
	good, err := sample().Manifest()
	if err != nil {
		t.Fatal(err)
	}
	hex := blob.Of([]byte("1")).Hex()
	for _, tt := range []struct{ old, new, says string }{
		{`{`, `[`, "not JSON"},
		{`"schemaVersion":2`, `"schemaVersion":1`, "schemaVersion is 1"},
		{`image.manifest.v1+json`, `image.index.v1+json`, "its media type"},
		{`"artifactType":"application/vnd.rackreach.release.v1"`, `"artifactType":"application/vnd.rackreach.release.v2"`, "a newer rackreach"},
		{`"artifactType":"application/vnd.rackreach.release.v1"`, `"artifactType":"x"`, "no bundle of rackreach"},
		{`"size":2`, `"size":3`, "config is not empty"},
		{`sha256:` + hex, `sha256:../../../../etc/passwd`, "is no digest"},
		{`sha256:` + hex, `sha512:` + hex + hex, "is no digest"},
		{`"size":10`, `"size":-10`, "-10 bytes"},
		{`"size":10`, `"size":9223372036854775807`, "it must be 0 to"},
		{`"size":10`, `"urls":["http://evil"],"size":10`, "from another place"},
		{`"layers"`, `"subject":{"digest":"sha256:` + hex + `","size":1,"mediaType":"x"},"layers"`, "refers to another"},
		{`"title":"vmlinuz"`, `"title":"../vmlinuz"`, ""},
		{`image.title":"vmlinuz"`, `image.title":"../vmlinuz"`, "write letters"},
		{`image.title":"vmlinuz"`, `image.title":"/vmlinuz"`, "write letters"},
		{`image.title":"vmlinuz"`, `image.title":"a//b"`, "write letters"},
		{`image.title":"vmlinuz"`, `image.title":".vmlinuz"`, "write letters"},
		{`image.title":"vmlinuz"`, `image.title":"a\u001b[2J"`, "write letters"},
		{`image.title":"vmlinuz"`, `image.title":"debian-13"`, "not sorted"},
		{`image.title":"vmlinuz"`, `image.title":"` + strings.Repeat("a", 129) + `"`, "at most 128 bytes"},
		{`image.version":"2026.3"`, `image.version":"a/b"`, "release"},
		{`"dev.rackreach.platforms":"a,b"`, `"dev.rackreach.platforms":"b,a"`, "not sorted"},
		{`"dev.rackreach.platforms":"a,b"`, `"dev.rackreach.platforms":"` + strings.Repeat("a,", 5000) + `"`, "platforms, at most"},
		{`"dev.rackreach.kind":"kernel"`, `"dev.rackreach.kind":"disk-image"`, "is not the media type"},
		{`vnd.rackreach.kernel.v1`, `vnd.rackreach.rootfs.v1`, "is not the media type"},
		{`"dev.rackreach.raw.size":"512"`, `"dev.rackreach.raw.size":"1e9"`, "is no size"},
		{`"dev.rackreach.raw.size":"512"`, `"dev.rackreach.raw.size":"-1"`, "cannot be"},
		{`"dev.rackreach.frames":"sha256:`, `"dev.rackreach.frames":"sha512:`, "index of frames is not there"},
		{`"dev.rackreach.raw.digest":"sha256:`, `"dev.rackreach.raw.digest":"sha256:Z`, "is no digest"},
	} {
		if tt.says == "" {
			continue
		}
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		_, err := ParseRelease([]byte(bad))
		if bad == string(good) || err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%.60s for %s: %.300v", tt.new, tt.old, err)
		}
	}
	var m map[string]any
	if err := json.Unmarshal(good, &m); err != nil {
		t.Fatal(err)
	}
	m["layers"] = make([]map[string]any, 2*maxArtifacts+1)
	many, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRelease(many); err == nil || !strings.Contains(err.Error(), "layers, at most") {
		t.Error(err)
	}
	if _, err := ParseRelease(make([]byte, maxManifest+1)); err == nil {
		t.Error("a manifest of any size")
	}
}

func TestHostileIndex(t *testing.T) {
	ref := Ref{blob.Of(nil), 5, "1"}
	good, err := encodeIndex([]Ref{ref, {blob.Of([]byte("x")), 7, ""}})
	if err != nil {
		t.Fatal(err)
	}
	if refs, err := parseIndex(good); err != nil || len(refs) != 2 || refs[0] != ref {
		t.Errorf("%v %v", refs, err)
	}
	for _, tt := range []struct{ old, new, says string }{
		{`{`, `"`, "not JSON"},
		{`"schemaVersion": 2`, `"schemaVersion": 3`, "schemaVersion is 3"},
		{`sha256:`, `sha256:../`, "is no digest"},
		{`"size": 5`, `"size": 5000000`, "it must be 0 to"},
		{`"org.opencontainers.image.ref.name": "1"`, `"org.opencontainers.image.ref.name": "../1"`, "write letters"},
	} {
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		if _, err := parseIndex([]byte(bad)); bad == string(good) || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.new, err)
		}
	}
	twice, err := encodeIndex([]Ref{ref, {blob.Of([]byte("x")), 7, "1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseIndex(twice); err == nil || !strings.Contains(err.Error(), "stands there twice") {
		t.Error(err)
	}
}

func TestHostileTar(t *testing.T) {
	make := func(headers ...*tar.Header) string {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, h := range headers {
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
		}
		return file(t, "x.tar", append(out.Bytes(), make([]byte, 1024)...))
	}
	reg := func(name string) *tar.Header { return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	many := []*tar.Header{}
	for range maxFiles + 1 {
		many = append(many, reg("x"))
	}
	for name, tt := range map[string]struct {
		path, says string
	}{
		"a link":        {make(&tar.Header{Typeflag: tar.TypeSymlink, Name: "index.json", Linkname: "/etc/passwd"}), "not stored as a plain file"},
		"twice":         {make(reg("oci-layout"), reg("./oci-layout")), "stands there twice"},
		"a blob's name": {make(reg("blobs/sha256/../../../x")), "is no digest"},
		"many files":    {make(many...), "more than"},
		"compressed":    {file(t, "x.tar", []byte("\x1f\x8b\x08xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")), "is not compressed"},
		"nothing":       {file(t, "x.tar", nil), "no tar"},
		"no layout":     {make(reg("README")), "it has no file oci-layout"},
		"another one":   {make(reg("oci-layout")), "it is not JSON"},
	} {
		if _, err := OpenLocal(tt.path); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBundleFile(t *testing.T) {
	const good = `apiVersion: rackreach/v1
kind: Bundle
name: "2026.3"
artifacts:
  - {name: debian-13, kind: disk-image, file: d.raw, platforms: [debian-server], frameSize: 4MiB}
  - {name: esxi-8, kind: boot-file, file: /iso}
`
	f, err := ParseFile("/x/images.yaml", []byte(good))
	if err != nil || f.Name != "2026.3" || len(f.Inputs) != 2 || f.Inputs[0].Path != "/x/d.raw" || f.Inputs[0].FrameSize != 4<<20 || f.Inputs[1].Path != "/iso" {
		t.Fatalf("%+v %v", f, err)
	}
	for _, tt := range []struct{ old, new, says string }{
		{"kind: Bundle", "kind: Rack", "x.yaml:2: kind is \"Rack\""},
		{"name: \"2026.3\"", "name: \"a/b\"", "x.yaml:3: \"a/b\" is no name of a release"},
		{"name: \"2026.3\"\n", "", "name is missing"},
		{"name: esxi-8", "name: debian-13", "two artifacts are called"},
		{"name: esxi-8", "name: ../x", "is no name of an artifact"},
		{"kind: boot-file", "kind: rootfs", "x.yaml:6: \"rootfs\" is no kind"},
		{"file: /iso", "path: /iso", "unknown key \"path\""},
		{"[debian-server]", "[Debian]", "is no name of a platform"},
		{"4MiB", "4MB", "frameSize is \"4MB\""},
		{"4MiB", "2000000MiB", "frameSize is"},
	} {
		if _, err := ParseFile("x.yaml", []byte(strings.Replace(good, tt.old, tt.new, 1))); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.new, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	good, err := sample().Manifest()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"schemaVersion":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseSignature(b, blob.Of(nil)); err == nil && len(b) == 0 {
			t.Error("nothing is a signature")
		}
		if _, err := parseIndex(b); err != nil && len(err.Error()) > 2000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		r, err := ParseRelease(b)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		for _, a := range r.Artifacts {
			if strings.Contains(a.Name, "..") && strings.Contains("/"+a.Name+"/", "/../") || strings.HasPrefix(a.Name, "/") || len(a.Name) > maxName || a.Size < 0 {
				t.Errorf("artifact %q of %d bytes", a.Name, a.Size)
			}
		}
		again, err := r.Manifest()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if s, err := ParseRelease(again); err != nil || !reflect.DeepEqual(r, s) {
			t.Errorf("read back: %v", err)
		}
	})
}

func FuzzBundleFile(f *testing.F) {
	f.Add([]byte("apiVersion: rackreach/v1\nkind: Bundle\nname: x\nartifacts:\n  - {name: a, kind: kernel, file: x}\n"))
	f.Add([]byte("artifacts: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := ParseFile("x.yaml", b); err == nil && (len(x.Inputs) == 0 || CheckRelease(x.Name) != nil) {
			t.Errorf("%+v", x)
		}
	})
}

func FuzzTar(f *testing.F) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "oci-layout", Size: 3}), w.Flush()); err == nil {
		f.Fatal("a file that is not written was flushed")
	}
	f.Add(append(out.Bytes(), make([]byte, 2048)...))
	path := f.TempDir() + "/x.tar"
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		parts, err := tarParts(x)
		for name, p := range parts {
			if err == nil && (p.at < 0 || p.size < 0 || strings.Contains(name, "..")) {
				t.Errorf("%q at %d with %d bytes", name, p.at, p.size)
			}
		}
	})
}
