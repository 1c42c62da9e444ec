package rackagent

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// What the rack file says of the disk reaches the installer's job; nothing of another
// installer's does.
func TestDiskImage(t *testing.T) {
	x := rack.Install{Installer: rack.DiskImage, Disk: rack.DiskRule{Path: "/dev/sda", Serial: "S1", MinSize: 1, MaxSize: 2}, Grow: true, BootEntry: `\EFI\x`}
	want := &job.Install{Disk: job.DiskRule{Path: "/dev/sda", Serial: "S1", MinSize: 1, MaxSize: 2}, Grow: true, BootEntry: `\EFI\x`}
	if got := diskImage(&x); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	x.Installer = rack.Preseed
	if got := diskImage(&x); got != nil || diskImage(nil) != nil {
		t.Errorf("%+v", got)
	}
}

// A device whose image is seeded is told who it is by files of its job, which hold its
// secret only there; no other device is.
func TestSeed(t *testing.T) {
	hash, err := answerfile.ParseHash("$6$saltsalt$QmHeRoXVqzT0eTSUXTvTJ2NlTq7rkCzlJ7Gj6M8s1wPbkTxw1O5zLJ2lLQ5s0L1c7dYyV3Xo7pE2Vh1r0Q9qP/")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddr("10.0.1.11")
	r := &rack.Rack{Name: "r1", Data: netip.MustParsePrefix("10.0.1.0/24"), Services: rack.Services{Domain: "r1.example.net"}, Devices: []rack.Device{
		{Name: "server-01", Role: rack.Server, Address: at, MACs: []string{"02:00:00:00:00:0a"}, Install: &rack.Install{Installer: rack.DiskImage, Seed: 2, PasswordHash: "env:ROOT", Static: true}},
		{Name: "server-02", Role: rack.Server, Address: at.Next(), Install: &rack.Install{Installer: rack.DiskImage}},
		{Name: "server-03", Role: rack.Server, Address: at.Next().Next()},
	}}
	n := &native{rack: r, hash: func(string) (answerfile.Secret, error) { return hash, nil }}
	files, err := n.seed(boot.Ticket{ID: "r1/server-01/1", Device: "server-01", Run: "RUN"}, "http://10.0.1.9/native/t")
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for _, f := range files {
		if f.Partition != 2 || f.Mode != 0o600 {
			t.Errorf("%+v", f)
		}
		text[strings.TrimPrefix(f.Path, "/var/lib/cloud/seed/nocloud/")] = f.Content
	}
	for name, want := range map[string]string{"user-data": `fqdn: "server-01.r1.example.net"`, "meta-data": `instance-id: "r1/server-01/1"`, "network-config": `- "10.0.1.11/24"`} {
		if !strings.Contains(text[name], want) {
			t.Errorf("%s: %s", name, text[name])
		}
	}
	if len(text) != 3 || !strings.HasPrefix(text["user-data"], "#cloud-config\n") || !strings.Contains(text["user-data"], "QmHeRoXVqzT0eTSUXTvTJ2NlTq7rk") {
		t.Errorf("%q", text)
	}
	for _, d := range []string{"server-02", "server-03"} {
		if files, err := n.seed(boot.Ticket{Device: d}, "http://10.0.1.9/native/t"); err != nil || len(files) != 0 {
			t.Errorf("%s: %v, %v", d, files, err)
		}
	}
	n.hash = nil
	if files, err := n.seed(boot.Ticket{ID: "r1/server-01/1", Device: "server-01"}, "http://10.0.1.9/native/t"); err == nil {
		t.Errorf("a seed without the password that it is to have: %v", files)
	}
}
