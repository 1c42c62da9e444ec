package boot

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// nativeFake knows one device's files; the artifact is the one that the shelf has.
type nativeFake struct{ loader string }

func (n nativeFake) Boots(t Ticket, _ string) (loader, kernel string, args []string, err error) {
	if t.Device == "server-03" {
		return "", "", nil, errors.New("nothing is known of it")
	}
	return n.loader, "kernel", []string{"auto=true", "ds=nocloud-net;s=http://h/", "x=${y}\nreboot"}, nil
}

func (nativeFake) File(t Ticket, base, name string) ([]byte, rack.Evidence, error) {
	switch name {
	case "ks.cfg":
		return []byte("for " + t.Device + " at " + base), rack.FetchedImage, nil
	case "broken":
		return nil, rack.NoEvidence, errors.New("the hash is $6$secret")
	}
	return nil, rack.NoEvidence, fmt.Errorf("%w: %q", ErrNoFile, name)
}

func (nativeFake) Artifact(_ Ticket, name string) (string, rack.Evidence, error) {
	switch name {
	case "kernel":
		return "sim-hypervisor", rack.FetchedBootLoader, nil
	case "efi/lost":
		return "lost", rack.NoEvidence, nil
	}
	return "", rack.NoEvidence, ErrNoFile
}

// newNativeBench has an open ticket of a device that is installed by its own
// system's installer, a closed one, and an open one of a device that is not.
func newNativeBench(t *testing.T, loader string) (b *bench, native, closed Ticket) {
	t.Helper()
	b = newBench(t)
	b.o.Native = nativeFake{loader}
	native, closed = b.open, b.closed
	native.ID, native.Device, native.Native = "run-1/server-04/1", "server-04", true
	native.Token = Token([]byte("s"), native.ID)
	closed.Native = true
	if err := b.SetTickets([]Ticket{b.open, closed, native}); err != nil {
		t.Fatal(err)
	}
	return b, native, closed
}

// A device gets its answer files and boot files while its ticket lives, and no other
// device's, nor any other file.
func TestNativeFiles(t *testing.T) {
	b, native, closed := newNativeBench(t, "")
	at := "/native/" + native.Token
	for _, x := range []struct {
		path   string
		status int
	}{
		{at + "/kernel", 200}, {at + "/ks.cfg", 200}, {at + "/preseed.cfg", 404}, {at + "/efi/lost", 500}, {at + "/broken", 500},
		{at + "/..%2f..%2fetc%2fpasswd", 404}, {at + "/" + strings.Repeat("x", maxNative+1), 404},
		{"/native/" + closed.Token + "/ks.cfg", 410}, {"/native/" + b.open.Token + "/ks.cfg", 404}, {"/native/" + strings.Repeat("0", 32) + "/ks.cfg", 404},
	} {
		status, header, body := b.do("GET", x.path, nil)
		if status != x.status {
			t.Errorf("GET %s: %d %q, want %d", x.path, status, body, x.status)
		}
		if strings.Contains(string(body), "secret") {
			t.Errorf("GET %s tells the device %q", x.path, body)
		}
		if x.path == at+"/ks.cfg" {
			if want := "for server-04 at " + b.NativeURL(native); string(body) != want || header.Get("Cache-Control") != "no-store" {
				t.Errorf("ks.cfg is %q with %v, want %q", body, header, want)
			}
		}
	}
	if got := b.evidence(); !slices.Equal(got, []rack.Evidence{rack.FetchedBootLoader, rack.FetchedImage}) || !slices.Equal(b.by, []rack.Source{rack.FromHTTP, rack.FromHTTP}) {
		t.Errorf("evidence %v by %v", got, b.by)
	}
	status, _, part := b.do("GET", at+"/kernel", nil, "Range", "bytes=5-9")
	if status != http.StatusPartialContent || string(part) != string(b.shelf.data[5:10]) || len(b.evidence()) != 2 {
		t.Errorf("a part of the kernel: %d, %d bytes, evidence %v", status, len(part), b.evidence())
	}
	if status, _, _ := b.do("HEAD", at+"/ks.cfg", nil); status != 200 || len(b.evidence()) != 2 {
		t.Errorf("HEAD: %d, evidence %v", status, b.evidence())
	}
}

// What an installer reports is taken once, bounded and printable; a digest is that of
// its ticket, which it was given.
func TestNativeReports(t *testing.T) {
	b, native, closed := newNativeBench(t, "")
	at := "/native/" + native.Token + "/report/"
	for _, x := range []struct {
		path, body string
		status     int
		want       Report
	}{
		{at + "installed", "done\x1b[2J", 204, Report{State: Installed, Message: "done [2J", Digest: native.Image.Digest}},
		{at + "failed", "no disk", 204, Report{State: Failed, Message: "no disk"}},
		{at + "refused", "foreign:content-1", 204, Report{State: KeptBack, Message: "foreign:content-1", Holds: "foreign:content-1"}},
		{at + "refused", "it is mine", 400, Report{}},
		{at + "rebooted", "", 404, Report{}},
		{at + "failed", strings.Repeat("x", maxReport+1), 400, Report{}},
		{"/native/" + closed.Token + "/report/installed", "", 409, Report{}},
		{"/native/" + b.open.Token + "/report/installed", "", 404, Report{}},
	} {
		b.reports = nil
		status, _, said := b.do("POST", x.path, strings.NewReader(x.body))
		if status != x.status {
			t.Errorf("POST %s %.40q: %d %q, want %d", x.path, x.body, status, said, x.status)
		}
		if x.status != 204 {
			if len(b.reports) > 0 {
				t.Errorf("POST %s: taken as %+v", x.path, b.reports)
			}
			continue
		}
		if len(b.reports) != 1 {
			t.Fatalf("POST %s: %d reports", x.path, len(b.reports))
		}
		got := b.reports[0]
		if got.Ticket != native || got.Remote == "" {
			t.Errorf("POST %s: of %+v from %q", x.path, got.Ticket, got.Remote)
		}
		got.Ticket, got.Remote = Ticket{}, ""
		if got != x.want {
			t.Errorf("POST %s: %+v, want %+v", x.path, got, x.want)
		}
	}
	b.answer = ErrClosed
	if status, _, _ := b.do("POST", at+"installed", nil); status != 409 {
		t.Errorf("a second report: %d, want 409", status)
	}
}

// The boot script leads to the kernel, with its arguments, and to the ticket's image;
// nothing in an argument is a command.
func TestNativeScript(t *testing.T) {
	b, native, _ := newNativeBench(t, "")
	got, err := b.scriptOf(native)
	want := "#!ipxe\n# rackreach: rack r1, device server-04 (server), ticket run-1/server-04/1\n# image sim-hypervisor " + native.Image.Digest +
		"\nkernel " + b.NativeURL(native) + "/kernel initrd=initrd rackreach.job=" + b.JobURL(native) + " auto=true ds=nocloud-net;s=http://h/ x=%24%7By%7D%0Areboot\n" +
		"initrd --name initrd " + b.InstallerURL(native) + "\nboot\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	b.o.Native = nativeFake{"mboot.efi"}
	if got, err = b.scriptOf(native); err != nil || !strings.HasSuffix(got, "\nchain "+b.NativeURL(native)+"/mboot.efi\n") {
		t.Errorf("with a loader: %v\n%s", err, got)
	}
	unknown := native
	unknown.Device = "server-03"
	if got, err = b.scriptOf(unknown); err == nil {
		t.Errorf("of an unknown device: %s", got)
	}
	b.o.Native = nil
	if got, err = b.scriptOf(native); err == nil {
		t.Errorf("when nobody knows: %s", got)
	}
	if got, err = b.scriptOf(b.open); err != nil || got != b.script(b.open) {
		t.Errorf("of our installer: %v\n%s", err, got)
	}
}

// A system that is provisioned at its first boot gets its documents while its ticket is
// open, and reports there; it boots as every other device of ours.
func TestDocumentsFollowTheTicket(t *testing.T) {
	b := newBench(t)
	b.o.Native = nativeFake{}
	given := b.open
	given.Provision = &rack.Provision{Documents: []rack.Document{{Name: "ks.cfg"}}}
	shut := given
	shut.Open = false
	for _, x := range []struct {
		ticket         Ticket
		get, installed int
	}{{b.open, 404, 404}, {given, 200, 204}, {shut, 410, 409}} {
		if err := b.SetTickets([]Ticket{x.ticket}); err != nil {
			t.Fatal(err)
		}
		at := "/native/" + x.ticket.Token
		if status, _, _ := b.do("GET", at+"/ks.cfg", nil); status != x.get {
			t.Errorf("open %v: GET %d, want %d", x.ticket.Open, status, x.get)
		}
		if status, _, _ := b.do("POST", at+"/report/installed", strings.NewReader("")); status != x.installed {
			t.Errorf("open %v: POST %d, want %d", x.ticket.Open, status, x.installed)
		}
		if script, err := b.scriptOf(x.ticket); err != nil || !strings.Contains(script, "rackreach.job=") || strings.Contains(script, "native") {
			t.Errorf("%v: %s", err, script)
		}
	}
}
