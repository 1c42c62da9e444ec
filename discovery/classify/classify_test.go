package classify

import (
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// options are those of one packet, as the wire carries them.
type options struct{ raw []byte }

func discover() *options { return &options{} }

func (p *options) opt(code byte, value ...byte) *options {
	p.raw = append(append(p.raw, code, byte(len(value))), value...)
	return p
}

func (p *options) str(code byte, value string) *options { return p.opt(code, []byte(value)...) }

func (p *options) get(code uint8) []byte {
	o := dhcpv4.Options{}
	if err := o.FromBytes(append(p.raw, 255)); err != nil {
		panic(err)
	}
	return OptionsOf(o)(code)
}

func classify(p *options) Class { return Default().Classify(Packet{Options: p.get}) }

func TestClassifyCapturedStrings(t *testing.T) {
	ipxeFeatures := []byte{0xb1, 5, 1, 0x80, 0x86, 0x10, 0xd3, 0xeb, 3, 1, 0, 0, 0x13, 1, 1}
	ocp := func(subs ...byte) []byte { return append([]byte{0, 0, 0xa6, 0x7f, byte(len(subs))}, subs...) }
	sub := func(code byte, s string) []byte { return append([]byte{code, byte(len(s))}, s...) }
	for _, tt := range []struct {
		name string
		p    *options
		want Class // Evidence apart
	}{
		{"BIOS PXE ROM", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0),
			Class{Stage: rack.StagePXE, Arch: "x86-bios"}},
		{"iPXE on BIOS", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").str(77, "iPXE").opt(93, 0, 0).opt(175, ipxeFeatures...),
			Class{Stage: rack.StageIPXE, Vendor: "iPXE", Arch: "x86-bios"}},
		{"iPXE on UEFI x64", discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "iPXE").opt(93, 0, 7),
			Class{Stage: rack.StageIPXE, Vendor: "iPXE", Arch: "x86_64-uefi"}},
		{"iPXE with another user class", discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "mine").opt(175, ipxeFeatures...),
			Class{Stage: rack.StageIPXE, Vendor: "iPXE", Arch: "x86_64-uefi"}},
		{"iPXE with length prefix", discover().str(77, "\x04iPXE"), Class{Stage: rack.StageIPXE, Vendor: "iPXE"}},
		{"xNBA", discover().str(60, "PXEClient:Arch:00009:UNDI:003010").str(77, "xNBA"),
			Class{Stage: rack.StageIPXE, Vendor: "xNBA", Arch: "x86_64-uefi"}},
		{"Tinkerbell", discover().str(77, "Tinkerbell"), Class{Stage: rack.StageIPXE, Vendor: "Tinkerbell"}},
		{"UEFI PXE x64", discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7),
			Class{Stage: rack.StagePXE, Arch: "x86_64-uefi"}},
		{"UEFI HTTP boot", discover().str(60, "HTTPClient:Arch:00016:UNDI:003000").opt(93, 0, 16),
			Class{Stage: rack.StageHTTPBoot, Arch: "x86_64-uefi"}},
		{"UEFI arm64 PXE", discover().str(60, "PXEClient:Arch:00011:UNDI:003000"), Class{Stage: rack.StagePXE, Arch: "arm64-uefi"}},
		{"UEFI arm64 HTTP", discover().str(60, "HTTPClient:Arch:00019:UNDI:003000"), Class{Stage: rack.StageHTTPBoot, Arch: "arm64-uefi"}},
		{"option 93 alone", discover().opt(93, 0, 7, 0, 9), Class{Stage: rack.StagePXE, Arch: "x86_64-uefi"}},
		{"option 93 alone, HTTP", discover().opt(93, 0, 16), Class{Stage: rack.StageHTTPBoot, Arch: "x86_64-uefi"}},
		{"U-Boot", discover().str(60, "U-Boot.armv8").opt(93, 0, 22), Class{Stage: rack.StagePXE, Vendor: "U-Boot", Arch: "arm64-uboot"}},

		{"ONIE, full", discover().str(60, "onie_vendor:x86_64-accton_as7726_32x-r0").str(77, "\x14onie_dhcp_user_class").
			str(61, "\x00SN-0001").opt(125, ocp(append(append(sub(3, "accton_as7726_32x"), sub(4, "x86_64")...), sub(5, "0")...)...)...),
			Class{Stage: rack.StageONIE, Vendor: "accton", Model: "accton_as7726_32x", Serial: "SN-0001", Arch: "x86_64"}},
		{"ONIE on PowerPC, class only", discover().str(60, "onie_vendor:powerpc-quanta_lb9-r0"),
			Class{Stage: rack.StageONIE, Vendor: "quanta", Model: "quanta_lb9", Arch: "powerpc"}},
		{"ONIE, 125 only", discover().opt(125, ocp(sub(3, "sim_tor48")...)...), Class{Stage: rack.StageONIE, Vendor: "sim", Model: "sim_tor48"}},
		{"ONIE, 125 behind another enterprise", discover().opt(125, append([]byte{0, 0, 0, 9, 2, 1, 0}, ocp(sub(3, "sim_tor48")...)...)...),
			Class{Stage: rack.StageONIE, Vendor: "sim", Model: "sim_tor48"}},
		{"SONiC ZTP", discover().str(77, "SONiC-ZTP").str(61, "SONiC##AS7726-32X##SN42"),
			Class{Stage: rack.StageNOS, Vendor: "SONiC", Model: "AS7726-32X", Serial: "SN42"}},
		{"Cumulus", discover().str(60, "cumulus-linux x86_64"), Class{Stage: rack.StageNOS, Vendor: "Cumulus", Arch: "x86_64"}},
		{"Arista EOS", discover().str(60, "Arista;DCS-7050S-64;01.23;JPE12221671"),
			Class{Stage: rack.StageNOS, Vendor: "Arista", Model: "DCS-7050S-64", Serial: "JPE12221671"}},
		{"Cisco POAP", discover().str(77, "Cisco-POAP").str(61, "FDO1234"), Class{Stage: rack.StageNOS, Vendor: "Cisco", Serial: "FDO1234"}},
		{"Cisco IOS XR", discover().opt(124, append([]byte{0, 0, 0, 9, 24}, "SN:0;PID:R-IOSXRV9000-CC"...)...),
			Class{Stage: rack.StageNOS, Vendor: "Cisco", Model: "R-IOSXRV9000-CC", Serial: "0"}},
		{"Cisco Firepower", discover().str(60, "FPR4100").str(61, "JMX2525X0BW"),
			Class{Stage: rack.StageNOS, Vendor: "Cisco", Model: "FPR4100", Serial: "JMX2525X0BW"}},
		{"Juniper", discover().str(60, "Juniper-ptx1000-DD576"), Class{Stage: rack.StageNOS, Vendor: "Juniper", Model: "ptx1000", Serial: "DD576"}},
		{"Juniper, dash in the model", discover().str(60, "Juniper-qfx10002-361-DN817"),
			Class{Stage: rack.StageNOS, Vendor: "Juniper", Model: "qfx10002-361", Serial: "DN817"}},
		{"Juniper, serial in the host name", discover().str(60, "Juniper-qfx10008").str(12, "DE123"),
			Class{Stage: rack.StageNOS, Vendor: "Juniper", Model: "qfx10008", Serial: "DE123"}},
		{"Juniper, colons", discover().str(60, "Juniper:ex4300-48t:DN817"),
			Class{Stage: rack.StageNOS, Vendor: "Juniper", Model: "ex4300-48t", Serial: "DN817"}},
		{"ZPE", discover().str(60, "ZPESystems:NSC:002251623"), Class{Stage: rack.StageNOS, Vendor: "ZPESystems", Model: "NSC", Serial: "002251623"}},
		{"iDRAC", discover().str(60, "iDRAC"), Class{Stage: rack.StageBMC, Vendor: "Dell"}},
		{"iLO", discover().str(60, "CPQRIB3"), Class{Stage: rack.StageBMC, Vendor: "HPE"}},
		{"BlueField BMC", discover().str(60, "NVIDIA/BF/BMC"), Class{Stage: rack.StageBMC, Vendor: "NVIDIA"}},
		{"OpenBMC", discover().str(60, "OpenBMC:SN7"), Class{Stage: rack.StageBMC, Vendor: "OpenBMC", Serial: "SN7"}},
		{"busybox", discover().str(60, "udhcp 1.35.0"), Class{Stage: rack.StageOS, Vendor: "busybox"}},
		{"dhcpcd", discover().str(60, "dhcpcd-9.4.1:Linux-6.1:x86_64:x86_64"), Class{Stage: rack.StageOS, Vendor: "dhcpcd"}},
		{"Windows", discover().str(60, "MSFT 5.0"), Class{Stage: rack.StageOS, Vendor: "Microsoft"}},
		{"ISC dhclient says nothing", discover(), Class{Stage: rack.StageUnknown}},
		{"a stranger", discover().str(60, "toaster"), Class{Stage: rack.StageUnknown}},

		{"77 beats 60", discover().str(60, "udhcp 1.35.0").str(77, "\x14onie_dhcp_user_class"), Class{Stage: rack.StageONIE}},
		{"another stage's strings are left alone", discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "\x14onie_dhcp_user_class").opt(93, 0, 7),
			Class{Stage: rack.StageONIE}},
		{"a class that only resembles", discover().str(60, "iDRACula"), Class{Stage: rack.StageUnknown}},
		{"truncated 125", discover().opt(125, 0, 0, 0xa6, 0x7f, 200, 3), Class{Stage: rack.StageUnknown}},
		{"closing NUL", discover().str(60, "iDRAC\x00"), Class{Stage: rack.StageBMC, Vendor: "Dell"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Default().Classify(Packet{Options: tt.p.get})
			if (got.Evidence == "") != (got.Stage == rack.StageUnknown) {
				t.Errorf("stage %s with evidence %q", got.Stage, got.Evidence)
			}
			got.Evidence, got.Device = "", ""
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestClassifyNamesItsEvidence(t *testing.T) {
	got := classify(discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "iPXE").opt(93, 0, 7))
	if want := `77="iPXE" 60="PXEClient:Arch:00007:UNDI:003010" 93=7`; got.Evidence != want {
		t.Errorf("got %s, want %s", got.Evidence, want)
	}
}

func TestClassifyBoundsAndEscapes(t *testing.T) {
	evil := "x86_64-\x1b[2Jsim_\xff\n" + strings.Repeat("A", 180)
	got := classify(discover().str(60, "onie_vendor:"+evil+"-r0"))
	for _, s := range []string{got.Vendor, got.Model, got.Serial, got.Arch, got.Evidence} {
		if len(s) > maxEvidence || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("not fit to show: %q", s)
		}
	}
	if len(got.Model) > MaxString || !strings.HasPrefix(got.Model, `\x1b[2Jsim_\xff\x0a`) || !strings.HasSuffix(got.Model, cutMark) {
		t.Errorf("model %q", got.Model)
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 8, ""}, {"swp1", 8, "swp1"}, {"a\\b", 8, `a\\b`}, {"a\x00b\x00\x00", 8, `a\x00b`},
		{"12345678", 8, "12345678"}, {"123456789", 8, "12345..."}, {"12\x01\x01", 8, `12...`}, {"\x01\x01\x01", 8, `\x01...`},
	} {
		if got := Printable([]byte(tt.in), tt.limit); got != tt.want {
			t.Errorf("Printable(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}
