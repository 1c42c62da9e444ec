package bundle

import (
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// What the installers of a rack's devices boot from and fill in must be in the
// release, of its kind, and for the device's platform.
func TestFitsInstallers(t *testing.T) {
	r := &Release{Name: "1", Artifacts: []Artifact{
		{Name: "debian-12/initrd.gz", Kind: Initramfs}, {Name: "debian-12/linux", Kind: Kernel}, {Name: "debian-13", Kind: DiskImage, Disk: &Disk{}}, {Name: "esxi-8/BOOT.CFG", Kind: BootFile}, {Name: "esxi-8/EFI/BOOT/BOOTX64.EFI", Kind: BootFile},
		{Name: "for-others", Kind: Kernel, Platforms: []string{"others"}}, {Name: "installer-initramfs", Kind: Initramfs}, {Name: "installer-kernel", Kind: Kernel}, {Name: "preseed", Kind: Template},
	}}
	if got := r.Below("esxi-8"); !slices.Equal(got, []string{"BOOT.CFG", "EFI/BOOT/BOOTX64.EFI"}) {
		t.Errorf("below esxi-8: %q", got)
	}
	for _, x := range []struct {
		image   string
		install *rack.Install
		says    string
	}{
		{"debian-13", &rack.Install{Installer: rack.DiskImage}, ""},
		{"", &rack.Install{Installer: rack.DiskImage}, ""},
		{"esxi-8/BOOT.CFG", &rack.Install{Installer: rack.DiskImage}, "add it to the bundle with --kind disk-image"},
		{"sonic", nil, ""},
		{"debian-12/initrd.gz", &rack.Install{Installer: rack.Preseed, Kernel: "debian-12/linux", Template: "preseed"}, ""},
		{"esxi-8/BOOT.CFG", &rack.Install{Installer: rack.ESXi}, ""},
		{"esxi-8/EFI/BOOT/BOOTX64.EFI", &rack.Install{Installer: rack.ESXi}, "no boot.cfg in the folder"},
		{"BOOT.CFG", &rack.Install{Installer: rack.ESXi}, "no boot.cfg in the folder"},
		{"debian-12/initrd.gz", &rack.Install{Installer: rack.Preseed, Kernel: "vmlinuz"}, "install.kernel"},
		{"debian-12/initrd.gz", &rack.Install{Installer: rack.Preseed, Kernel: "preseed"}, "is a template for all platforms"},
		{"debian-12/initrd.gz", &rack.Install{Installer: rack.Preseed, Kernel: "for-others"}, "is a kernel for others"},
		{"debian-12/initrd.gz", &rack.Install{Installer: rack.Preseed, Kernel: "debian-12/linux", Template: "debian-12/linux"}, "install.template"},
	} {
		err := r.FitsInstallers(&rack.Rack{Devices: []rack.Device{{Name: "server-01", Platform: "sim-server", Image: x.image, Install: x.install}}})
		if (err != nil) != (x.says != "") || err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s, %+v: %v, want %q", x.image, x.install, err, x.says)
		}
	}
}

// A disk image needs one installer that its machine can boot: before anything is begun.
func TestFitsInstallersWithoutOne(t *testing.T) {
	device := rack.Device{Name: "server-01", Platform: "sim-server", Image: "debian-13", Install: &rack.Install{Installer: rack.DiskImage}}
	pair := []Artifact{{Name: "installer-initramfs", Kind: Initramfs}, {Name: "installer-kernel", Kind: Kernel}}
	for name, artifacts := range map[string][]Artifact{"none": nil, "half": pair[:1], "two": append([]Artifact{{Name: "amd64/installer-kernel", Kind: Kernel}}, pair...),
		"others'": {pair[0], {Name: "installer-kernel", Kind: Kernel, Platforms: []string{"others"}}}} {
		r := &Release{Name: "1", Artifacts: artifacts}
		if err := r.FitsInstallers(&rack.Rack{Devices: []rack.Device{device}}); err == nil || !strings.Contains(err.Error(), "rackreach bundle build-installer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A small artifact is read whole, and only as its digest says.
func TestReadArtifact(t *testing.T) {
	l := newLayout(t)
	b := release(t, l, "1")
	a := b.Artifacts[slices.IndexFunc(b.Artifacts, func(a Artifact) bool { return a.Disk == nil })]
	got, err := b.ReadArtifact(t.Context(), a.Name, a.Size)
	if err != nil || int64(len(got)) != a.Size {
		t.Errorf("%d bytes, %v; want %d", len(got), err, a.Size)
	}
	if _, err := b.ReadArtifact(t.Context(), a.Name, a.Size-1); err == nil {
		t.Error("more than asked for was read")
	}
	if _, err := b.ReadArtifact(t.Context(), "nothing", 1); err == nil || !strings.Contains(err.Error(), "has no artifact") {
		t.Errorf("one that is not there: %v", err)
	}
}
