package foreign

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/wire"
)

var (
	ownMAC    = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	serverMAC = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	clientMAC = net.HardwareAddr{2, 0, 0, 0, 0, 3}
	own       = Own{MAC: ownMAC, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}
)

// message is a reply of a server, in a datagram.
func message(t testing.TB, kind dhcpv4.MessageType, options ...dhcpv4.Modifier) wire.UDP {
	t.Helper()
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(clientMAC)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	if kind != dhcpv4.MessageTypeNone {
		p.UpdateOption(dhcpv4.OptMessageType(kind))
	}
	u := wire.UDP{From: serverMAC, To: clientMAC, Source: netip.MustParseAddrPort("10.0.0.9:67"), Target: netip.MustParseAddrPort("10.0.0.50:68")}
	if kind == dhcpv4.MessageTypeRequest || kind == dhcpv4.MessageTypeDiscover {
		p.OpCode = dhcpv4.OpcodeBootRequest
		u.From, u.Source, u.Target = clientMAC, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67")
	} else {
		p.OpCode = dhcpv4.OpcodeBootReply
	}
	u.Payload = p.ToBytes()
	return u
}

func TestJudge(t *testing.T) {
	server := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 9}))
	us := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 1}))
	asked := dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IP{10, 0, 0, 50}))
	yours := dhcpv4.WithYourIP(net.IP{10, 0, 0, 50})
	for _, c := range []struct {
		name string
		u    wire.UDP
		want string // empty: no server that is not ours
	}{
		{"offer", message(t, dhcpv4.MessageTypeOffer, server, yours), "10.0.0.9 (MAC 02:00:00:00:00:02), which offered 10.0.0.50 to 02:00:00:00:00:03"},
		{"all of it", message(t, dhcpv4.MessageTypeOffer, server, yours, dhcpv4.WithServerIP(net.IP{10, 0, 0, 8}), dhcpv4.WithRouter(net.IP{10, 0, 0, 7}),
			dhcpv4.WithOption(dhcpv4.OptBootFileName("x\n"))), `10.0.0.9 (MAC 02:00:00:00:00:02), which offered 10.0.0.50 to 02:00:00:00:00:03 with router 10.0.0.7, boot server 10.0.0.8, boot file x\x0a`},
		{"ack", message(t, dhcpv4.MessageTypeAck, server, yours), "10.0.0.9 (MAC 02:00:00:00:00:02), which gave 10.0.0.50 to 02:00:00:00:00:03"},
		{"ack of an inform", message(t, dhcpv4.MessageTypeAck, server), "10.0.0.9 (MAC 02:00:00:00:00:02), which answered 02:00:00:00:00:03"},
		{"nak", message(t, dhcpv4.MessageTypeNak, server), "10.0.0.9 (MAC 02:00:00:00:00:02), which refused an address to 02:00:00:00:00:03"},
		{"proxy", message(t, dhcpv4.MessageTypeOffer, server), "10.0.0.9 (MAC 02:00:00:00:00:02), which offered to boot 02:00:00:00:00:03"},
		{"bootp", message(t, dhcpv4.MessageTypeNone, yours), "10.0.0.9 (MAC 02:00:00:00:00:02), which answered 02:00:00:00:00:03"},
		{"without option 54", message(t, dhcpv4.MessageTypeOffer, yours), "10.0.0.9 (MAC 02:00:00:00:00:02), which offered 10.0.0.50 to 02:00:00:00:00:03"},
		{"under our own address", message(t, dhcpv4.MessageTypeOffer, us, yours), "10.0.0.1 (MAC 02:00:00:00:00:02), which offered 10.0.0.50 to 02:00:00:00:00:03"},
		{"from another port", func() wire.UDP {
			u := message(t, dhcpv4.MessageTypeOffer, server, yours)
			u.Source = netip.MustParseAddrPort("10.0.0.9:1234")
			return u
		}(), ""},
		{"our own", func() wire.UDP { u := message(t, dhcpv4.MessageTypeOffer, us, yours); u.From = ownMAC; return u }(), ""},
		{"chosen by a client", message(t, dhcpv4.MessageTypeRequest, server, asked), "10.0.0.9, from which 02:00:00:00:00:03 takes an address"},
		{"we are chosen", message(t, dhcpv4.MessageTypeRequest, us, asked), ""},
		{"a relay is chosen", message(t, dhcpv4.MessageTypeRequest, server, asked, dhcpv4.WithGatewayIP(net.IP{10, 0, 0, 9})), ""},
		{"nobody is chosen", message(t, dhcpv4.MessageTypeRequest, asked), ""},
		{"a client looks", message(t, dhcpv4.MessageTypeDiscover), ""},
		{"nonsense", wire.UDP{From: serverMAC, Source: netip.MustParseAddrPort("10.0.0.9:67"), Payload: []byte("nonsense")}, ""},
		{"too long", func() wire.UDP {
			u := message(t, dhcpv4.MessageTypeOffer, server, yours)
			u.Payload = append(u.Payload, make([]byte, maxPacket)...)
			return u
		}(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := Judge(c.u, own)
			if ok != (c.want != "") || ok && s.String() != c.want {
				t.Errorf("%v %s\nwant %s", ok, s, c.want)
			}
		})
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(message(f, dhcpv4.MessageTypeOffer, dhcpv4.WithYourIP(net.IP{10, 0, 0, 50}), dhcpv4.WithOption(dhcpv4.OptBootFileName("x"))).Payload)
	f.Add(message(f, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 9}))).Payload)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := Judge(wire.UDP{From: serverMAC, To: ownMAC, Source: netip.MustParseAddrPort("10.0.0.9:67"), Payload: b}, own)
		if !ok {
			return
		}
		if text := s.String(); len(text) > 1000 || !s.Address.IsValid() {
			t.Errorf("%d bytes: %s", len(text), text)
		}
		for _, r := range s.String() {
			if r < ' ' || r > '~' {
				t.Fatalf("%q is not printable", s)
			}
		}
	})
}

// What is asked looks like one client, whatever the interface, and leaves from the
// card's own MAC.
func TestProbes(t *testing.T) {
	frames, err := probes(ownMAC)
	if err != nil || len(frames) != 2 {
		t.Fatal(len(frames), err)
	}
	for i, f := range frames {
		u, err := wire.ParseUDP(f)
		if err != nil {
			t.Fatal(err)
		}
		p, err := dhcpv4.FromBytes(u.Payload)
		if err != nil {
			t.Fatal(err)
		}
		pxe := p.Options.Has(dhcpv4.OptionClientSystemArchitectureType)
		if u.From.String() != ownMAC.String() || u.To.String() != "ff:ff:ff:ff:ff:ff" || u.Source.String() != "0.0.0.0:68" || u.Target.String() != "255.255.255.255:67" ||
			p.MessageType() != dhcpv4.MessageTypeDiscover || !p.IsBroadcast() || p.ClientHWAddr.String() != "02:72:72:00:00:01" || p.HostName() != ProbeName || pxe != (i == 1) {
			t.Errorf("%+v\n%s", u, p.Summary())
		}
	}
}
