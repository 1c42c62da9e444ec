package reply

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

var (
	agent  = netip.MustParseAddr("192.168.100.254")
	device = netip.MustParseAddr("192.168.100.2")
	other  = netip.MustParseAddr("192.168.100.250")
)

// full is an entry that has something for everybody.
func full() Entry {
	return Entry{
		Device: "tor-1", End: "management", Address: device, Prefix: netip.MustParsePrefix("192.168.100.0/24"), Hostname: "tor-1",
		Router: other, DNS: Servers{netip.MustParseAddr("192.168.100.53")}, NTP: Servers{netip.MustParseAddr("192.168.100.123"), other}, Syslog: netip.MustParseAddr("192.168.100.14"),
		BootFile: "t/ipxe.efi", BootURL: "http://h/boot.efi", ScriptURL: "http://h/boot.ipxe", InstallerURL: "http://h/onie-installer",
		ProvisionURL: "http://192.168.100.9:8080/ztp/tor-1.sh",
	}
}

func client(stage rack.Stage, vendor, class string, wants ...byte) Client {
	return Client{Kind: dhcpv4.MessageTypeDiscover, Stage: stage, Vendor: vendor, Class: class, Wants: wants, Limit: 1472}
}

func offer() Message {
	return Message{Kind: dhcpv4.MessageTypeOffer, ServerID: agent, XID: [4]byte{1, 2, 3, 4}, HType: 1, YIAddr: device, Hardware: [6]byte{2, 0, 0, 0, 0, 1}}
}

// opt is an option as it stands in a packet.
func opt(code byte, value string) string { return string([]byte{code, byte(len(value))}) + value }

// head is what every OFFER of an hour begins with.
var head = opt(53, "\x02") + opt(54, "\xc0\xa8\x64\xfe") + opt(51, "\x00\x00\x0e\x10")

// options is the options area of a packet, without end and padding.
func options(b []byte) string {
	i := HeaderSize
	for b[i] != optionEnd {
		if b[i] == optionPad {
			i++
			continue
		}
		i += 2 + int(b[i+1])
	}
	return string(b[HeaderSize:i])
}

// TestFamilies holds what each kind of client is told besides its address, byte by
// byte (protocol facts §2).
func TestFamilies(t *testing.T) {
	const nine = "\xc0\xa8\x64\x09"
	pxe43 := opt(43, "\x06\x01\x08\xff")
	for _, x := range []struct {
		name   string
		client Client
		change func(*Entry)
		want   string // options behind head
		file   string
		server netip.Addr // siaddr
	}{
		{"BIOS PXE", client(rack.StagePXE, "", "PXEClient:Arch:00000:UNDI:002001", 66, 67), nil,
			opt(67, "t/ipxe.efi") + "\x00" + opt(60, "PXEClient") + pxe43 + opt(66, agent.String()), "t/ipxe.efi", agent},
		{"UEFI PXE", client(rack.StagePXE, "", "PXEClient:Arch:00007:UNDI:003000", 1), nil,
			opt(67, "t/ipxe.efi") + "\x00" + opt(60, "PXEClient") + pxe43 + opt(1, "\xff\xff\xff\x00"), "t/ipxe.efi", agent},
		{"UEFI PXE, a TFTP server of its own", client(rack.StagePXE, "", "PXEClient:Arch:00011:UNDI:003000", 66, 150), func(e *Entry) { e.NextServer = other },
			opt(67, "t/ipxe.efi") + "\x00" + opt(60, "PXEClient") + pxe43 + opt(66, other.String()) + opt(150, "\xc0\xa8\x64\xfa"), "t/ipxe.efi", other},
		{"U-Boot", client(rack.StagePXE, "U-Boot", "U-Boot.armv8", 67), nil, opt(67, "t/ipxe.efi"), "t/ipxe.efi", agent},
		{"PXE by 93 alone", client(rack.StagePXE, "", "", 67), nil, opt(67, "t/ipxe.efi"), "t/ipxe.efi", agent},
		{"PXE without a ticket", client(rack.StagePXE, "", "PXEClient:Arch:00007:UNDI:003000", 66, 67), func(e *Entry) { e.BootFile = "" }, "", "", netip.Addr{}},
		{"UEFI HTTP boot", client(rack.StageHTTPBoot, "", "HTTPClient:Arch:00016:UNDI:003000", 67, 235), nil,
			opt(67, "http://h/boot.efi") + opt(60, "HTTPClient") + opt(6, "\xc0\xa8\x64\x35"), "http://h/boot.efi", netip.Addr{}},
		{"UEFI HTTP boot, BootFile is a URL", client(rack.StageHTTPBoot, "", "HTTPClient:Arch:00019:UNDI:003000", 67), func(e *Entry) { e.BootURL, e.BootFile, e.DNS = "", "https://h/b.efi", Servers{} },
			opt(67, "https://h/b.efi") + opt(60, "HTTPClient"), "https://h/b.efi", netip.Addr{}},
		{"UEFI HTTP boot, a TFTP path is none", client(rack.StageHTTPBoot, "", "HTTPClient:Arch:00016:UNDI:003000", 60, 67), func(e *Entry) { e.BootURL = "" }, "", "", netip.Addr{}},
		{"iPXE on BIOS", client(rack.StageIPXE, "iPXE", "PXEClient:Arch:00000:UNDI:002001", 175), nil,
			opt(175, "\xb0\x01\x01") + opt(67, "http://h/boot.ipxe"), "http://h/boot.ipxe", agent},
		{"iPXE never loads itself", client(rack.StageIPXE, "iPXE", "PXEClient:Arch:00007:UNDI:003010", 67), func(e *Entry) { e.ScriptURL = "" },
			opt(175, "\xb0\x01\x01"), "", netip.Addr{}},
		{"ESXi by UEFI HTTP boot", client(rack.StageHTTPBoot, "", "HTTPClient:Arch:00016:UNDI:003000", 67), func(e *Entry) { e.DNS = Servers{}; e.BootURL = "http://192.168.100.254/esxi/mboot.efi" },
			opt(67, "http://192.168.100.254/esxi/mboot.efi") + opt(60, "HTTPClient"), "http://192.168.100.254/esxi/mboot.efi", netip.Addr{}},
		{"ONIE", client(rack.StageONIE, "", "onie_vendor:x86_64-a_b-r0", 7, 114, 125), nil,
			opt(114, "http://h/onie-installer") + opt(125, "\x00\x00\xa6\x7f\x19\x01\x17http://h/onie-installer") + opt(7, "\xc0\xa8\x64\x0e"), "", netip.Addr{}},
		{"ONIE, a URL too long for the block of 125", client(rack.StageONIE, "", "", 1), func(e *Entry) { e.InstallerURL = "http://h/" + strings.Repeat("u", 245); e.Syslog = netip.Addr{} },
			opt(114, "http://h/"+strings.Repeat("u", 245)) + opt(1, "\xff\xff\xff\x00"), "", netip.Addr{}},
		{"ONIE without a ticket still logs", client(rack.StageONIE, "", "", 67), func(e *Entry) { e.InstallerURL = "" }, opt(7, "\xc0\xa8\x64\x0e"), "", netip.Addr{}},
		{"SONiC, a script", client(rack.StageNOS, "SONiC", "", 66, 67, 239), nil, opt(239, "http://192.168.100.9:8080/ztp/tor-1.sh"), "", netip.Addr{}},
		{"SONiC, JSON", client(rack.StageNOS, "SONiC", "", 66, 67, 239), func(e *Entry) { e.ProvisionURL = "http://h/ztp.json?x=1" }, opt(67, "http://h/ztp.json?x=1"), "http://h/ztp.json?x=1", netip.Addr{}},
		{"Cumulus", client(rack.StageNOS, "Cumulus", "cumulus-linux x86_64", 239), nil, opt(239, "http://192.168.100.9:8080/ztp/tor-1.sh"), "", netip.Addr{}},
		{"EOS", client(rack.StageNOS, "Arista", "Arista;DCS-7050S-64;01.23;JPE12221671", 67), nil, opt(67, "http://192.168.100.9:8080/ztp/tor-1.sh"), "http://192.168.100.9:8080/ztp/tor-1.sh", netip.Addr{}},
		{"NX-OS over HTTP", client(rack.StageNOS, "Cisco", "", 66, 67, 150), nil,
			opt(67, "ztp/tor-1.sh") + opt(66, "http://192.168.100.9:8080") + opt(150, nine), "ztp/tor-1.sh", netip.MustParseAddr("192.168.100.9")},
		{"NX-OS over TFTP, a URL", client(rack.StageNOS, "Cisco", "", 67), func(e *Entry) { e.ProvisionURL = "tftp://192.168.100.9/poap.py" },
			opt(67, "poap.py") + opt(66, "192.168.100.9") + opt(150, nine), "poap.py", netip.MustParseAddr("192.168.100.9")},
		{"NX-OS over TFTP, a path", client(rack.StageNOS, "Cisco", "", 67), func(e *Entry) { e.ProvisionURL = "/poap.py" },
			opt(67, "poap.py") + opt(66, agent.String()) + opt(150, "\xc0\xa8\x64\xfe"), "poap.py", agent},
		{"NX-OS, a host by name", client(rack.StageNOS, "Cisco", "", 67), func(e *Entry) { e.ProvisionURL = "http://depot/poap.py" },
			opt(67, "poap.py") + opt(66, "http://depot"), "poap.py", netip.Addr{}},
		{"IOS XR", func() Client { c := client(rack.StageNOS, "Cisco", "", 67); c.IOSXR = true; return c }(), nil,
			opt(67, "http://192.168.100.9:8080/ztp/tor-1.sh"), "http://192.168.100.9:8080/ztp/tor-1.sh", netip.Addr{}},
		{"Junos", client(rack.StageNOS, "Juniper", "Juniper-qfx5100-48s-6q-SN1", 43, 150, 12, 7, 42), nil,
			opt(43, "\x01\x0d/ztp/tor-1.sh\x03\x04http") + opt(150, nine) + opt(66, "192.168.100.9:8080") + opt(12, "tor-1") + opt(7, "\xc0\xa8\x64\x0e") + opt(42, "\xc0\xa8\x64\x7b\xc0\xa8\x64\xfa"), "", netip.Addr{}},
		{"Junos, a path of TFTP", client(rack.StageNOS, "Juniper", "", 43), func(e *Entry) { e.ProvisionURL = "tor-1.conf" },
			opt(43, "\x01\x0b/tor-1.conf\x03\x04tftp") + opt(150, "\xc0\xa8\x64\xfe") + opt(66, agent.String()), "", netip.Addr{}},
		{"Junos, a path too long for 43", client(rack.StageNOS, "Juniper", "", 43), func(e *Entry) { e.ProvisionURL = "http://h/" + strings.Repeat("u", 255) }, "", "", netip.Addr{}},
		{"Junos without a ticket", client(rack.StageNOS, "Juniper", "", 43, 150), func(e *Entry) { e.ProvisionURL = "" }, "", "", netip.Addr{}},
		{"another network operating system", client(rack.StageNOS, "Nokia", "", 66, 67, 239), nil, "", "", netip.Addr{}},
		{"a network operating system whose platform names the option", client(rack.StageNOS, "Nokia", "", 66, 67), func(e *Entry) { e.ProvisionOption = 67 },
			opt(67, "http://192.168.100.9:8080/ztp/tor-1.sh"), "http://192.168.100.9:8080/ztp/tor-1.sh", netip.Addr{}},
		{"the platform's option goes before the vendor's", client(rack.StageNOS, "Cisco", "", 66, 67), func(e *Entry) { e.ProvisionOption = 240 },
			opt(240, "http://192.168.100.9:8080/ztp/tor-1.sh"), "", netip.Addr{}},
		{"an option without a ticket", client(rack.StageNOS, "Nokia", "", 66, 67), func(e *Entry) { e.ProvisionURL, e.ProvisionOption = "", 67 }, "", "", netip.Addr{}},
		{"BMC", client(rack.StageBMC, "Dell", "iDRAC", 43, 66, 67), nil, "", "", netip.Addr{}},
		{"operating system", client(rack.StageOS, "", "udhcp 1.35.0", 6, 42, 66, 67), nil, opt(6, "\xc0\xa8\x64\x35") + opt(42, "\xc0\xa8\x64\x7b\xc0\xa8\x64\xfa"), "", netip.Addr{}},
		{"says nothing", client(rack.StageUnknown, "", "", 66, 67, 43, 114, 175), nil, "", "", netip.Addr{}},
	} {
		t.Run(x.name, func(t *testing.T) {
			e := full()
			if x.change != nil {
				x.change(&e)
			}
			m := offer()
			b, truncated := NewBuilder().Append(nil, &e, &x.client, &m)
			if got := options(b); got != head+x.want || truncated {
				t.Errorf("got  %q\nwant %q", strings.TrimPrefix(got, head), x.want)
			}
			d, err := dhcpv4.FromBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			siaddr := ""
			if x.server.IsValid() {
				siaddr = x.server.String()
			} else if d.ServerIPAddr.IsUnspecified() {
				siaddr = d.ServerIPAddr.String()
			}
			if d.BootFileName != x.file || d.ServerIPAddr.String() != siaddr || d.YourIPAddr.String() != device.String() {
				t.Errorf("file %q, siaddr %s", d.BootFileName, d.ServerIPAddr)
			}
		})
	}
}

func TestLeaseOfPOAP(t *testing.T) {
	for _, x := range []struct {
		client Client
		lease  time.Duration
		want   uint32
	}{
		{client(rack.StageNOS, "Cisco", ""), 10 * time.Minute, 3600},
		{client(rack.StageNOS, "Cisco", ""), 2 * time.Hour, 7200},
		{client(rack.StageNOS, "Arista", ""), 10 * time.Minute, 600},
		{client(rack.StageBMC, "Cisco", ""), 10 * time.Minute, 600},
		{client(rack.StageOS, "", ""), 0, 3600},
		{client(rack.StageOS, "", ""), time.Millisecond, 1},
		{client(rack.StageOS, "", ""), 1 << 62, 0xffffffff},
	} {
		if got := (&Entry{Lease: x.lease}).LeaseSeconds(&x.client); got != x.want {
			t.Errorf("%s %s: %d s, want %d", x.client.Vendor, x.lease, got, x.want)
		}
	}
}

func TestProxy(t *testing.T) {
	pxe := client(rack.StagePXE, "", "PXEClient:Arch:00007:UNDI:003000", 1, 3, 51, 66)
	pxe.Item = []byte{0, 1, 0, 0}
	for _, x := range []struct {
		name   string
		client Client
		want   string // behind 53 and 54
	}{
		{"PXE firmware", pxe, opt(97, "machine") + opt(67, "t/ipxe.efi") + "\x00" + opt(60, "PXEClient") + opt(43, "\x06\x01\x08\x47\x04\x00\x01\x00\x00\xff")},
		{"UEFI HTTP boot", client(rack.StageHTTPBoot, "", "HTTPClient:Arch:00016"), opt(97, "machine") + opt(67, "http://h/boot.efi") + opt(60, "HTTPClient") + opt(6, "\xc0\xa8\x64\x35")},
		{"iPXE", client(rack.StageIPXE, "iPXE", ""), opt(97, "machine") + opt(175, "\xb0\x01\x01") + opt(67, "http://h/boot.ipxe") + opt(60, "PXEClient")},
	} {
		t.Run(x.name, func(t *testing.T) {
			e, m := full(), offer()
			m.Proxy, m.YIAddr, m.Echo = true, netip.Addr{}, []byte(opt(97, "machine"))
			if !e.ForProxy(&x.client) {
				t.Error("not for a proxy")
			}
			b, _ := NewBuilder().Append(nil, &e, &x.client, &m)
			if got := options(b); got != opt(53, "\x02")+opt(54, "\xc0\xa8\x64\xfe")+x.want {
				t.Errorf("got  %q\nwant %q", got, x.want)
			}
			if !bytes.Equal(b[16:20], make([]byte, 4)) {
				t.Errorf("yiaddr % x", b[16:20])
			}
		})
	}
	e := full()
	for _, c := range []Client{client(rack.StageONIE, "", ""), client(rack.StageNOS, "Arista", ""), client(rack.StageOS, "", "")} {
		if e.ForProxy(&c) {
			t.Errorf("%s takes no boot file of a proxy", c.Stage)
		}
	}
	empty := Entry{}
	if c := client(rack.StagePXE, "", "PXEClient"); empty.ForProxy(&c) {
		t.Error("nothing to boot")
	}
}

func TestLastAddr(t *testing.T) {
	for p, want := range map[string]string{"10.0.0.0/8": "10.255.255.255", "0.0.0.0/0": "255.255.255.255", "10.0.0.1/32": "10.0.0.1", "10.0.1.0/30": "10.0.1.3"} {
		if got := lastAddr(netip.MustParsePrefix(p)).String(); got != want {
			t.Errorf("%s: %s", p, got)
		}
	}
}

// Templates are bounded, and one client's answer is not another's.
func TestTemplates(t *testing.T) {
	b := NewBuilder()
	e := full()
	for i := range 3 * maxTemplates {
		c := client(rack.StageOS, "", "", 1, byte(i), byte(i>>8))
		m := offer()
		m.YIAddr, m.XID = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), [4]byte{byte(i)}
		p, _ := b.Append(nil, &e, &c, &m)
		if len(b.templates) > maxTemplates {
			t.Fatalf("%d templates", len(b.templates))
		}
		if d, err := dhcpv4.FromBytes(p); err != nil || d.YourIPAddr.String() != m.YIAddr.String() || d.TransactionID != dhcpv4.TransactionID(m.XID) {
			t.Fatalf("%v %v", d, err)
		}
	}
	b = NewBuilder()
	for i := range 100 { // clients that differ only in what is patched share one
		c, m := client(rack.StageOS, "", "udhcp", 1, 3), offer()
		e.Device, e.Address, m.Hardware = fmt.Sprint(i), netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), [6]byte{2, 0, 0, 0, 0, byte(i)}
		m.ClientID = []byte(opt(61, strings.Repeat("i", i)))
		b.Append(nil, &e, &c, &m)
	}
	if n := len(b.templates); n != 1 {
		t.Errorf("%d templates for one kind of client", n)
	}
}

// What fits no frame is left out, and that is said, also from a template.
func TestTooLongForAnyFrame(t *testing.T) {
	e := Entry{InstallerURL: "http://192.0.2.1/" + strings.Repeat("x", 1600)}
	c, m := client(rack.StageONIE, "", "", 1, 3), offer()
	c.Limit = 1472
	b := NewBuilder()
	for range 2 {
		if _, truncated := b.Append(nil, &e, &c, &m); !truncated {
			t.Error("it does not say that something was left out")
		}
	}
}
