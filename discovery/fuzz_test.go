package discovery

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/internal/rack"
)

// FuzzHandle holds for whatever comes in: no panic; nobody unknown is answered;
// an answer parses, belongs to the packet, gives out no address but the
// entry's, returns option 82 byte by byte, and goes to one of the places that
// RFC 2131 section 4.1 names.
func FuzzHandle(f *testing.F) {
	for _, p := range []*packet{
		discover(), discover().from("52:54:00:09:09:09"), discover().from("52:54:00:aa:aa:aa"),
		discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0).opt(57, 5, 192).opt(55, 1, 3, 12, 28, 58, 59, 66, 67, 150),
		discover().str(60, "PXEClient:Arch:00007:UNDI:003010").str(77, "iPXE").opt(175, 0xb1, 5, 1, 2, 3, 4, 5),
		discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(77, "\x14onie_dhcp_user_class").str(61, "\x00SN").via(relayAddr, "mgmt-1", "45", 19, 0),
		asks().addr(50, mine).addr(54, ours), asks().addr(50, torAddr).addr(54, ours), asks().is(mine), asks(),
		asks().addr(50, torAddr).via(relayAddr, "mgmt-1", "45", 11, 4, 192, 168, 100, 2),
		message(dhcpv4.MessageTypeInform).is(mine), message(dhcpv4.MessageTypeDecline).addr(50, mine),
		message(dhcpv4.MessageTypeRelease).is(mine), discover().opt(52, 3),
	} {
		f.Add(p.bytes())
	}
	f.Fuzz(checkHandle)
}

// FuzzHandleOptions is FuzzHandle on packets whose header is in order, so that
// the search spends itself on the options.
func FuzzHandleOptions(f *testing.F) {
	for _, p := range []*packet{
		asks().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0).opt(57, 5, 192).opt(55, 1, 3, 12, 28, 58, 59, 66, 67, 150).addr(50, mine).addr(54, ours),
		discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(77, "\x14onie_dhcp_user_class").str(61, "\x00SN").opt(125, 0, 0, 0xa6, 0x7f, 3, 3, 1, 'a').via(relayAddr, "mgmt-1", "45", 19, 0, 11, 4, 192, 168, 100, 2),
		discover().str(77, "iPXE").opt(175, 0x13, 1, 1).opt(52, 3), message(dhcpv4.MessageTypeInform).str(60, "udhcp 1.35.0"),
	} {
		f.Add(byte(0), uint16(0), p.options)
		f.Add(byte(7), uint16(0x8000), p.options)
	}
	f.Fuzz(func(t *testing.T, fields byte, flags uint16, options []byte) {
		p := &packet{op: 1, hlen: 6, xid: 7, flags: flags, mac: "52:54:00:01:02:03", cookie: true, options: options}
		for i, a := range []struct {
			field *string
			value string
		}{{&p.giaddr, relayAddr}, {&p.ciaddr, mine}, {&p.ciaddr, torAddr}, {&p.mac, "52:54:00:09:09:09"}} {
			if fields>>i&1 == 1 {
				*a.field = a.value
			}
		}
		checkHandle(t, p.bytes())
	})
}

func checkHandle(t *testing.T, in []byte) {
	checkOthers(t, in)
	known := map[string]bool{mine: true, torAddr: true}
	before := bytes.Clone(in)
	res := testServer(t, Options{}).Handle(in, sender)
	if !bytes.Equal(before, in) {
		t.Fatal("the packet was changed")
	}
	if res.Outcome.Malformed() != (res.Seen == nil) || (res.Err == nil) != (res.Seen != nil) || (res.Reply.Payload == nil) != !res.Reply.Peer.IsValid() {
		t.Fatalf("%+v", res)
	}
	if res.Reply.Payload == nil {
		if res.Outcome == Offered || res.Outcome == Acknowledged || res.Outcome.Refused() {
			t.Fatalf("%s without a reply", res.Outcome)
		}
		return
	}
	if res.Seen == nil || res.Seen.Err != nil || res.Seen.Binding.Device == "" {
		t.Fatalf("an unknown component was answered: %+v", res)
	}
	d, err := dhcpv4.FromBytes(res.Reply.Payload)
	if err != nil {
		t.Fatalf("reply does not parse: %v", err)
	}
	if d.OpCode != dhcpv4.OpcodeBootReply || !bytes.Equal(res.Reply.Payload[4:8], in[4:8]) || !bytes.Equal(res.Reply.Payload[28:34], in[28:34]) || !bytes.Equal(res.Reply.Payload[24:28], in[24:28]) {
		t.Fatal("xid, chaddr or giaddr differ")
	}
	if len(res.Reply.Payload) < reply.MinMessage || len(res.Reply.Payload) > mostMaximum-udpHeaders {
		t.Fatalf("%d bytes", len(res.Reply.Payload))
	}
	if y := d.YourIPAddr; !y.IsUnspecified() && !known[y.String()] {
		t.Fatalf("gave out %s", y)
	}
	if len(d.Options.Get(dhcpv4.OptionServerIdentifier)) != 4 {
		t.Fatal("no server identifier")
	}
	checkRelay(t, in, res)
	checkTo(t, d, res)
	if p := res.Seen.Observation.Proves; p != rack.NoEvidence && d.MessageType() != ack && (d.MessageType() != offer || p != question(res.Seen.Observation.Stage)) {
		t.Fatalf("%s proves %s", d.MessageType(), res.Seen.Observation.Proves)
	}
}

// checkOthers hands a packet to servers of other kinds, which must not crash on it,
// give out nothing but what is in their pool, and return option 82 as it came.
func checkOthers(t *testing.T, in []byte) {
	ports := relay.NewPorts(&rack.Rack{Devices: []rack.Device{{Name: "mgmt-1", Role: rack.ManagementSwitch, Address: netip.MustParseAddr(relayAddr)},
		{Name: "tor-1", Role: rack.ToRSwitch, Management: rack.Port{Device: "mgmt-1", Name: "45"}}}})
	for _, o := range []Options{{Table: strangers("10.0.1.1", "10.0.1.2")}, {Table: strangers("10.0.1.1", "10.0.1.2"), Authoritative: true}, {Ports: ports, Authoritative: true},
		{Mode: Proxy, Ports: ports}, {Mode: BootServer}} {
		s := testServer(t, o)
		for range 2 { // the second time there is a record
			res := s.handle(in, sender, testTime, nil)
			if err := s.leases.Commit(); err != nil {
				t.Fatal(err)
			}
			if res.Reply.Payload == nil {
				continue
			}
			d, err := dhcpv4.FromBytes(res.Reply.Payload)
			if err != nil || len(res.Reply.Payload) > mostMaximum-udpHeaders {
				t.Fatalf("%v, %d bytes", err, len(res.Reply.Payload))
			}
			if a, _ := netip.AddrFromSlice(d.YourIPAddr.To4()); !a.IsUnspecified() && (o.Mode != Addresses || o.Ports == nil && a.String() != "10.0.1.1" && a.String() != "10.0.1.2") {
				t.Fatalf("gave out %s", a)
			}
			checkRelay(t, in, res)
		}
	}
}

func checkRelay(t *testing.T, in []byte, res Result) {
	t.Helper()
	sent, _, _ := rawOption(in[headerSize:], optionRelay)
	got, _, _ := rawOption(res.Reply.Payload[headerSize:], optionRelay)
	switch {
	case got == nil && (sent == nil || res.Truncated):
	case !bytes.Equal(sent, got):
		t.Fatalf("option 82: % x came, % x went", sent, got)
	case !bytes.HasSuffix(bytes.TrimRight(res.Reply.Payload, "\x00"), append(bytes.Clone(sent), optionEnd)):
		t.Fatal("option 82 is not last")
	}
}

func checkTo(t *testing.T, d *dhcpv4.DHCPv4, res Result) {
	t.Helper()
	to, port := res.Reply.Peer.Addr(), res.Reply.Peer.Port()
	ok := true
	switch {
	case !d.GatewayIPAddr.IsUnspecified():
		ok = to.String() == d.GatewayIPAddr.String() && (port == 67 || port == sender.Port()) && res.Reply.Hardware == nil
	case d.MessageType() == nak:
		ok = to == broadcast && port == 68 && res.Reply.Hardware == nil
	default:
		ok = (to == broadcast || to.String() == mine || to.String() == torAddr) && port == 68 && (to != broadcast || res.Reply.Hardware == nil)
	}
	if !ok {
		t.Fatalf("%s goes to %s", d.MessageType(), res.Reply.Peer)
	}
}
