package discovery

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/lease"
)

// The tests TestLine01 to TestLine44 are the lines of the conformance checklist
// (docs/dhcp.md), one each. Where a line leaves a choice, the test says what
// was chosen.

const (
	offer = dhcpv4.MessageTypeOffer
	ack   = dhcpv4.MessageTypeAck
	nak   = dhcpv4.MessageTypeNak
	none  = dhcpv4.MessageTypeNone
)

// exchange is a packet and what must come of it.
type exchange struct {
	name    string
	p       *packet
	kind    dhcpv4.MessageType // of the reply; none: silence
	outcome Outcome
	to      string // Datagram.Peer
	raw     bool   // Datagram.Hardware is chaddr: no ARP
}

func (x exchange) run(t *testing.T) {
	t.Run(x.name, func(t *testing.T) {
		res, d := answerTo(t, x.p)
		x.check(t, res, d)
	})
}

func (x exchange) check(t *testing.T, res Result, d *dhcpv4.DHCPv4) {
	t.Helper()
	if res.Outcome != x.outcome {
		t.Errorf("outcome %s, want %s (%v)", res.Outcome, x.outcome, res.Err)
	}
	if (d != nil) != (x.kind != none) || d != nil && d.MessageType() != x.kind {
		t.Fatalf("reply %v, want %v", d, x.kind)
	}
	if d == nil {
		return
	}
	if x.to != "" && res.Reply.Peer.String() != x.to {
		t.Errorf("to %s, want %s", res.Reply.Peer, x.to)
	}
	hw := res.Reply.Hardware.String()
	if x.to != "" && ((hw != "") != x.raw || x.raw && hw != x.p.mac) {
		t.Errorf("by hardware address %q", hw)
	}
}

func runAll(t *testing.T, all []exchange) {
	t.Helper()
	for _, x := range all {
		x.run(t)
	}
}

func broadcastFlag(p *packet) *packet { p.flags = 0x8000; return p }

func selecting(address string) *packet { return asks().addr(50, address).addr(54, ours) }

func relayed(p *packet) *packet { return p.via(relayAddr, "mgmt-1", "45") }

const everybody = "255.255.255.255:68"

func TestLine01(t *testing.T) {
	for _, p := range []*packet{discover(), selecting(torAddr), selecting(mine)} {
		relayed(p)
		p.hops, p.secs, p.flags = 3, 28, 0x8001
		res, d := answerTo(t, p)
		if d.OpCode != dhcpv4.OpcodeBootReply || d.HopCount != 0 || d.NumSeconds != 0 || d.Flags != 0x8001 || d.HWType != 1 || res.Reply.Payload[2] != 6 ||
			d.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) || d.ClientHWAddr.String() != p.mac || d.GatewayIPAddr.String() != relayAddr {
			t.Errorf("%s", d.Summary())
		}
	}
}

func TestLine02(t *testing.T) {
	runAll(t, []exchange{
		{"OFFER", relayed(discover()), offer, Offered, relayAddr + ":67", false},
		{"ACK", relayed(selecting(torAddr)), ack, Acknowledged, relayAddr + ":67", false},
		{"ACK to INFORM", relayed(message(dhcpv4.MessageTypeInform).is(torAddr)), ack, Acknowledged, relayAddr + ":67", false},
		{"the flag does not matter", broadcastFlag(relayed(discover())), offer, Offered, relayAddr + ":67", false},
		{"RFC 8357 source port", discover().via(relayAddr, "mgmt-1", "45", 19, 0), offer, Offered, relayAddr + ":40001", false},
	})
}

func TestLine03(t *testing.T) {
	runAll(t, []exchange{
		{"ACK", asks().is(mine), ack, Acknowledged, mine + ":68", false},
		{"ACK, flag set", broadcastFlag(asks().is(mine)), ack, Acknowledged, mine + ":68", false},
		{"OFFER", discover().is(mine), offer, Offered, mine + ":68", false},
		{"never to an address that is not the client's", discover().is("10.9.9.9"), offer, Offered, mine + ":68", true},
	})
}

func TestLine04(t *testing.T) {
	runAll(t, []exchange{
		{"OFFER", broadcastFlag(discover()), offer, Offered, everybody, false},
		{"ACK", broadcastFlag(selecting(mine)), ack, Acknowledged, everybody, false},
	})
}

func TestLine05(t *testing.T) {
	runAll(t, []exchange{
		{"OFFER", discover(), offer, Offered, mine + ":68", true},
		{"ACK", selecting(mine), ack, Acknowledged, mine + ":68", true},
	})
}

func TestLine06(t *testing.T) {
	runAll(t, []exchange{
		{"NAK", selecting("10.0.0.9"), nak, Refused, everybody, false},
		{"NAK, ciaddr set", selecting("10.0.0.9").is(mine), nak, Refused, everybody, false},
		{"NAK, flag clear, ciaddr foreign", asks().is("10.0.0.9").addr(50, mine), nak, Refused, everybody, false},
	})
}

func TestLine07(t *testing.T) {
	x := exchange{"NAK", relayed(selecting("10.0.0.9")), nak, Refused, relayAddr + ":67", false}
	x.run(t)
	if _, d := answerTo(t, x.p); !d.IsBroadcast() {
		t.Error("the relay is not told to broadcast")
	}
}

func TestLine08(t *testing.T) {
	p := relayed(selecting("10.0.0.9").str(61, "\x00SN").opt(55, 1, 3, 51, 58, 67).str(60, "PXEClient:Arch:00000:UNDI:002001"))
	_, d := answerTo(t, p)
	if !d.YourIPAddr.IsUnspecified() || !d.ServerIPAddr.IsUnspecified() || !d.ClientIPAddr.IsUnspecified() || d.BootFileName != "" {
		t.Errorf("addresses in a NAK: %s", d.Summary())
	}
	var codes []byte
	for code := range d.Options {
		codes = append(codes, code)
	}
	if slices.Sort(codes); !bytes.Equal(codes, []byte{53, 54, 56, 61, 82}) {
		t.Errorf("options %v", codes)
	}
	if want := "10.0.0.9 is not the address of tor-1; ask again with DISCOVER"; d.Message() != want {
		t.Errorf("56: %q", d.Message())
	}
}

func TestLine09(t *testing.T) {
	for _, p := range []*packet{discover(), selecting(mine), selecting("10.0.0.9"), message(dhcpv4.MessageTypeInform).is(mine)} {
		if _, d := answerTo(t, p); d.ServerIdentifier().String() != ours {
			t.Errorf("%s without option 54", d.MessageType())
		}
	}
}

func TestLine10(t *testing.T) {
	for _, p := range []*packet{discover().opt(55, 1), selecting(mine)} {
		if _, d := answerTo(t, p); d.IPAddressLeaseTime(0) != time.Hour {
			t.Errorf("%s: lease %s", d.MessageType(), d.IPAddressLeaseTime(0))
		}
	}
	if _, d := answerTo(t, message(dhcpv4.MessageTypeInform).is(mine).opt(55, 51)); d.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
		t.Error("a lease in the answer to INFORM")
	}
}

func TestLine11(t *testing.T) {
	for given, want := range map[time.Duration][3]time.Duration{
		0:                 {time.Hour, 30 * time.Minute, 52*time.Minute + 30*time.Second},
		90 * time.Second:  {90 * time.Second, 45 * time.Second, 78 * time.Second},
		8 * time.Second:   {8 * time.Second, 4 * time.Second, 7 * time.Second},
		time.Second:       {time.Second},      // no room for T1 < T2 < lease
		time.Millisecond:  {time.Second},      // whole seconds
		1 << 62:           {0xffffffff * 1e9}, // for ever: never renewed
		-10 * time.Second: {time.Hour, 30 * time.Minute, 52*time.Minute + 30*time.Second},
	} {
		_, d := bootWith(t, discover().opt(55, 51, 58, 59), func(e *Entry) { e.Lease = given })
		if got := [3]time.Duration{d.IPAddressLeaseTime(0), d.IPAddressRenewalTime(0), d.IPAddressRebindingTime(0)}; got != want {
			t.Errorf("%s: lease, T1, T2 are %v, want %v", given, got, want)
		}
	}
}

func TestLine12(t *testing.T) {
	runAll(t, []exchange{
		{"ours", selecting(mine), ack, Acknowledged, mine + ":68", true},
		{"another server's", asks().addr(50, mine).addr(54, theirs), none, IgnoredOtherServer, "", false},
	})
	s := poolServer(t, 1)
	first := s.mustOffer(t, 1)
	if r, _ := s.answer(t, asks().from(client(1)).addr(50, first).addr(54, theirs)); r.Outcome != IgnoredOtherServer {
		t.Errorf("%s", r.Outcome)
	}
	if again := s.mustOffer(t, 2); again != first {
		t.Errorf("the offered address is not free: %s, then %s", first, again)
	}
}

func TestLine13(t *testing.T) {
	runAll(t, []exchange{
		{"not offered", selecting(torAddr), nak, Refused, everybody, false},
		{"of another network", selecting("10.1.1.1"), nak, Refused, everybody, false},
	})
	s := poolServer(t, 9)
	taken := s.mustAck(t, 1)
	for _, a := range []string{taken, "10.0.1.7"} {
		if r, d := s.answer(t, selecting(a).from(client(2))); r.Outcome != Refused || d.MessageType() != nak {
			t.Errorf("%s of a pool: %s", a, r.Outcome)
		}
	}
}

func TestLine14(t *testing.T) {
	runAll(t, []exchange{
		{"right", asks().addr(50, mine), ack, Acknowledged, mine + ":68", true},
		{"wrong address", asks().addr(50, "192.168.100.77"), nak, Refused, everybody, false},
		{"wrong network", asks().addr(50, "10.1.1.1"), nak, Refused, everybody, false},
		{"no record", asks().from("52:54:00:09:09:09").addr(50, mine), none, IgnoredUnknown, "", false},
	})
	s := poolServer(t, 9)
	a := s.mustAck(t, 1)
	for _, x := range []exchange{
		{"pool, right", asks().from(client(1)).addr(50, a), ack, Acknowledged, a + ":68", true},
		{"pool, wrong address", asks().from(client(1)).addr(50, "10.0.1.8"), nak, Refused, everybody, false},
		{"pool, wrong network", asks().from(client(1)).addr(50, "172.16.0.1"), nak, Refused, everybody, false},
		{"pool, no record", asks().from(client(2)).addr(50, "10.0.1.8"), none, IgnoredUnknown, "", false},
	} {
		t.Run(x.name, func(t *testing.T) { r, d := s.answer(t, x.p); x.check(t, r, d) })
	}
}

func TestLine15(t *testing.T) {
	runAll(t, []exchange{
		{"RENEWING", asks().is(mine), ack, Acknowledged, mine + ":68", false},
		{"RENEWING a foreign address: not surely wrong", asks().is("192.168.100.77"), none, IgnoredWrongAddress, "", false},
		{"REBINDING", relayed(asks().is(torAddr)), ack, Acknowledged, relayAddr + ":67", false},
		{"REBINDING a foreign address", relayed(asks().is("192.168.100.77")), nak, Refused, relayAddr + ":67", false},
		{"REBINDING, no record", asks().from("52:54:00:09:09:09").is("192.168.100.77"), none, IgnoredUnknown, "", false},
	})
	s := poolServer(t, 9)
	a := s.mustAck(t, 1)
	s.now = s.now.Add(40 * time.Minute)
	r, d := s.answer(t, asks().from(client(1)).is(a))
	if l, _ := s.leases.At(netip.MustParseAddr(a)); r.Outcome != Acknowledged || d.YourIPAddr.String() != a || !l.Ends.Equal(s.now.Add(time.Hour)) {
		t.Errorf("%s: %s until %s", r.Outcome, d.YourIPAddr, l.Ends)
	}
}

// pooled is a server whose only table is a pool for strangers, at a time of its own.
type pooled struct {
	*Server
	now time.Time
}

func poolServer(t *testing.T, n int, change ...func(*Options)) *pooled {
	t.Helper()
	o := Options{Table: strangers("10.0.1.1", fmt.Sprintf("10.0.1.%d", n)), Leases: lease.Memory(lease.Options{})}
	for _, f := range change {
		f(&o)
	}
	return &pooled{testServer(t, o), testTime}
}

// answer handles a packet and commits what it led to.
func (s *pooled) answer(t *testing.T, p *packet) (Result, *dhcpv4.DHCPv4) {
	t.Helper()
	res := s.handle(p.bytes(), sender, s.now, nil)
	if err := s.leases.Commit(); err != nil {
		t.Fatal(err)
	}
	if res.Reply.Payload == nil {
		return res, nil
	}
	d, err := dhcpv4.FromBytes(res.Reply.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return res, d
}

func (s *pooled) mustOffer(t *testing.T, n int) string {
	t.Helper()
	r, d := s.answer(t, discover().from(client(n)))
	if r.Outcome != Offered {
		t.Fatalf("client %d: %s", n, r.Outcome)
	}
	return d.YourIPAddr.String()
}

func (s *pooled) mustAck(t *testing.T, n int) string {
	t.Helper()
	a := s.mustOffer(t, n)
	r, d := s.answer(t, selecting(a).from(client(n)))
	if r.Outcome != Acknowledged || d.YourIPAddr.String() != a {
		t.Fatalf("client %d: %s %v", n, r.Outcome, d)
	}
	return a
}
