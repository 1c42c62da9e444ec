package discovery

import (
	"net"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestBootAnswers25(t *testing.T) {
	type want struct {
		file  bool   // siaddr, file and 67
		class string // 60
		pxe   string // 43
		ipxe  string // 175
		onie  bool   // 114 and 125
	}
	for _, tt := range []struct {
		name string
		p    *packet
		want want
	}{
		{"BIOS PXE", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0),
			want{file: true, class: "PXEClient", pxe: "\x06\x01\x08\xff"}},
		{"UEFI PXE", discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7), want{file: true, class: "PXEClient"}},
		{"iPXE on BIOS", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").str(77, "iPXE").opt(93, 0, 0),
			want{file: true, ipxe: "\xb0\x01\x01"}},
		{"U-Boot", discover().str(60, "U-Boot.armv8"), want{file: true}},
		{"UEFI HTTP boot, a TFTP path", discover().str(60, "HTTPClient:Arch:00016:UNDI:003000"), want{}},
		{"ONIE", discover().str(60, "onie_vendor:x86_64-sim_tor48-r0"), want{onie: true}},
		{"NOS", discover().str(60, "cumulus-linux x86_64"), want{}},
		{"OS", discover().str(60, "udhcp 1.35.0"), want{}},
		{"BMC", discover().str(60, "iDRAC"), want{}},
		{"says nothing", discover(), want{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, d := answerTo(t, tt.p)
			get := func(code byte) string { return string(d.Options.Get(dhcpv4.GenericOptionCode(code))) }
			if tt.want.file {
				if d.BootFileName != bootFile || get(67) != bootFile || d.ServerIPAddr.String() != ours {
					t.Errorf("file %q, 67 %q, siaddr %s", d.BootFileName, get(67), d.ServerIPAddr)
				}
			} else if d.BootFileName != "" || get(67) != "" || !d.ServerIPAddr.IsUnspecified() {
				t.Errorf("a boot file for %s", tt.name)
			}
			if get(60) != tt.want.class || get(43) != tt.want.pxe || get(175) != tt.want.ipxe {
				t.Errorf("60 %q, 43 %q, 175 %q", get(60), get(43), get(175))
			}
			block := ""
			if tt.want.onie {
				block = "\x00\x00\xa6\x7f" + string(rune(len(installer)+2)) + "\x01" + string(rune(len(installer))) + installer
				if get(114) != installer {
					t.Errorf("114 %q", get(114))
				}
			} else if get(114) != "" {
				t.Errorf("an installer for %s", tt.name)
			}
			if get(125) != block {
				t.Errorf("125 %q, want %q", get(125), block)
			}
		})
	}
}

// bootWith answers one packet from an entry that was changed.
func bootWith(t *testing.T, p *packet, change func(*Entry)) (Result, *dhcpv4.DHCPv4) {
	t.Helper()
	table := testTable()
	e := table.mac["52:54:00:01:02:03"]
	change(&e)
	table.mac["52:54:00:01:02:03"] = e
	res := testServer(t, Options{Table: func() Table { return table }}).Handle(p.bytes(), sender)
	d, err := dhcpv4.FromBytes(res.Reply.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return res, d
}

func TestWithoutTicketNoBootFile(t *testing.T) {
	closed := func(e *Entry) { e.BootFile, e.InstallerURL = "", "" }
	for _, class := range []string{"PXEClient:Arch:00000:UNDI:002001", "onie_vendor:x86_64-sim_tor48-r0", "HTTPClient:Arch:00016:UNDI:003000"} {
		_, d := bootWith(t, discover().str(60, class), closed)
		for _, code := range []byte{43, 60, 66, 67, 114, 125} {
			if d.Options.Has(dhcpv4.GenericOptionCode(code)) {
				t.Errorf("%s: option %d", class, code)
			}
		}
		if d.BootFileName != "" || !d.ServerIPAddr.IsUnspecified() || d.YourIPAddr.String() != mine {
			t.Errorf("%s: %s", class, d.Summary())
		}
	}
	if _, d := bootWith(t, discover().str(77, "iPXE"), closed); !d.Options.Has(dhcpv4.OptionEtherboot) {
		t.Error("iPXE without a boot file waits for a proxy")
	}
}

func TestBootFileLengths(t *testing.T) {
	pxe := func() *packet { return discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(57, 5, 192) }
	for n, file := range map[int]bool{127: true, 128: false, 255: false, 300: false} {
		name := strings.Repeat("b", n)
		_, d := bootWith(t, pxe(), func(e *Entry) { e.BootFile = name })
		if string(d.Options.Get(dhcpv4.OptionBootfileName)) != name {
			t.Errorf("28: %d bytes: option 67 is not whole", n)
		}
		if (d.BootFileName == name) != file || (!file && d.BootFileName != "") {
			t.Errorf("%d bytes: file %q", n, d.BootFileName)
		}
	}
}

func TestInstallerURLTooLongForEnterpriseBlock(t *testing.T) {
	url := "http://192.168.100.254/" + strings.Repeat("u", 240)
	_, d := bootWith(t, discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").opt(57, 5, 192), func(e *Entry) { e.InstallerURL = url })
	if string(d.Options.Get(dhcpv4.OptionURL)) != url || d.Options.Has(dhcpv4.OptionVendorIdentifyingVendorSpecific) {
		t.Error(d.Summary())
	}
}

func TestHTTPBoot(t *testing.T) {
	p := discover().str(60, "HTTPClient:Arch:00016:UNDI:003000")
	_, d := bootWith(t, p, func(e *Entry) { e.BootFile = "http://192.168.100.254/ipxe.efi" })
	if got := string(d.Options.Get(dhcpv4.OptionClassIdentifier)); got != "HTTPClient" || d.BootFileName == "" {
		t.Errorf("60 %q, file %q", got, d.BootFileName)
	}
}

func TestNextServerAndTFTPOptions(t *testing.T) {
	p := discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(55, 66, 150)
	_, d := bootWith(t, p, func(e *Entry) { e.NextServer = e.Router })
	if got := net.IP(d.Options.Get(dhcpv4.OptionTFTPServerAddress)).String(); got != "192.168.100.250" || d.ServerIPAddr.String() != got || d.TFTPServerName() != got {
		t.Errorf("150 %s, siaddr %s, 66 %s", got, d.ServerIPAddr, d.TFTPServerName())
	}
}

func TestWhatAnAnswerProves(t *testing.T) {
	pick := func(p *packet) *packet { return p.addr(50, mine).addr(54, ours) }
	for _, tt := range []struct {
		name string
		p    *packet
		want rack.Evidence
	}{
		{"BMC", pick(asks().str(60, "iDRAC")), rack.DHCPBMC},
		{"PXE", pick(asks().str(60, "PXEClient:Arch:00007:UNDI:003000")), rack.DHCPPXE},
		{"iPXE", pick(asks().str(77, "iPXE")), rack.DHCPPXE},
		{"ONIE", pick(asks().str(60, "onie_vendor:x86_64-sim_tor48-r0")), rack.DHCPONIE},
		{"NOS", pick(asks().str(60, "cumulus-linux x86_64")), rack.DHCPNOS},
		{"OS", pick(asks().str(60, "udhcp 1.35.0")), rack.DHCPOS},
		{"OS, INFORM", message(dhcpv4.MessageTypeInform).is(mine).str(60, "udhcp 1.35.0"), rack.DHCPOS},
		{"unknown class", pick(asks()), rack.NoEvidence},
		{"asked for only", discover().str(60, "iDRAC"), rack.NoEvidence},
		{"refused", asks().str(60, "iDRAC").addr(50, torAddr), rack.NoEvidence},
		{"another server's", asks().str(60, "iDRAC").addr(50, mine).addr(54, theirs), rack.NoEvidence},
		{"INFORM from elsewhere", message(dhcpv4.MessageTypeInform).is(torAddr).str(60, "udhcp 1.35.0"), rack.NoEvidence},
		{"declined", pick(message(dhcpv4.MessageTypeDecline)).str(56, "in use\n"), rack.DHCPDeclined},
		{"declined another", message(dhcpv4.MessageTypeDecline).addr(50, torAddr), rack.NoEvidence},
		{"released", message(dhcpv4.MessageTypeRelease).is(mine), rack.NoEvidence},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, _ := answerTo(t, tt.p)
			o := res.Seen.Observation
			if o.Proves != tt.want {
				t.Errorf("proves %q, want %q", o.Proves, tt.want)
			}
			if (o.Address == mine) != (res.Outcome == Acknowledged || tt.want == rack.DHCPDeclined) {
				t.Errorf("address %q", o.Address)
			}
			if tt.name == "declined" && o.Message != `in use\x0a` {
				t.Errorf("message %q", o.Message)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	guid := []byte{0x44, 0x45, 0x4c, 0x4c, 0x42, 0, 0x10, 0x35, 0x80, 0x52, 0xb4, 0xc0, 0x4f, 0x4e, 0x31, 0x32}
	for _, tt := range []struct {
		name string
		p    *packet
		want rack.Keys
	}{
		{"direct", discover(), rack.Keys{Direct: true, Stage: rack.StageUnknown}},
		{"UUID", discover().opt(97, append([]byte{0}, guid...)...), rack.Keys{Direct: true, Stage: rack.StageUnknown, UUID: "44454c4c420010358052b4c04f4e3132"}},
		{"UUID of another type", discover().opt(97, append([]byte{1}, guid...)...), rack.Keys{Direct: true, Stage: rack.StageUnknown}},
		{"UUID of zeros", discover().opt(97, make([]byte, 17)...), rack.Keys{Direct: true, Stage: rack.StageUnknown}},
		{"relayed", discover().via(relayAddr, "mgmt-1", "45", 19, 0), rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: "45"}, Stage: rack.StageUnknown}},
		{"snooped by a switch, no giaddr", func() *packet { p := discover().via(relayAddr, "mgmt-1", "45"); p.giaddr = ""; return p }(),
			rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: "45"}, Stage: rack.StageUnknown}},
		{"hostile port name", discover().via(relayAddr, "mgmt-1", "4\n5"), rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: `4\x0a5`}, Stage: rack.StageUnknown}},
		{"endless port name", discover().via(relayAddr, "mgmt-1", strings.Repeat("4", 200)),
			rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: strings.Repeat("4", 61) + "..."}, Stage: rack.StageUnknown}},
		{"36 a renewal is not direct", asks().is(mine), rack.Keys{Stage: rack.StageUnknown}},
		{"model", discover().str(60, "onie_vendor:x86_64-sim_tor48-r0"), rack.Keys{Direct: true, Stage: rack.StageONIE, Model: "sim_tor48"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.MAC = "52:54:00:01:02:03"
			res, _ := answerTo(t, tt.p)
			if res.Seen.Keys != tt.want {
				t.Errorf("got  %+v\nwant %+v", res.Seen.Keys, tt.want)
			}
			if o := res.Seen.Observation; o.MAC != tt.want.MAC || o.UUID != tt.want.UUID || o.Via != tt.want.Via || o.Stage != tt.want.Stage || o.Model != tt.want.Model || o.Source != rack.FromDHCP {
				t.Errorf("observation %+v", o)
			}
		})
	}
}
