package bundle

import "testing"

// A platform has the one installer that is for it, or none.
func TestInstaller(t *testing.T) {
	part := func(name string, kind Kind, platforms ...string) Artifact {
		return Artifact{Name: name, Kind: kind, Platforms: platforms}
	}
	x := &Images{b: &Bundle{Release: &Release{Artifacts: []Artifact{
		part("arm64/installer-initramfs", Initramfs, "arm"), part("arm64/installer-kernel", Kernel, "arm", "half"), part("debian/linux", Kernel, "amd"),
		part("installer-initramfs", Initramfs, "amd", "twice"), part("installer-kernel", Kernel, "amd", "twice"), part("old/installer-kernel", Kernel, "twice"),
	}}}}
	for platform, want := range map[string]string{"amd": "installer-kernel installer-initramfs", "arm": "arm64/installer-kernel arm64/installer-initramfs", "half": "", "twice": "", "none": ""} {
		kernel, initramfs, ok := x.Installer(platform)
		if ok != (want != "") || ok && kernel+" "+initramfs != want {
			t.Errorf("%s: %q %q %t, want %q", platform, kernel, initramfs, ok, want)
		}
	}
}
