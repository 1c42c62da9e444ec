package rackfile

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmDkZ5fVb6mPzFzqGk0m3Qm0n7dQe9yV5sYw2u3nq0M ops@site"

// withInstall is a whole rack file whose servers are installed by Debian's installer.
var withInstall = strings.NewReplacer(
	"  data: {cidr: 10.0.1.0/24}\n", "  data: {cidr: 10.0.1.0/24, router: 10.0.1.1}\nservices: {domain: r1.example.net, dns: [10.0.1.2, 10.0.1.3]}\n",
	"    protect: true\n", `    install:
      installer: preseed
      kernel: debian-12/linux
      source: http://deb.example.net/debian
      disk: {serial: S1, minSize: 400GB, maxSize: 2TiB}
      passwordHash: "env:ROOT_HASH"
      keys: ["`+publicKey+`"]
      static: true
`).Replace(whole)

func TestInstall(t *testing.T) {
	r, err := Parse("rack.yaml", []byte(withInstall), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	if r.Services.Domain != "r1.example.net" || len(r.Services.DNS) != 2 {
		t.Errorf("the services are %+v", r.Services)
	}
	want := rack.Install{Installer: rack.Preseed, Kernel: "debian-12/linux", Source: "http://deb.example.net/debian",
		Disk: rack.DiskRule{Serial: "S1", MinSize: 400e9, MaxSize: 2 << 40}, PasswordHash: "env:ROOT_HASH", Keys: []string{publicKey}, Static: true}
	for _, name := range []string{"server-09", "server-10"} {
		d, ok := r.Device(name)
		if !ok || d.Install == nil || !reflect.DeepEqual(*d.Install, want) {
			t.Errorf("%s: %+v", name, d.Install)
		}
	}
}

// A disk image may say which disk, and that it grows.
func TestInstallOfADiskImage(t *testing.T) {
	file := strings.Replace(whole, "    protect: true\n", `    install: {installer: disk-image, disk: {serial: S1, minSize: 400GB}, grow: true, bootEntry: '\EFI\BOOT\BOOTX64.EFI', seed: 2, keys: ["`+publicKey+`"]}`+"\n", 1)
	r, err := Parse("rack.yaml", []byte(file), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	want := rack.Install{Installer: rack.DiskImage, Disk: rack.DiskRule{Serial: "S1", MinSize: 400e9}, Grow: true, BootEntry: `\EFI\BOOT\BOOTX64.EFI`, Seed: 2, Keys: []string{publicKey}}
	if d, _ := r.Device("server-09"); d.Install == nil || !reflect.DeepEqual(*d.Install, want) || d.Answered() || !d.Seeded() {
		t.Errorf("%+v", d.Install)
	}
}

// What cannot be is said with its line; a secret is not repeated.
func TestInstallProblems(t *testing.T) {
	for _, x := range []struct{ old, new, says string }{
		{"installer: preseed\n", "installr: preseed\n", `unknown key "installr" in install`},
		{"      installer: preseed\n", "", "install.installer is missing"},
		{"installer: preseed", "installer: cobbler", "unknown installer cobbler"},
		{"minSize: 400GB", "minSize: 400", "install.disk.minSize"},
		{"minSize: 400GB", "minSize: 400 parsecs", "is not a size"},
		{"minSize: 400GB", "minSize: 99999999TB", "is not a size"},
		{"disk: {", "disk: [", ""},
		{`passwordHash: "env:ROOT_HASH"`, `passwordHash: "$6$hunter2"`, "passwordHash is not a reference"},
		{`passwordHash: "env:ROOT_HASH"`, `password: "hunter2"`, "a secret does not stand in a rack file"},
		{`keys: ["`, `keys: ["x `, "is not a public SSH key"},
		{`keys: ["` + publicKey + `"]`, `keys: {a: b}`, "install.keys is not a list"},
		{"static: true", "static: maybe", "install.static is neither true nor false"},
		{"domain: r1.example.net", "domain: R1..net", "is not a domain"},
		{"    image: esx-9\n", "", "no image"},
	} {
		if !strings.Contains(withInstall, x.old) {
			t.Fatalf("no %q to replace", x.old)
		}
		_, err := Parse("rack.yaml", []byte(strings.Replace(withInstall, x.old, x.new, 1)), opened(""), table())
		if err == nil || !strings.Contains(err.Error(), x.says) || !strings.HasPrefix(err.Error(), "rack.yaml:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %q", x.new, err, x.says)
		}
	}
}
