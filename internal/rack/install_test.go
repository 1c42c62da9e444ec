package rack_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmDkZ5fVb6mPzFzqGk0m3Qm0n7dQe9yV5sYw2u3nq0M ops@site"

// validInstalls are ways to be installed that a rack may say.
func validInstalls() map[string]rack.Install {
	return map[string]rack.Install{
		"preseed":     {Installer: rack.Preseed, Kernel: "debian-12/linux", Source: "http://deb.example.net:8080/debian", Disk: rack.DiskRule{Path: "/dev/disk/by-id/nvme-S1"}, Keys: []string{publicKey}},
		"kickstart":   {Installer: rack.Kickstart, Kernel: "rhel-9/vmlinuz", Source: "https://mirror/rhel-9", Disk: rack.DiskRule{Serial: "S1", MinSize: 1, MaxSize: 2}, PasswordHash: "env:ROOT"},
		"autoinstall": {Installer: rack.Autoinstall, Kernel: "ubuntu/vmlinuz", Source: "http://mirror/u.iso", Template: "ours/user-data", Static: true},
		"disk-image":  {Installer: rack.DiskImage, Disk: rack.DiskRule{Serial: "S1", MinSize: 1}, Grow: true, BootEntry: `\EFI\BOOT\BOOTX64.EFI`},
		"seeded":      {Installer: rack.DiskImage, Seed: 1, Template: "ours/user-data", PasswordHash: "env:ROOT", Keys: []string{publicKey}},
		"esxi":        {Installer: rack.ESXi, Disk: rack.DiskRule{Path: "/dev/disks/naa.5000"}, PasswordHash: "env:ROOT"},
	}
}

func TestInstallProblems(t *testing.T) {
	install := func(name string, change func(*rack.Install)) func(*rack.Rack) {
		return func(r *rack.Rack) {
			x := validInstalls()[name]
			if change != nil {
				change(&x)
			}
			r.Devices[4].Image, r.Devices[4].Install = "debian-12/initrd.gz", &x
		}
	}
	for name := range validInstalls() {
		r := validRack()
		install(name, nil)(r)
		if got := rack.Validate(r, validTable()); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, x := range []struct {
		field, says string
		change      func(*rack.Rack)
	}{
		{"install.installer", "unknown installer cobbler", install("preseed", func(x *rack.Install) { x.Installer = "cobbler" })},
		{"install.kernel", "kernel", install("preseed", func(x *rack.Install) { x.Kernel = "" })},
		{"install.kernel", "kernel", install("esxi", func(x *rack.Install) { x.Kernel = "a" })},
		{"install.template", "template", install("preseed", func(x *rack.Install) { x.Template = "a b" })},
		{"install.source", "no source", install("kickstart", func(x *rack.Install) { x.Source = "" })},
		{"install.source", "no source", install("autoinstall", func(x *rack.Install) { x.Source = "" })},
		{"install.source", "not a URL", install("preseed", func(x *rack.Install) { x.Source = "http://user:secret@mirror/" })},
		{"install.source", "not a URL", install("preseed", func(x *rack.Install) { x.Source = "ftp://mirror/" })},
		{"install.source", "not a URL", install("preseed", func(x *rack.Install) { x.Source = "http://mirror/a b" })},
		{"install.source", "boot files", install("esxi", func(x *rack.Install) { x.Source = "http://mirror/" })},
		{"install.disk.path", "path of a disk", install("preseed", func(x *rack.Install) { x.Disk.Path = "sda" })},
		{"install.disk.path", "path of a disk", install("preseed", func(x *rack.Install) { x.Disk.Path = "/dev/../etc" })},
		{"install.disk.path", "path of a disk", install("preseed", func(x *rack.Install) { x.Disk.Path = "/dev/sda\nx" })},
		{"install.disk", "by name only", install("esxi", func(x *rack.Install) { x.Disk = rack.DiskRule{} })},
		{"install.disk", "by name only", install("esxi", func(x *rack.Install) { x.Disk.Serial = "S1" })},
		{"install.disk.serial", "serial number", install("preseed", func(x *rack.Install) { x.Disk.Serial = "$(reboot)" })},
		{"install.disk", "at least 3", install("preseed", func(x *rack.Install) { x.Disk.MinSize, x.Disk.MaxSize = 3, 2 })},
		{"install.passwordHash", "not a reference", install("preseed", func(x *rack.Install) { x.PasswordHash = "$6$hunter2" })},
		{"install.passwordHash", "demands one", install("esxi", func(x *rack.Install) { x.PasswordHash = "" })},
		{"install.keys[0]", "public SSH key", install("preseed", func(x *rack.Install) { x.Keys = []string{"command=\"reboot\" " + publicKey} })},
		{"install.keys[0]", "public SSH key", install("preseed", func(x *rack.Install) { x.Keys = []string{publicKey + "\nroot"} })},
		{"install.keys", "17 keys", install("preseed", func(x *rack.Install) { x.Keys = slices.Repeat([]string{publicKey}, 17) })},
		{"install", "written as it is", install("disk-image", func(x *rack.Install) { x.Kernel = "linux" })},
		{"install", "no partition takes its seed", install("disk-image", func(x *rack.Install) { x.Static = true })},
		{"install", "no partition takes its seed", install("seeded", func(x *rack.Install) { x.Seed = 0 })},
		{"install.seed", "not the number of a partition", install("seeded", func(x *rack.Install) { x.Seed = 129 })},
		{"install.seed", "not the number of a partition", install("disk-image", func(x *rack.Install) { x.Seed = -1 })},
		{"install.static", "told by its MAC", func(r *rack.Rack) {
			install("seeded", func(x *rack.Install) { x.Static = true })(r)
			r.Devices[4].MACs = nil
		}},
		{"install.passwordHash", "not a reference", install("seeded", func(x *rack.Install) { x.PasswordHash = "$6$hunter2" })},
		{"install.keys[0]", "public SSH key", install("seeded", func(x *rack.Install) { x.Keys = []string{"x"} })},
		{"install", "seeded, preseed does that by itself", install("preseed", func(x *rack.Install) { x.Seed = 1 })},
		{"install.bootEntry", "boot loader", install("disk-image", func(x *rack.Install) { x.BootEntry = "/EFI/BOOT" })},
		{"install.bootEntry", "boot loader", install("disk-image", func(x *rack.Install) { x.BootEntry = `\EFI\..\a b` })},
		{"install.disk.path", "path of a disk", install("disk-image", func(x *rack.Install) { x.Disk.Path = "sda" })},
		{"install.disk.path", "no links", install("disk-image", func(x *rack.Install) { x.Disk.Path = "/dev/disk/by-id/nvme-S1" })},
		{"install", "only a disk image grows", install("preseed", func(x *rack.Install) { x.Grow = true })},
		{"install", "no image", func(r *rack.Rack) { install("preseed", nil)(r); r.Devices[4].Image = "" }},
		{"install", "installed by ONIE", func(r *rack.Rack) {
			x := validInstalls()["preseed"]
			r.Devices[1].Image, r.Devices[1].Install = "a", &x
		}},
		{"services.domain", "not a domain", func(r *rack.Rack) { r.Services.Domain = "r1..net" }},
	} {
		r := validRack()
		x.change(r)
		got := rack.Validate(r, validTable())
		if len(got) != 1 || got[0].Where.Field != x.field || !strings.Contains(got[0].What, x.says) || got[0].Fix == "" {
			t.Errorf("want one problem of %s that says %q, got %+v", x.field, x.says, got)
		}
		for _, p := range got {
			if strings.Contains(p.What+p.Fix, "hunter2") || strings.Contains(p.What+p.Fix, "secret@") {
				t.Errorf("%s repeats a secret: %+v", x.field, p)
			}
		}
	}
}

// A rack that says nothing of its domain or of installers is written as before: its
// plans keep their hashes.
func TestRackWithoutInstallers(t *testing.T) {
	b, err := json.Marshal(validRack())
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"Install", "Domain"} {
		if strings.Contains(string(b), word) {
			t.Errorf("it says %s: %s", word, b)
		}
	}
}
