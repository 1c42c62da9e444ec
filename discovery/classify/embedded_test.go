package classify

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// duid is option 61 with a DUID: type 255, an IAID, and the rest.
func duid(rest string) string { return "\xff\x00\x01\x02\x03" + rest }

// clientID is option 61 as most clients send it: 1 and the MAC.
const clientID = "\x01\x52\x54\x00\x01\x02\x03"

// machineID is option 97 of 4c4c4544-0042-3510-8052-b4c04f4e3132.
func machineID() []byte {
	b, err := hex.DecodeString("0044454c4c4200103580" + "52b4c04f4e3132")
	if err != nil {
		panic(err)
	}
	return b
}

// rows are the packets of the known devices, by the rule that decides. The first
// of each is as it was captured or is documented.
var rows = []struct {
	rule string
	p    *options
	want Class // Evidence apart
}{
	{"ipxe", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").str(77, "iPXE").str(61, clientID).opt(93, 0, 0).opt(94, 1, 2, 1).opt(97, machineID()...).opt(175, 0xb1, 5, 1, 0x80, 0x86, 0x10, 0xd3, 0xeb, 3, 1, 0, 0),
		Class{DeviceFirmware, rack.StageIPXE, "iPXE", "", "", "x86-bios", ""}},
	{"xnba", discover().str(60, "PXEClient:Arch:00009:UNDI:003010").str(77, "xNBA").opt(93, 0, 9), Class{DeviceFirmware, rack.StageIPXE, "xNBA", "", "", "x86_64-uefi", ""}},
	{"tinkerbell", discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "Tinkerbell").opt(93, 0, 7), Class{DeviceFirmware, rack.StageIPXE, "Tinkerbell", "", "", "x86_64-uefi", ""}},
	{"onie", discover().str(60, "onie_vendor:powerpc-quanta_lb9-r0").str(77, "\x14onie_dhcp_user_class").str(61, "\x00QTFCA6"), Class{DeviceSwitch, rack.StageONIE, "quanta", "quanta_lb9", "QTFCA6", "powerpc", ""}},
	{"sonic-ztp", discover().str(77, "SONiC-ZTP").str(61, "SONiC##AS7726-32X##SN42").opt(55, 66, 67, 224, 225, 226, 239), Class{DeviceSwitch, rack.StageNOS, "SONiC", "AS7726-32X", "SN42", "", ""}},
	{"sonic-client-id", discover().str(61, "SONiC##AS7726-32X##SN42"), Class{DeviceSwitch, rack.StageNOS, "SONiC", "AS7726-32X", "SN42", "", ""}},
	{"cisco-poap", discover().str(77, "Cisco-POAP").str(61, "\x00FDO1234").opt(55, 1, 66, 67, 150), Class{DeviceSwitch, rack.StageNOS, "Cisco", "", "FDO1234", "", ""}},
	{"cisco-poap", discover().str(77, "Cisco-POAP").str(61, clientID), Class{DeviceSwitch, rack.StageNOS, "Cisco", "", "", "", ""}},
	{"ipxe-options", discover().str(60, "site 5").str(77, "site 5").opt(93, 0, 7).opt(175, 0x13, 1, 1), Class{DeviceFirmware, rack.StageIPXE, "iPXE", "", "", "x86_64-uefi", ""}},
	{"onie-machine", discover().opt(125, 0, 0, 0xa6, 0x7f, 30, 3, 17, 'a', 'c', 'c', 't', 'o', 'n', '_', 'a', 's', '7', '7', '2', '6', '_', '3', '2', 'x', 4, 6, 'x', '8', '6', '_', '6', '4', 5, 1, '0'),
		Class{DeviceSwitch, rack.StageONIE, "accton", "accton_as7726_32x", "", "x86_64", ""}},
	{"cisco-ios-xr", discover().opt(124, append([]byte{0, 0, 0, 9, 24}, "SN:0;PID:R-IOSXRV9000-CC"...)...), Class{DeviceSwitch, rack.StageNOS, "Cisco", "R-IOSXRV9000-CC", "0", "", ""}},
	{"cisco-ios-xr", discover().opt(124, append([]byte{0, 0, 0, 9, 9, 8}, "SN:1;X:2"...)...), Class{DeviceSwitch, rack.StageNOS, "Cisco", "", "1", "", ""}},
	{"onie-class", discover().str(60, "onie_vendor:x86_64-accton_as7726_32x-r0"), Class{DeviceSwitch, rack.StageONIE, "accton", "accton_as7726_32x", "", "x86_64", ""}},
	{"onie-class", discover().str(60, "onie_vendor:x86_64-dash-es_a-r1-r0"), Class{DeviceSwitch, rack.StageONIE, "dash-es", "dash-es_a-r1", "", "x86_64", ""}},
	{"http-client", discover().str(60, "HTTPClient:Arch:00016:UNDI:003000").opt(93, 0, 16).opt(94, 1, 3, 0).opt(97, machineID()...), Class{DeviceFirmware, rack.StageHTTPBoot, "", "", "", "x86_64-uefi", ""}},
	{"http-client", discover().str(60, "HTTPClient:Arch:00016:UNDI:003001"), Class{DeviceFirmware, rack.StageHTTPBoot, "", "", "", "x86_64-uefi", ""}},
	{"http-client", discover().str(60, "HTTPClient:Arch:00019:UNDI:003000"), Class{DeviceFirmware, rack.StageHTTPBoot, "", "", "", "arm64-uefi", ""}},
	{"pxe-client", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0), Class{DeviceFirmware, rack.StagePXE, "", "", "", "x86-bios", ""}},
	{"pxe-client", discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7).opt(94, 1, 3, 0).opt(97, machineID()...), Class{DeviceFirmware, rack.StagePXE, "", "", "", "x86_64-uefi", ""}},
	{"pxe-client", discover().str(60, "PXEClient:Arch:00011:UNDI:003000"), Class{DeviceFirmware, rack.StagePXE, "", "", "", "arm64-uefi", ""}},
	{"pxe-client", discover().str(60, "PXEClient:Arch:00099:UNDI:003000"), Class{DeviceFirmware, rack.StagePXE, "", "", "", "arch-99", ""}},
	{"pxe-client", discover().str(60, "PXEClient:Arch:many"), Class{DeviceFirmware, rack.StagePXE, "", "", "", "", ""}},
	{"u-boot", discover().str(60, "U-Boot.armv7"), Class{DeviceFirmware, rack.StagePXE, "U-Boot", "", "", "armv7", ""}},
	{"u-boot", discover().str(60, "U-Boot.armv8").opt(93, 0, 22).opt(94, 1, 0, 0), Class{DeviceFirmware, rack.StagePXE, "U-Boot", "", "", "arm64-uboot", ""}},
	{"u-boot", discover().str(60, "U-Boot"), Class{DeviceFirmware, rack.StagePXE, "U-Boot", "", "", "", ""}},
	{"linux-switch", discover().str(60, "linux-switch"), Class{DeviceSwitch, rack.StageNOS, "Linux", "", "", "", ""}},
	{"cumulus", discover().str(60, "cumulus-linux x86_64").opt(55, 1, 3, 239), Class{DeviceSwitch, rack.StageNOS, "Cumulus", "", "", "x86_64", ""}},
	{"arista-eos", discover().str(60, "Arista;DCS-7050S-64;01.23;JPE12221671"), Class{DeviceSwitch, rack.StageNOS, "Arista", "DCS-7050S-64", "JPE12221671", "", ""}},
	{"arista-eos", discover().str(60, "Arista;DCS-7050S-64"), Class{DeviceSwitch, rack.StageNOS, "Arista", "", "", "", ""}},
	{"juniper-colons", discover().str(60, "Juniper:ex4300-48t:DN817"), Class{DeviceSwitch, rack.StageNOS, "Juniper", "ex4300-48t", "DN817", "", ""}},
	{"juniper", discover().str(60, "Juniper-qfx10002-361-DN817").opt(55, 3, 51, 1, 15, 6, 66, 67, 120, 44, 43, 150, 12, 7, 42), Class{DeviceSwitch, rack.StageNOS, "Juniper", "qfx10002-361", "DN817", "", ""}},
	{"juniper-host-name", discover().str(60, "Juniper-qfx10008").str(12, "DE123"), Class{DeviceSwitch, rack.StageNOS, "Juniper", "qfx10008", "DE123", "", ""}},
	{"dell-ftos", discover().str(60, "TY=DELLNTW-S4810   HW=3.0 SN=HADL134J20193   ST=5X1JDS1 OS=9.2(0.0) MD=JUMPSTART US="), Class{DeviceSwitch, rack.StageNOS, "Dell", "S4810", "HADL134J20193", "", ""}},
	{"nokia-sros", discover().str(60, "NOKIA:7750 SR-1:x").str(77, "7750 SR;TiMOS-B-21.7.R1;ztp").str(61, "NS1234"), Class{DeviceSwitch, rack.StageNOS, "Nokia", "7750 SR", "NS1234", "", ""}},
	{"nokia-sros", discover().str(60, "NOKIA:7750 SR-1:x").str(61, clientID), Class{DeviceSwitch, rack.StageNOS, "Nokia", "", "", "", ""}},
	{"cisco-firepower", discover().str(60, "FPR4100").str(61, "JMX2525X0BW"), Class{DeviceFirewall, rack.StageNOS, "Cisco", "FPR4100", "JMX2525X0BW", "", ""}},
	{"cisco-pnp", discover().str(60, "ciscopnp"), Class{DeviceSwitch, rack.StageNOS, "Cisco", "", "", "", ""}},
	{"zpe", discover().str(60, "ZPESystems:NSC:002251623"), Class{DeviceConsole, rack.StageNOS, "ZPESystems", "NSC", "002251623", "", ""}},
	{"edgecore-ecs", discover().str(60, "ECS4620-28T").opt(55, 66, 67), Class{DeviceSwitch, rack.StageNOS, "Edgecore", "ECS4620-28T", "", "", ""}},
	{"edgecore-ecs", discover().str(60, "ECS4120-28Fv2-I"), Class{DeviceSwitch, rack.StageNOS, "Edgecore", "ECS4120-28Fv2-I", "", "", ""}},
	{"aruba-instant", discover().str(60, "ArubaInstantAP"), Class{DeviceAccessPoint, rack.StageUnknown, "Aruba", "", "", "", ""}},
	{"dell-idrac", discover().str(60, "iDRAC"), Class{DeviceBMC, rack.StageBMC, "Dell", "", "", "", ""}},
	{"hpe-ilo", discover().str(60, "CPQRIB3"), Class{DeviceBMC, rack.StageBMC, "HPE", "", "", "", ""}},
	{"nvidia-bluefield-bmc", discover().str(60, "NVIDIA/BF/BMC"), Class{DeviceBMC, rack.StageBMC, "NVIDIA", "", "", "", ""}},
	{"nvidia-bluefield", discover().str(60, "NVIDIA/BF/OOB"), Class{DeviceDPU, rack.StageUnknown, "NVIDIA", "", "", "", ""}},
	{"nvidia-bluefield", discover().str(60, "BF2Client"), Class{DeviceDPU, rack.StageUnknown, "NVIDIA", "", "", "", ""}},
	{"openbmc-fboss", discover().str(60, "OpenBMC:SN7"), Class{DeviceBMC, rack.StageBMC, "OpenBMC", "", "SN7", "", ""}},
	{"busybox", discover().str(60, "udhcp 1.35.0").str(61, clientID), Class{"", rack.StageOS, "busybox", "", "", "", ""}},
	{"dhcpcd", discover().str(60, "dhcpcd-9.4.1:Linux-6.1.0:x86_64:GenuineIntel"), Class{DeviceHost, rack.StageOS, "dhcpcd", "", "", "", ""}},
	{"dhcpcd-debian", discover().str(61, duid("\x00\x01\x00\x01\x2c\x11\x22\x33\x52\x54\x00\x01\x02\x03")).opt(80).opt(145, 1), Class{DeviceHost, rack.StageOS, "dhcpcd", "", "", "", ""}},
	{"windows", discover().str(60, "MSFT 5.0").str(61, clientID), Class{DeviceHost, rack.StageOS, "Microsoft", "", "", "", ""}},
	{"architecture-http", discover().opt(93, 0, 16), Class{DeviceFirmware, rack.StageHTTPBoot, "", "", "", "x86_64-uefi", ""}},
	{"architecture", discover().opt(93, 0, 7, 0, 9), Class{DeviceFirmware, rack.StagePXE, "", "", "", "x86_64-uefi", ""}},
	{"network-card-and-guid", discover().opt(94, 1, 3, 0).opt(97, machineID()...), Class{DeviceFirmware, rack.StagePXE, "", "", "", "", ""}},
	{"systemd-networkd", discover().str(61, duid("\x00\x02\x00\x00\xab\x11\x01\x02\x03\x04\x05\x06\x07\x08")), Class{"", rack.StageUnknown, "systemd", "", "", "", ""}},
	{"dhclient", discover().opt(55, 1, 28, 2, 3, 15, 6, 12), Class{"", rack.StageUnknown, "dhclient", "", "", "", ""}},
	{"dhclient-debian", discover().opt(55, 1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42), Class{"", rack.StageUnknown, "dhclient", "", "", "", ""}},
	{"sonic-asks", discover().opt(55, 1, 66, 67, 239, 224, 225, 226), Class{DeviceSwitch, rack.StageUnknown, "SONiC", "", "", "", ""}},
	{"cumulus-asks", discover().opt(55, 1, 3, 239), Class{DeviceSwitch, rack.StageUnknown, "Cumulus", "", "", "", ""}},
	{"juniper-asks", discover().opt(55, 3, 51, 1, 15, 6, 66, 67, 120, 44, 43, 150, 12, 7, 42), Class{DeviceSwitch, rack.StageUnknown, "Juniper", "", "", "", ""}},
}

// TestEveryEmbeddedRule is reached by a packet, and says what it is there for.
func TestEveryEmbeddedRule(t *testing.T) {
	spoke := map[string]bool{}
	for _, x := range rows {
		e := Default().Explain(Packet{Options: x.p.get})
		got := e.Class
		got.Evidence = ""
		if got != x.want {
			t.Errorf("%s: got  %+v\nwant %+v", x.rule, got, x.want)
		}
		if len(e.Steps) == 0 || e.Steps[0].Rule != x.rule || len(e.Steps[0].Gave) == 0 {
			t.Errorf("rule %s does not decide: %+v", x.rule, e.Steps)
		}
		if c := classify(x.p); c != e.Class {
			t.Errorf("%s: explained as %+v, classified as %+v", x.rule, e.Class, c)
		}
		spoke[x.rule] = true
	}
	for _, r := range Default().rules {
		if !spoke[r.name] {
			t.Errorf("no packet reaches rule %s (%s:%d): add one to rows", r.name, r.file, r.line)
		}
	}
}

// TestEmbeddedRulesNameTheirSources, and their marks.
func TestEmbeddedRulesNameTheirSources(t *testing.T) {
	for _, r := range Default().rules {
		if r.source == "" || !slices.Contains(marks, r.mark) {
			t.Errorf("rule %s: source %q, mark %q", r.name, r.source, r.mark)
		}
	}
	for name := range Default().archs {
		if n := Default().archName(name); n == "" || strings.HasPrefix(n, "arch-") {
			t.Errorf("architecture %d is %q", name, n)
		}
	}
}

func TestOUIs(t *testing.T) {
	count := map[string]int{}
	for _, v := range Default().ouis {
		count[v]++
	}
	for _, x := range []struct {
		vendor string
		count  int
		some   string
	}{
		{"Quanta", 21, "2C600C 089E01 C80AA9 60EB69 54AB3A A81E84"}, {"Arista", 56, "001C73 444CA8 28993A 2CDDE9 D4AFF7"}, {"Cisco", 1248, ""}, {"Juniper", 209, ""},
		{"Dell", 184, "D4AE52 D09466 54BF64 F8BC12"}, {"Force10", 1, "0001E8"}, {"HPE", 176, ""}, {"HP", 150, "D89D67 9457A5"},
		{"Supermicro", 8, "002590 003048 0CC47A 3CECEF 7CC255 905A08 AC1F6B B0D616"}, {"NVIDIA", 85, "0002C9 B8CEF6 0C42A1 7CFE90"},
		{"Edgecore", 31, "CC37AB 8CEA1B 80A235 7072CF 3C2C99 B86A97"}, {"Celestica", 10, "00E0EC"}, {"Cumulus", 1, "443839"}, {"AMI", 1, "0040D9"},
		{"VMware", 4, "000C29 005056 000569"}, {"QEMU", 1, "525400"},
	} {
		if count[x.vendor] != x.count {
			t.Errorf("%s has %d prefixes, want %d", x.vendor, count[x.vendor], x.count)
		}
		for s := range strings.FieldsSeq(x.some) {
			mac, err := hex.DecodeString(s + "010203")
			if err != nil {
				t.Fatal(err)
			}
			got := Default().Classify(Packet{Options: discover().get, MAC: mac})
			if want := (Class{Stage: rack.StageUnknown, Vendor: x.vendor, Evidence: "oui=" + strings.ToLower(s)}); got != want {
				t.Errorf("%s: %+v", s, got)
			}
		}
	}
}

// TestOUIIsTheLastHint: whoever names a vendor goes before it.
func TestOUIIsTheLastHint(t *testing.T) {
	mac := []byte{0x00, 0x1c, 0x73, 1, 2, 3} // Arista's
	for _, x := range []struct {
		p    *options
		want string
	}{{discover().str(60, "iDRAC"), "Dell"}, {discover().opt(55, 239), "Cumulus"}, {discover().str(60, "PXEClient:Arch:00007:UNDI:003000"), "Arista"}} {
		got := Default().Classify(Packet{Options: x.p.get, MAC: mac})
		if got.Vendor != x.want || (x.want != "Arista") == strings.Contains(got.Evidence, "oui") {
			t.Errorf("%+v", got)
		}
	}
}
