package discovery

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

const (
	offer = dhcpv4.MessageTypeOffer
	ack   = dhcpv4.MessageTypeAck
	nak   = dhcpv4.MessageTypeNak
	none  = dhcpv4.MessageTypeNone
)

// The numbers are the lines of the conformance checklist.
func TestDecisionsAndDestinations(t *testing.T) {
	bcast := func(p *packet) *packet { p.flags = 0x8000; return p }
	for _, tt := range []struct {
		name    string
		p       *packet
		kind    dhcpv4.MessageType
		outcome Outcome
		to      string
	}{
		{"2 OFFER to giaddr, port 67", discover().via(relayAddr, "mgmt-1", "45"), offer, Offered, relayAddr + ":67"},
		{"2 ACK to giaddr, port 67", asks().addr(50, torAddr).addr(54, ours).via(relayAddr, "mgmt-1", "45"), ack, Acknowledged, relayAddr + ":67"},
		{"2 RFC 8357 source port", discover().via(relayAddr, "mgmt-1", "45", 19, 0), offer, Offered, relayAddr + ":40001"},
		{"3 ACK to ciaddr", asks().is(mine), ack, Acknowledged, mine + ":68"},
		{"3 OFFER never to a foreign ciaddr", discover().is("10.9.9.9"), offer, Offered, mine + ":68"},
		{"4 broadcast when the flag asks", bcast(discover()), offer, Offered, "255.255.255.255:68"},
		{"5 yiaddr when it does not", discover(), offer, Offered, mine + ":68"},
		{"6 NAK is broadcast, even with ciaddr", asks().is(mine).addr(50, "10.0.0.9").addr(54, ours), nak, Refused, "255.255.255.255:68"},
		{"7 NAK through a relay", asks().addr(50, "10.0.0.9").addr(54, ours).via(relayAddr, "mgmt-1", "45"), nak, Refused, relayAddr + ":67"},
		{"12 SELECTING, ours", asks().addr(50, mine).addr(54, ours), ack, Acknowledged, mine + ":68"},
		{"12 SELECTING another server", asks().addr(50, mine).addr(54, theirs), none, IgnoredOtherServer, ""},
		{"13 SELECTING another address", asks().addr(50, torAddr).addr(54, ours), nak, Refused, "255.255.255.255:68"},
		{"14 INIT-REBOOT, right", asks().addr(50, mine), ack, Acknowledged, mine + ":68"},
		{"14 INIT-REBOOT, wrong address", asks().addr(50, "192.168.100.77"), nak, Refused, "255.255.255.255:68"},
		{"14 INIT-REBOOT, wrong subnet", asks().addr(50, "10.1.1.1"), nak, Refused, "255.255.255.255:68"},
		{"14 INIT-REBOOT, unknown", asks().from("52:54:00:09:09:09").addr(50, mine), none, IgnoredUnknown, ""},
		{"15 RENEWING", asks().is(mine), ack, Acknowledged, mine + ":68"},
		{"15 RENEWING a foreign address, no relay", asks().is("192.168.100.77"), none, IgnoredWrongAddress, ""},
		{"15 REBINDING a foreign address", asks().is("192.168.100.77").via(relayAddr, "mgmt-1", "45"), nak, Refused, relayAddr + ":67"},
		{"15 REBINDING", asks().is(torAddr).via(relayAddr, "mgmt-1", "45"), ack, Acknowledged, relayAddr + ":67"},
		{"16 unknown clients get no NAK", asks().from("52:54:00:09:09:09").addr(50, mine).addr(54, ours), none, IgnoredUnknown, ""},
		{"17 REQUEST without any address", asks(), nak, Refused, "255.255.255.255:68"},
		{"18 DECLINE", message(dhcpv4.MessageTypeDecline).addr(50, mine).addr(54, ours), none, Declined, ""},
		{"18 DECLINE to another server", message(dhcpv4.MessageTypeDecline).addr(50, mine).addr(54, theirs), none, IgnoredOtherServer, ""},
		{"18 DECLINE without address", message(dhcpv4.MessageTypeDecline).addr(54, ours), none, Malformed, ""},
		{"19 DECLINE without server", message(dhcpv4.MessageTypeDecline).addr(50, mine), none, Declined, ""},
		{"19 RELEASE", message(dhcpv4.MessageTypeRelease).is(mine).addr(54, ours), none, Released, ""},
		{"19 RELEASE without server", message(dhcpv4.MessageTypeRelease).is(mine), none, Released, ""},
		{"20 INFORM", message(dhcpv4.MessageTypeInform).is(mine), ack, Acknowledged, mine + ":68"},
		{"20 INFORM through a relay", message(dhcpv4.MessageTypeInform).is(torAddr).via(relayAddr, "mgmt-1", "45"), ack, Acknowledged, relayAddr + ":67"},
		{"20 INFORM from a foreign address", message(dhcpv4.MessageTypeInform).is("10.9.9.9"), none, IgnoredWrongAddress, ""},
		{"20 INFORM without ciaddr", message(dhcpv4.MessageTypeInform), none, Malformed, ""},
		{"42 rapid commit still gets an OFFER", discover().opt(80), offer, Offered, mine + ":68"},
		{"44 another server's client", asks().from("52:54:00:09:09:09").addr(50, "10.0.0.9").addr(54, theirs), none, IgnoredUnknown, ""},
		{"ambiguous", discover().from("52:54:00:aa:aa:aa"), none, IgnoredAmbiguous, ""},
		{"a port nothing is cabled to", discover().via(relayAddr, "mgmt-1", "46"), none, IgnoredUnknown, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, d := answerTo(t, tt.p)
			if res.Outcome != tt.outcome {
				t.Errorf("outcome %s, want %s (%v)", res.Outcome, tt.outcome, res.Err)
			}
			if (d != nil) != (tt.kind != none) || d != nil && d.MessageType() != tt.kind {
				t.Fatalf("reply %v, want %v", d, tt.kind)
			}
			if d != nil && res.Reply.Peer.String() != tt.to {
				t.Errorf("to %s, want %s", res.Reply.Peer, tt.to)
			}
			if res.Outcome != Malformed && res.Seen == nil {
				t.Error("nothing is reported")
			}
			if (res.Outcome == IgnoredUnknown) != (res.Seen != nil && errors.Is(res.Seen.Err, rack.ErrUnknown)) ||
				(res.Outcome == IgnoredAmbiguous) != (res.Seen != nil && errors.Is(res.Seen.Err, rack.ErrAmbiguous)) {
				t.Errorf("reported with %v", res.Seen.Err)
			}
		})
	}
}

func TestMalformed38And39(t *testing.T) {
	cut := discover().bytes()
	for name, b := range map[string][]byte{
		"empty":                      {},
		"short":                      make([]byte, 100),
		"38 no cookie":               (&packet{op: 1, hlen: 6, mac: "52:54:00:01:02:03"}).opt(53, 1).bytes(),
		"38 missing 53, BOOTP":       (&packet{op: 1, hlen: 6, mac: "52:54:00:01:02:03", cookie: true}).bytes(),
		"38 option past the end":     cut[:len(cut)-2],
		"38 no end":                  cut[:len(cut)-1],
		"38 length of 53":            discover().opt(53, 1).bytes(),
		"38 hlen 16":                 func() []byte { p := discover(); p.hlen = 16; return p.bytes() }(),
		"hlen 0":                     func() []byte { p := discover(); p.hlen = 0; return p.bytes() }(),
		"op 2":                       func() []byte { p := discover(); p.op = 2; return p.bytes() }(),
		"a server's message":         message(offer).bytes(),
		"unknown message":            message(99).bytes(),
		"group address":              discover().from("01:00:5e:00:00:01").bytes(),
		"zero address":               discover().from("00:00:00:00:00:00").bytes(),
		"giaddr is a group":          discover().via("224.0.0.1", "mgmt-1", "45").bytes(),
		"giaddr is everybody":        discover().via("255.255.255.255", "mgmt-1", "45").bytes(),
		"ciaddr is everybody":        asks().is("255.255.255.255").bytes(),
		"length of 50":               asks().opt(50, 1, 2, 3).bytes(),
		"length of 54":               asks().opt(54, 1, 2, 3, 4, 5).bytes(),
		"two relays":                 discover().via(relayAddr, "mgmt-1", "45").via(relayAddr, "mgmt-1", "1").bytes(),
		"sub-option past the end":    func() []byte { p := discover().opt(82, 1, 9, 'x'); p.giaddr = relayAddr; return p.bytes() }(),
		"too long":                   append(discover().bytes(), make([]byte, MaxPacket)...),
		"client identifier too long": discover().opt(61, make([]byte, 255)...).opt(61, 1).bytes(),
		"options in file past the end": func() []byte {
			b := discover().opt(52, 1).bytes()
			b[fileEnd-2], b[fileEnd-1] = 12, 9
			return b
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			res := testServer(t, Options{}).Handle(b, sender)
			if res.Outcome != Malformed || res.Reply.Payload != nil || res.Seen != nil || res.Err == nil {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestHeader1(t *testing.T) {
	p := discover().via(relayAddr, "mgmt-1", "45")
	p.hops, p.secs, p.flags = 3, 28, 0x8001
	_, d := answerTo(t, p)
	if d.OpCode != dhcpv4.OpcodeBootReply || d.HopCount != 0 || d.NumSeconds != 0 || d.Flags != 0x8001 ||
		d.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) || d.ClientHWAddr.String() != p.mac || d.GatewayIPAddr.String() != relayAddr {
		t.Errorf("%+v", d)
	}
}

func TestRefusalSaysNothingElse8(t *testing.T) {
	p := asks().addr(50, "10.0.0.9").addr(54, ours).str(61, "\x00SN").opt(55, 1, 3, 51, 58, 67).
		str(60, "PXEClient:Arch:00000:UNDI:002001").via(relayAddr, "mgmt-1", "45")
	_, d := answerTo(t, p)
	if !d.YourIPAddr.IsUnspecified() || !d.ServerIPAddr.IsUnspecified() || !d.ClientIPAddr.IsUnspecified() || d.BootFileName != "" {
		t.Errorf("addresses in a NAK: %s", d.Summary())
	}
	if !d.IsBroadcast() {
		t.Error("7: the relay is not told to broadcast")
	}
	for code := range d.Options {
		switch code {
		case 53, 54, 56, 61, 82:
		default:
			t.Errorf("option %d in a NAK", code)
		}
	}
	if !strings.Contains(d.Message(), "10.0.0.9 is not the address of tor-1") {
		t.Errorf("option 56: %q", d.Message())
	}
}

func TestServerIdentifierAlways9(t *testing.T) {
	for _, p := range []*packet{discover(), asks().addr(50, mine), asks().addr(50, "10.0.0.9"), message(dhcpv4.MessageTypeInform).is(mine)} {
		if _, d := answerTo(t, p); d.ServerIdentifier().String() != ours {
			t.Errorf("%s without option 54", d.MessageType())
		}
	}
}

func TestLease10And11And20(t *testing.T) {
	all := []byte{51, 58, 59}
	for _, p := range []*packet{discover().opt(55, all...), asks().addr(50, mine).opt(55, all...)} {
		_, d := answerTo(t, p)
		if l, t1, t2 := d.IPAddressLeaseTime(0), d.IPAddressRenewalTime(0), d.IPAddressRebindingTime(0); l != time.Hour || t1 != l/2 || t2 != l*7/8 {
			t.Errorf("%s: lease %s, T1 %s, T2 %s", d.MessageType(), l, t1, t2)
		}
	}
	_, d := answerTo(t, message(dhcpv4.MessageTypeInform).is(mine).opt(55, 1, 51, 58, 59))
	if !d.YourIPAddr.IsUnspecified() || d.ClientIPAddr.String() != mine {
		t.Errorf("INFORM: yiaddr %s ciaddr %s", d.YourIPAddr, d.ClientIPAddr)
	}
	for _, code := range all {
		if d.Options.Has(dhcpv4.GenericOptionCode(code)) {
			t.Errorf("option %d in the answer to INFORM", code)
		}
	}
	for in, want := range map[time.Duration]uint32{0: 3600, time.Millisecond: 1, -time.Second: 3600, 1 << 62: 0xffffffff, 90 * time.Second: 90} {
		if got := (&Entry{Lease: in}).leaseSeconds(); got != want {
			t.Errorf("%s: %d s, want %d", in, got, want)
		}
	}
}

func TestClientIdentifierEchoed23(t *testing.T) {
	id := "\x00SN-0001\x00\xff"
	for _, p := range []*packet{discover(), asks().addr(50, mine), asks().addr(50, "10.0.0.9")} {
		res, _ := answerTo(t, p.str(61, id))
		if !bytes.Contains(res.Reply.Payload, append([]byte{61, byte(len(id))}, id...)) {
			t.Errorf("not unchanged in % x", res.Reply.Payload[headerSize:])
		}
	}
	if res, d := answerTo(t, discover()); d.Options.Has(dhcpv4.OptionClientIdentifier) {
		t.Errorf("invented: % x", res.Reply.Payload)
	}
}

func TestOnlyWhatWasAskedFor24(t *testing.T) {
	res, d := answerTo(t, discover().opt(55, 12, 3, 1, 28, 6, 12))
	var order []byte
	for i := headerSize; res.Reply.Payload[i] != optionEnd; i += 2 + int(res.Reply.Payload[i+1]) {
		order = append(order, res.Reply.Payload[i])
	}
	if want := []byte{53, 54, 51, 1, 12, 3, 28}; !bytes.Equal(order, want) {
		t.Errorf("options %v, want %v", order, want)
	}
	if got := d.BroadcastAddress().String(); got != "192.168.100.255" {
		t.Errorf("28: %s", got)
	}
	if _, d := answerTo(t, discover().opt(55, 6)); d.Options.Has(dhcpv4.OptionRouter) || d.Options.Has(dhcpv4.OptionSubnetMask) || d.HostName() != "" {
		t.Errorf("unasked: %s", d.Summary())
	}
	if _, d := answerTo(t, discover()); net.IP(d.SubnetMask()).String() != "255.255.255.0" || d.HostName() != "mgmt-1" {
		t.Errorf("no option 55: %s", d.Summary())
	}
	for p, want := range map[netip.Prefix]string{netip.MustParsePrefix("10.0.0.0/8"): "10.255.255.255", netip.MustParsePrefix("0.0.0.0/0"): "255.255.255.255", netip.MustParsePrefix("10.0.0.1/32"): "10.0.0.1"} {
		if got := lastAddr(p).String(); got != want {
			t.Errorf("%s: %s", p, got)
		}
	}
}

func TestMaximumSize24And30(t *testing.T) {
	room := func(p *packet, most int) Result {
		t.Helper()
		res, d := answerTo(t, p)
		if d.MessageType() != offer || len(res.Reply.Payload) > most-udpHeaders {
			t.Errorf("%d bytes, at most %d", len(res.Reply.Payload), most-udpHeaders)
		}
		return res
	}
	id := string(make([]byte, 200))
	onie := func() *packet { return discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(61, id) }
	if res := room(onie(), 576); !res.Truncated {
		t.Error("what did not fit is not told")
	}
	if res := room(onie().opt(57, 0, 10), 576); !res.Truncated {
		t.Error("57 below 576 is not taken for 576")
	}
	if res := room(onie().opt(57, 5, 220), 1500); res.Truncated {
		t.Error("57 = 1500 is not used")
	}
	if res := room(onie().opt(57, 255, 255), 1500); res.Truncated {
		t.Error("57 = 65535 is not used")
	}
	if res := room(onie().via(relayAddr, "mgmt-1", "45"), 576); !bytes.HasSuffix(bytes.TrimRight(res.Reply.Payload, "\x00"), []byte("mgmt-1\xff")) {
		t.Error("30: option 82 lost its room")
	}
	huge, _ := bootWith(t, discover().str(77, "iPXE").opt(57, 255, 255), func(e *Entry) { e.BootFile = strings.Repeat("b", 1400) })
	if len(huge.Reply.Payload) > mostMaximum-udpHeaders || !huge.Truncated {
		t.Errorf("more than one frame: %d bytes", len(huge.Reply.Payload))
	}
	big := append([]byte{151, 200}, make([]byte, 200)...)
	p := discover().str(61, id).via(relayAddr, "mgmt-1", "45", big...)
	res := room(p, 576)
	if d, err := dhcpv4.FromBytes(res.Reply.Payload); err != nil || d.Options.Has(dhcpv4.OptionRelayAgentInformation) || !res.Truncated {
		t.Errorf("30: option 82 that has no room: %v", err)
	}
	res = room(discover().via(relayAddr, "mgmt-1", "45", big...), 576)
	if d, err := dhcpv4.FromBytes(res.Reply.Payload); err != nil || !d.Options.Has(dhcpv4.OptionRelayAgentInformation) {
		t.Errorf("30: option 82 that has room: %v", err)
	}
}

func TestOverload26(t *testing.T) {
	b := discover().opt(52, 3).bytes()
	copy(b[fileOffset:], append([]byte{60, 32}, "onie_vendor:x86_64-sim_tor48-r0\x00\xff"...))
	copy(b[snameOffset:], append([]byte{77, 21}, "\x14onie_dhcp_user_class\xff"...))
	res := testServer(t, Options{}).Handle(b, sender)
	if res.Seen == nil || res.Seen.Observation.Model != "sim_tor48" || !strings.Contains(res.Seen.Evidence, "77=") {
		t.Errorf("%+v", res)
	}
}

func TestRelayInformation30And31(t *testing.T) {
	odd := []byte{1, 1, 'x', 151, 0, 19, 0, 6, 2, 0xff, 0}
	for _, p := range []*packet{
		discover().via(relayAddr, "mgmt-1", "45", odd...),
		asks().addr(50, torAddr).via(relayAddr, "mgmt-1", "45", odd...).str(60, "udhcp 1.35.0"),
		asks().addr(50, mine).via(relayAddr, "mgmt-1", "45", odd...),
	} {
		raw, _, _ := rawOption(p.options, 82)
		res, _ := answerTo(t, p)
		got := bytes.TrimRight(res.Reply.Payload, "\x00")
		if !bytes.HasSuffix(got, append(raw, optionEnd)) {
			t.Errorf("not last or not the same: % x", got)
		}
	}
	if _, d := answerTo(t, discover()); d.Options.Has(dhcpv4.OptionRelayAgentInformation) {
		t.Error("31: option 82 without request")
	}
}

func TestServerIdentifierOverride33(t *testing.T) {
	over := []byte{11, 4, 192, 168, 100, 2}
	_, d := answerTo(t, discover().via(relayAddr, "mgmt-1", "45", over...))
	if got := d.ServerIdentifier().String(); got != "192.168.100.2" {
		t.Errorf("54 = %s", got)
	}
	res, _ := answerTo(t, asks().addr(50, torAddr).addr(54, "192.168.100.2").via(relayAddr, "mgmt-1", "45", over...))
	if res.Outcome != Acknowledged {
		t.Errorf("REQUEST with the relay's identifier: %s", res.Outcome)
	}
	res, _ = answerTo(t, asks().addr(50, torAddr).addr(54, theirs).via(relayAddr, "mgmt-1", "45", over...))
	if res.Outcome != IgnoredOtherServer {
		t.Errorf("REQUEST to another server: %s", res.Outcome)
	}
}

func TestPaddingAndGarbage37(t *testing.T) {
	res := testServer(t, Options{}).Handle(append(discover().bytes(), "garbage"...), sender)
	if res.Outcome != Offered || len(res.Reply.Payload) < minMessage {
		t.Errorf("%s, %d bytes", res.Outcome, len(res.Reply.Payload))
	}
}

func TestRepeatedPacketSameAnswer41(t *testing.T) {
	s := testServer(t, Options{})
	first := s.Handle(discover().bytes(), sender)
	again := discover()
	again.secs = 12
	if second := s.Handle(again.bytes(), sender); !bytes.Equal(first.Reply.Payload, second.Reply.Payload) {
		t.Error("the answer changed")
	}
}

func TestNoTableNoAnswer(t *testing.T) {
	s := testServer(t, Options{Table: func() Table { return nil }})
	if res := s.Handle(discover().bytes(), sender); res.Reply.Payload != nil || res.Outcome != IgnoredUnknown {
		t.Errorf("%+v", res)
	}
	s = testServer(t, Options{Table: func() Table { return &fixed{mac: map[string]Entry{"52:54:00:01:02:03": {Device: "x"}}} }})
	if res := s.Handle(discover().bytes(), sender); res.Reply.Payload != nil || res.Outcome != IgnoredNoAddress {
		t.Errorf("%+v", res)
	}
}

func BenchmarkHandle(b *testing.B) {
	s := testServer(b, Options{})
	in := asks().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(77, "\x14onie_dhcp_user_class").str(61, "\x00SN-0001").
		addr(50, torAddr).addr(54, ours).via(relayAddr, "mgmt-1", "45", 19, 0).bytes()
	b.ReportAllocs()
	for b.Loop() {
		if s.Handle(in, sender).Outcome != Acknowledged {
			b.Fatal("not acknowledged")
		}
	}
}
