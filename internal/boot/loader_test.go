package boot

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// inBundle are images by name.
type inBundle map[string]string

type stringImage struct{ *strings.Reader }

func (stringImage) Close() error { return nil }

func (b inBundle) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	text, ok := b[name]
	if !ok {
		return nil, rack.Image{}, os.ErrNotExist
	}
	return stringImage{strings.NewReader(text)}, rack.Image{Name: name, Size: int64(len(text))}, nil
}

// Firmware gets its loader under its ticket, over TFTP and HTTP, out of a folder or a
// bundle, and nothing else.
func TestLoaders(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadersIn(dir); err == nil || !strings.Contains(err.Error(), "apt-get install ipxe") {
		t.Errorf("an empty folder: %v", err)
	}
	want := strings.Repeat("loader", 1000)
	for file, text := range map[string]string{"ipxe.efi": want, "secret": "secret"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	inDir, err := LoadersIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, loaders := range map[string]Loaders{"folder": inDir, "bundle": LoadersOf(inBundle{"ipxe/ipxe.efi": want, "secret": "secret", "ipxe/secret": "secret"})} {
		t.Run(name, func(t *testing.T) {
			b := newBenchWith(t, imageSize, func(o *Options) { o.Loaders = loaders })
			file, url := b.Loader(b.open, "x86_64-uefi")
			if file != b.open.Token+"/ipxe.efi" || url != b.base+"/loader/"+file {
				t.Fatalf("%q %q", file, url)
			}
			for _, arch := range []string{"x86-bios", "riscv64-uefi", ""} {
				if file, url := b.Loader(b.open, arch); file != "" || url != "" {
					t.Errorf("%s: %q %q", arch, file, url)
				}
			}
			if got, err := b.fetch(file, "octet"); err != nil || got != want {
				t.Errorf("tftp: %d bytes, %v", len(got), err)
			}
			for path, status := range map[string]int{
				"/loader/" + file: 200, "/loader/" + b.closed.Token + "/ipxe.efi": 410, "/loader/" + b.open.Token + "/secret": 404, "/loader/" + b.open.Token + "/undionly.kpxe": 404,
				"/loader/" + b.open.Token + "/..%2fsecret": 404, "/loader/" + Token(nil, "x") + "/ipxe.efi": 404,
			} {
				got, header, body := b.do("GET", path, nil)
				if got != status || status == 200 && (string(body) != want || header.Get("Content-Type") != "application/efi") || strings.Contains(string(body), "secret") {
					t.Errorf("%s: %d %v %.20q, want %d", path, got, header, body, status)
				}
			}
			for _, name := range []string{b.open.Token + "/secret", b.closed.Token + "/ipxe.efi", b.open.Token + "/undionly.kpxe", b.open.Token + "/../ipxe.efi", "ipxe.efi"} {
				if _, err := b.fetch(name, "octet"); err == nil {
					t.Errorf("tftp: %s was served", name)
				}
			}
			b.stop()
			if got := b.evidence(); len(got) != 0 {
				t.Errorf("evidence %v: a loader is not the script", got)
			}
		})
	}
}
