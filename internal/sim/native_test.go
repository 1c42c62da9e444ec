package sim

import "testing"

// What a boot script says of an operating system's own installer.
func TestNativeOf(t *testing.T) {
	const at = "http://h/native/t"
	for script, want := range map[string]*native{
		"#!ipxe\nkernel http://h/image/t rackreach.job=http://h/job/t\nboot\n":                                              nil,
		"#!ipxe\nchain " + at + "/mboot.efi\n":                                                                              nil,
		"#!ipxe\nkernel " + at + "/kernel initrd=initrd url=" + at + "/preseed.cfg\n":                                       {at + "/kernel", at + "/preseed.cfg", at},
		"#!ipxe\nkernel " + at + "/kernel inst.ks=" + at + "/ks.cfg inst.repo=http://m/rhel\n":                              {at + "/kernel", at + "/ks.cfg", at},
		"#!ipxe\nkernel " + at + "/kernel autoinstall url=http://m/u.iso cloud-config-url=x ds=nocloud-net;s=" + at + "/\n": {at + "/kernel", at + "/user-data", at},
	} {
		got := nativeOf([]byte(script))
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%q: %+v, want %+v", script, got, want)
		}
	}
}
