package sim

import "testing"

// What a boot script says of an operating system's own installer.
func TestNativeOf(t *testing.T) {
	const at = "http://h/native/t"
	for script, want := range map[string]*native{
		"#!ipxe\nkernel http://h/image/t rackreach.job=http://h/job/t\nboot\n":                                              nil,
		"#!ipxe\nchain " + at + "/mboot.efi\n":                                                                              nil,
		"#!ipxe\nkernel " + at + "/kernel initrd=initrd url=" + at + "/preseed.cfg\n":                                       {kernel: at + "/kernel", answer: at + "/preseed.cfg", base: at},
		"#!ipxe\nkernel " + at + "/kernel inst.ks=" + at + "/ks.cfg inst.repo=http://m/rhel\n":                              {kernel: at + "/kernel", answer: at + "/ks.cfg", base: at},
		"#!ipxe\nkernel " + at + "/kernel autoinstall url=http://m/u.iso cloud-config-url=x ds=nocloud-net;s=" + at + "/\n": {kernel: at + "/kernel", answer: at + "/user-data", base: at},
	} {
		got := nativeOf([]byte(script))
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%q: %+v, want %+v", script, got, want)
		}
	}
}

func TestHostnameOf(t *testing.T) {
	for text, want := range map[string]string{
		"d-i netcfg/get_hostname string server-01\n":                        "server-01",
		"text\nnetwork --bootproto=dhcp --hostname=server-01.r1\n":          "server-01.r1",
		"#cloud-config\nautoinstall:\n  identity:\n    hostname: server-01": "server-01",
		"nothing": "",
	} {
		if got := hostnameOf([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
