package rackagent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// nativeShelf is a bundle in memory.
type nativeShelf map[string]string

func (s nativeShelf) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	b, ok := s[name]
	if !ok {
		return nil, rack.Image{}, fmt.Errorf("no image %q", name)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(b), io.NopCloser(nil)}, rack.Image{Name: name, Size: int64(len(b))}, nil
}

func (s nativeShelf) Below(folder string) (out []string) {
	for n := range s {
		if rest, ok := strings.CutPrefix(n, folder+"/"); ok {
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return out
}

const nativeHash = "$6$saltsalt$abcdefghijklmnop"

// newNative knows two devices, one of Debian and one of ESXi, and writes to a log.
func newNative(t *testing.T, log io.Writer) *native {
	t.Helper()
	r := &rack.Rack{Name: "r1", Data: netip.MustParsePrefix("10.0.1.0/24"), Devices: []rack.Device{
		{Name: "debian", Role: rack.Server, Address: netip.MustParseAddr("10.0.1.11"), Image: "debian-12/initrd.gz",
			Install: &rack.Install{Installer: rack.Preseed, Kernel: "debian-12/linux", Template: "ours.cfg", PasswordHash: "env:ROOT"}},
		{Name: "esx", Role: rack.Server, Address: netip.MustParseAddr("10.0.1.12"), Image: "esxi-8/BOOT.CFG",
			Install: &rack.Install{Installer: rack.ESXi, Disk: rack.DiskRule{Path: "/dev/disks/naa.1"}, PasswordHash: "env:ROOT"}},
		{Name: "plain", Role: rack.Server},
	}}
	return &native{rack: r, log: slog.New(slog.NewTextHandler(log, nil)),
		images: nativeShelf{"debian-12/linux": "kernel", "debian-12/initrd.gz": "initrd", "ours.cfg": "hash {{.PasswordHash}}", "secret-of-others": "x",
			"esxi-8/BOOT.CFG": "kernel=/b.b00\nmodules=/s.v00\n", "esxi-8/B.B00": "b", "esxi-8/S.V00": "s", "esxi-8/EFI/BOOT/BOOTX64.EFI": "mboot"},
		hash: func(reference string) (answerfile.Secret, error) {
			if reference != "env:ROOT" {
				return answerfile.Secret{}, fmt.Errorf("asked for %s", reference)
			}
			return answerfile.ParseHash(nativeHash)
		}}
}

// A device gets the files of its own installer, out of the bundle that it is imaged
// from, and none else of it.
func TestNativeFiles(t *testing.T) {
	var log bytes.Buffer
	n := newNative(t, &log)
	for _, x := range []struct {
		device, file string
		want         string // text of the file, or the artifact
		shows        rack.Evidence
	}{
		{"debian", "preseed.cfg", "hash " + nativeHash, rack.NoEvidence},
		{"debian", "kernel", "debian-12/linux", rack.NoEvidence},
		{"debian", "initrd.gz", "", rack.NoEvidence},
		{"debian", "secret-of-others", "", rack.NoEvidence},
		{"esx", "mboot.efi", "esxi-8/EFI/BOOT/BOOTX64.EFI", rack.FetchedBootLoader},
		{"esx", "boot.cfg", "kernel=B.B00\nmodules=S.V00\nkernelopt=ks=http://h/t/ks.cfg\nprefix=http://h/t\n", rack.NoEvidence},
		{"esx", "b.b00", "esxi-8/B.B00", rack.NoEvidence},
		{"esx", "crypto64.efi", "", rack.NoEvidence},
		{"esx", "../debian-12/linux", "", rack.NoEvidence},
		{"plain", "ks.cfg", "", rack.NoEvidence},
		{"nobody", "ks.cfg", "", rack.NoEvidence},
	} {
		ticket := boot.Ticket{ID: "RUN/" + x.device + "/1", Run: "RUN", Device: x.device}
		text, shows, err := n.File(ticket, "http://h/t", x.file)
		got := string(text)
		if errors.Is(err, boot.ErrNoFile) {
			got, shows, err = n.Artifact(ticket, x.file)
		}
		if x.want == "" {
			if !errors.Is(err, boot.ErrNoFile) {
				t.Errorf("%s %s: %q, %v; want no such file", x.device, x.file, got, err)
			}
			continue
		}
		if err != nil || got != x.want || shows != x.shows {
			t.Errorf("%s %s: %q, %q, %v; want %q, %q", x.device, x.file, got, shows, err, x.want, x.shows)
		}
	}
	if _, shows, err := n.File(boot.Ticket{ID: "RUN/esx/1", Run: "RUN", Device: "esx"}, "http://h/t", "ks.cfg"); err != nil || shows != rack.FetchedImage {
		t.Errorf("ks.cfg of ESXi: %q, %v", shows, err)
	}
	if log.Len() > 0 {
		t.Errorf("the log has %s", log.String())
	}
}

// What a device boots.
func TestNativeBoots(t *testing.T) {
	n := newNative(t, io.Discard)
	loader, kernel, args, err := n.Boots(boot.Ticket{Device: "debian"}, "http://h/t")
	if err != nil || loader != "" || kernel != "kernel" || !slices.Contains(args, "url=http://h/t/preseed.cfg") {
		t.Errorf("debian: %q, %q, %v, %v", loader, kernel, args, err)
	}
	if loader, _, _, err = n.Boots(boot.Ticket{Device: "esx"}, "http://h/t"); err != nil || loader != "mboot.efi" {
		t.Errorf("esx: %q, %v", loader, err)
	}
	if _, _, _, err = n.Boots(boot.Ticket{Device: "plain"}, "http://h/t"); !errors.Is(err, boot.ErrNoFile) {
		t.Errorf("plain: %v", err)
	}
}

// Why a file cannot be made stands in the log, without what is secret; the device is
// given nothing.
func TestNativeTrouble(t *testing.T) {
	for _, x := range []struct {
		says   string
		change func(*native)
	}{
		{"resolves no references", func(n *native) { n.hash = nil }},
		{"env:OTHER", func(n *native) { n.rack.Devices[0].Install.PasswordHash = "env:OTHER" }},
		{"more than", func(n *native) { n.images.(nativeShelf)["ours.cfg"] = strings.Repeat("x", maxSmall+1) }},
		{"no image", func(n *native) { delete(n.images.(nativeShelf), "ours.cfg") }},
		{"Nothing", func(n *native) { n.images.(nativeShelf)["ours.cfg"] = "{{.PasswordHash}} {{.Nothing}}" }},
	} {
		var log bytes.Buffer
		n := newNative(t, &log)
		x.change(n)
		b, _, err := n.File(boot.Ticket{ID: "RUN/debian/1", Run: "RUN", Device: "debian"}, "http://h/t", "preseed.cfg")
		if err == nil || errors.Is(err, boot.ErrNoFile) || b != nil || !strings.Contains(log.String(), x.says) || strings.Contains(log.String(), nativeHash) {
			t.Errorf("%q, %v; the log has %q, want %s", b, err, log.String(), x.says)
		}
	}
}

// A host that ESXi installs is told the URL of its loader, while its ticket is open;
// and of its site, as others are.
func TestTableOfESXi(t *testing.T) {
	ip := netip.MustParseAddr
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	r.DataRouter, r.Services = ip("10.0.1.1"), rack.Services{DNS: []netip.Addr{ip("10.0.1.2")}}
	d, _ := r.Device("server-01")
	d.Install = &rack.Install{Installer: rack.ESXi}
	d.MACs = []string{"02:00:00:00:00:0a"}
	services, ticket := &boot.Services{}, boot.Ticket{Device: "server-01", Token: strings.Repeat("0", 32)}
	for _, open := range []bool{true, false} {
		tickets, loader := []boot.Ticket{ticket}, services.NativeURL(ticket)+"/mboot.efi"
		if !open {
			tickets, loader = nil, ""
		}
		e, _, err := newTable(r, actors.Offer{Binder: rack.NewBinder(r, platform.All())}, ip("10.0.1.9"), nil, tickets, services).Lookup(rack.Keys{MAC: d.MACs[0], Stage: rack.StageIPXE})
		if err != nil || e.Router != ip("10.0.1.1") || e.DNS[0] != ip("10.0.1.2") || e.BootURL != loader {
			t.Errorf("open %v: %+v, %v", open, e, err)
		}
	}
}
