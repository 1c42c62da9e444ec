package boot

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pin/tftp/v3"

	"github.com/rackreach/rackreach/internal/rack"
)

// fetch asks for a file as firmware does.
func (b *bench) fetch(name, mode string) (string, error) {
	b.t.Helper()
	c, err := tftp.NewClient(b.tftp)
	if err != nil {
		b.t.Fatal(err)
	}
	c.SetTimeout(time.Second)
	c.SetBlockSize(1428)
	c.RequestTSize(true)
	r, err := c.Receive(name, mode)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	_, err = r.WriteTo(&out)
	return out.String(), err
}

func TestScript(t *testing.T) {
	b := newBench(t)
	got, err := b.fetch(b.BootFile(b.open), "octet")
	want := "#!ipxe\n" +
		"# rackreach: rack r1, device server-01 (server), ticket run-1/server-01/1\n" +
		"# image sim-hypervisor " + b.open.Image.Digest + "\n" +
		"kernel " + b.InstallerURL(b.open) + " rackreach.job=" + b.base + "/job/" + b.open.Token + "\n" +
		"boot\n"
	if err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
	if _, err := b.fetch("/"+b.BootFile(b.open), "netascii"); err != nil {
		t.Error(err)
	}
	b.stop()
	if !slices.Equal(b.evidence(), []rack.Evidence{rack.FetchedBootLoader, rack.FetchedBootLoader}) || !slices.Equal(b.by, []rack.Source{rack.FromTFTP, rack.FromTFTP}) {
		t.Errorf("evidence %v", b.evidence())
	}
}

func TestTFTPRefuses(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"", "/", "boot.ipxe", "../" + b.BootFile(b.open), b.open.Token + "/../" + b.BootFile(b.open),
		"//" + b.BootFile(b.open), b.BootFile(b.open) + "/", b.open.Token, b.open.Token + "/other", "/etc/passwd",
		strings.ToUpper(b.BootFile(b.open)), b.BootFile(b.closed), Token(nil, "x") + "/boot.ipxe"} {
		if got, err := b.fetch(name, "octet"); err == nil || !strings.Contains(err.Error(), errNoFile.Error()) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	c, err := tftp.NewClient(b.tftp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(b.BootFile(b.open), "octet"); err == nil {
		t.Error("a write was accepted")
	}
	b.stop()
	if len(b.evidence()) != 0 {
		t.Errorf("evidence %v", b.evidence())
	}
}

// Datagrams that are no requests, and requests for options gone wild, end
// nothing.
func TestTFTPNoise(t *testing.T) {
	b := newBench(t)
	c, err := net.Dial("udp4", b.tftp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rrq := "\x00\x01" + b.BootFile(b.open) + "\x00octet\x00"
	for _, p := range []string{"", "\x00", "\x00\x01", "\x00\x01\x00\x00", "\x00\x09xx", "\x00\x04\x00\x01", "\x00\x05\x00\x01", strings.Repeat("\xff", 2000),
		rrq + "blksize\x00-1\x00", rrq + "blksize\x0099999999999\x00tsize\x00" + strings.Repeat("9", 400), rrq + "tsize"} {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.fetch(b.BootFile(b.open), "octet"); err != nil {
		t.Error(err)
	}
}

func TestScriptEscapes(t *testing.T) {
	b := newBench(t)
	x := b.open
	x.Rack, x.Device, x.ID = "r1\nsanboot evil", "${net0/mac}", "a b"
	if s := b.script(x); strings.Contains(s, "\nsanboot") || strings.Contains(s, "${") || strings.Count(s, "\n") != 5 {
		t.Errorf("script %q", s)
	}
}

func FuzzTFTPName(f *testing.F) {
	token := Token([]byte("s"), "x")
	for _, s := range []string{token + "/boot.ipxe", "/" + token + "/boot.ipxe", "../../etc/passwd", token + "/../" + token + "/boot.ipxe", token + "/ipxe.efi", "\x00", token} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, file, ok := tokenOfFile(name)
		if exact := strings.TrimPrefix(name, "/") == got+"/"+file && (file == "boot.ipxe" || isLoader(file)) && validToken(got); ok != exact {
			t.Errorf("%q: %q, %t", name, got, ok)
		}
	})
}
