package reply

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// dice reads a fuzzer's bytes as choices; zeros when they run out.
type dice struct{ b []byte }

func (d *dice) roll(n int) int {
	if len(d.b) == 0 {
		return 0
	}
	x := int(d.b[0]) % n
	d.b = d.b[1:]
	return x
}

func (d *dice) take(n int) []byte {
	n = min(n, len(d.b))
	x := d.b[:n:n]
	d.b = d.b[n:]
	return x
}

func (d *dice) addr() netip.Addr {
	if d.roll(3) == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{10, byte(d.roll(256)), byte(d.roll(256)), byte(1 + d.roll(250))})
}

func (d *dice) text(all ...string) string {
	s := all[d.roll(len(all))]
	if d.roll(4) == 0 {
		s += string(d.take(d.roll(256)))
	}
	return s
}

// entry, client and message are any that the engine could hand over.
func (d *dice) entry() Entry {
	const u = "http://10.0.0.9:80/x"
	e := Entry{Device: d.text("", "tor-1"), End: d.text("", "data"), Address: d.addr(), ServerID: d.addr(), Router: d.addr(), DNS: Servers{d.addr(), d.addr()}, NTP: Servers{d.addr()}, Syslog: d.addr(),
		NextServer: d.addr(), Hostname: d.text("", "tor-1"), BootFile: d.text("", "t/boot"), BootURL: d.text("", u, "https://h/b"), ScriptURL: d.text("", u), InstallerURL: d.text("", u),
		ProvisionURL: d.text("", u, "tftp://h/p.json", "/p", ":"), ProvisionOption: [...]uint8{0, 67, 239, 240}[d.roll(4)], Lease: time.Duration(d.roll(256)) << d.roll(60)}
	if d.roll(2) == 1 {
		e.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(d.roll(256)), 0, 0}), d.roll(33))
	}
	return e
}

func (d *dice) client() Client {
	stages := []rack.Stage{rack.StageUnknown, rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot, rack.StageONIE, rack.StageNOS, rack.StageOS, rack.StageBMC, ""}
	kinds := []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform}
	c := Client{Kind: kinds[d.roll(len(kinds))], Stage: stages[d.roll(len(stages))], Vendor: d.text("", "Cisco", "Juniper", "SONiC", "Cumulus", "Arista"),
		IOSXR: d.roll(4) == 0, Class: d.text("", "PXEClient:Arch:00007", "HTTPClient", "x"), Limit: 548 + d.roll(256)*4}
	if d.roll(2) == 1 {
		c.Wants = d.take(d.roll(64))
	}
	if d.roll(4) == 0 {
		c.Item = d.take(4)
	}
	return c
}

func (d *dice) message() Message {
	kinds := []dhcpv4.MessageType{dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak}
	m := Message{Kind: kinds[d.roll(len(kinds))], ServerID: netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + d.roll(250))}), Proxy: d.roll(8) == 0, HType: byte(d.roll(256)),
		Flags: uint16(d.roll(256)) << 8, CIAddr: d.addr(), YIAddr: d.addr(), GIAddr: d.addr()}
	copy(m.XID[:], d.take(4))
	copy(m.Hardware[:], d.take(6))
	echo := func(code byte, most int) []byte {
		if d.roll(2) == 0 {
			return nil
		}
		v := d.take(d.roll(most))
		return append([]byte{code, byte(len(v))}, v...)
	}
	m.ClientID, m.Echo, m.Relay = echo(optionClientID, 256), echo(optionMachine, 18), echo(optionRelay, 256)
	if m.Kind == dhcpv4.MessageTypeNak {
		m.Why = d.text("no")
	}
	return m
}

// FuzzTemplates: an answer copied from a template is the one that is written option
// by option, and both are what the library makes of the same message: its header byte
// by byte, and the same options. Where something was left out, the rest is the same,
// the answer fits, and says who sent it.
func FuzzTemplates(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1}, 200))
	f.Add(bytes.Repeat([]byte{7, 2, 3, 9, 250, 4, 1}, 60))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &dice{b}
		e, c, m := d.entry(), d.client(), d.message()
		builder := NewBuilder()
		if warm := m; d.roll(2) == 1 { // a template that another client left
			warm.XID, warm.YIAddr, warm.ClientID, warm.Relay, warm.CIAddr = [4]byte{9, 9, 9, 9}, netip.AddrFrom4([4]byte{9, 9, 9, 9}), []byte{61, 1, 9}, nil, warm.YIAddr
			c2 := c
			c2.Limit = 1472
			builder.Append(nil, &e, &c2, &warm)
		}
		got, truncated := builder.Append(make([]byte, 0, 1500), &e, &c, &m)
		plain, truncated2 := compose(nil, &e, &c, &m)
		if !bytes.Equal(got, plain) || truncated != truncated2 {
			t.Fatalf("copied  % x\nwritten % x", got, plain)
		}
		if len(got) > c.Limit || len(got) < MinMessage {
			t.Fatalf("%d bytes, at most %d", len(got), c.Limit)
		}
		checkLibrary(t, got, truncated, &e, &c, &m)
	})
}

func checkLibrary(t *testing.T, got []byte, truncated bool, e *Entry, c *Client, m *Message) {
	t.Helper()
	want, _ := library(e, c, m)
	want.TransactionID, want.Flags, want.ClientHWAddr = dhcpv4.TransactionID(m.XID), m.Flags, m.Hardware[:]
	want.ClientIPAddr, want.YourIPAddr, want.GatewayIPAddr = m.CIAddr.AsSlice(), m.YIAddr.AsSlice(), m.GIAddr.AsSlice()
	for _, raw := range [][]byte{m.ClientID, m.Echo, m.Relay} {
		if raw != nil {
			want.Options[raw[0]] = raw[2:]
		}
	}
	head := want.ToBytes()[:HeaderSize]
	head[1] = m.HType
	if !bytes.Equal(got[:HeaderSize], head) {
		t.Fatalf("header\ngot  % x\nwant % x", got[:HeaderSize], head)
	}
	p, err := dhcpv4.FromBytes(got)
	if err != nil {
		t.Fatal(err)
	}
	for code, v := range p.Options {
		if !bytes.Equal(v, want.Options[code]) {
			t.Fatalf("option %d: % x, the library has % x", code, v, want.Options[code])
		}
	}
	if !truncated && len(p.Options) != len(want.Options) {
		t.Fatalf("%d options, the library has %d", len(p.Options), len(want.Options))
	}
	if p.ServerIdentifier() == nil || p.MessageType() != m.Kind {
		t.Fatal("nothing says whose answer it is")
	}
}

func BenchmarkAppend(b *testing.B) {
	e := full()
	c, m := client(rack.StageOS, "", "udhcp 1.35.0", 1, 3, 6, 12, 15, 28, 42), offer()
	m.ClientID, m.Relay = []byte(opt(61, "\x01\x02\x00\x00\x00\x00\x01")), []byte(opt(82, "\x01\x02\x34\x35\x02\x06mgmt-1"))
	room := make([]byte, 0, 1500)
	b.Run("template", func(b *testing.B) {
		builder := NewBuilder()
		b.ReportAllocs()
		for b.Loop() {
			builder.Append(room, &e, &c, &m)
		}
	})
	b.Run("written", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compose(room, &e, &c, &m)
		}
	})
}
