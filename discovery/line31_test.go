package discovery

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestLine31(t *testing.T) {
	for _, p := range []*packet{discover(), selecting(mine), selecting("10.0.0.9"), asks().is(mine)} {
		if _, d := answerTo(t, p.opt(55, 82)); d.Options.Has(dhcpv4.OptionRelayAgentInformation) {
			t.Errorf("%s: option 82 without request", d.MessageType())
		}
	}
	// A switch that only snoops adds 82 and no giaddr; it gets 82 back.
	p := discover().via("127.0.0.1", "mgmt-1", "45")
	p.giaddr = ""
	if res, d := answerTo(t, p); !d.Options.Has(dhcpv4.OptionRelayAgentInformation) || res.Reply.Peer.String() != torAddr+":68" {
		t.Errorf("snooped: to %s", res.Reply.Peer)
	}
}

// links is a table of two networks that gives strangers an address of the one they
// are on.
type links map[string]lease.Pool

func (l links) Lookup(k rack.Keys) (Entry, rack.Binding, error) {
	for network, pool := range l {
		if p := netip.MustParsePrefix(network); k.Link.IsValid() && p.Contains(k.Link) {
			return Entry{Pool: pool, Prefix: p}, rack.Binding{}, fmt.Errorf("%w: a stranger", rack.ErrUnknown)
		}
	}
	return Entry{}, rack.Binding{}, fmt.Errorf("%w: a stranger", rack.ErrUnknown)
}

func twoLinks() *Server {
	pool := func(a, b string) lease.Pool {
		return lease.Pool{First: netip.MustParseAddr(a), Last: netip.MustParseAddr(b)}
	}
	table := links{"10.1.0.0/24": pool("10.1.0.1", "10.1.0.9"), "10.2.0.0/24": pool("10.2.0.1", "10.2.0.9")}
	s, err := New(Options{Wire: newBatches(), Table: func() Table { return table }, ServerID: netip.MustParseAddr(ours)})
	if err != nil {
		panic(err)
	}
	return s
}

func TestLine32(t *testing.T) {
	selection := func(a string) []byte { return append([]byte{5, 4}, netip.MustParseAddr(a).AsSlice()...) }
	for _, x := range []struct{ name, giaddr, link, want string }{
		{"giaddr alone", "10.1.0.250", "", "10.1.0.1"},
		{"link selection instead of giaddr", "10.1.0.250", "10.2.0.0", "10.2.0.1"},
		{"link selection, giaddr of no network of ours", "172.16.0.1", "10.2.0.0", "10.2.0.1"},
		{"a link that is none of ours", "10.1.0.250", "172.16.0.0", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			var more []byte
			if x.link != "" {
				more = selection(x.link)
			}
			res, d := handled(t, twoLinks(), discover().via(x.giaddr, "r", "1", more...))
			if x.want == "" {
				if res.Outcome != IgnoredUnknown {
					t.Errorf("%s", res.Outcome)
				}
				return
			}
			if d.YourIPAddr.String() != x.want || res.Reply.Peer.String() != x.giaddr+":67" {
				t.Errorf("%s to %s", d.YourIPAddr, res.Reply.Peer)
			}
		})
	}
}

// Link selection is a relay's word (RFC 3527 section 3): what a switch that only
// snoops, or a client, writes there chooses no network.
func TestLine32WithoutRelay(t *testing.T) {
	p := discover().via("", "r", "1", 5, 4, 10, 2, 0, 0)
	if res, _ := handled(t, twoLinks(), p); res.Outcome != IgnoredUnknown {
		t.Errorf("%s", res.Outcome)
	}
}

func TestLine33(t *testing.T) {
	over := []byte{11, 4, 192, 168, 100, 2}
	_, d := answerTo(t, discover().via(relayAddr, "mgmt-1", "45", over...))
	if got := d.ServerIdentifier().String(); got != "192.168.100.2" {
		t.Errorf("54 = %s", got)
	}
	runAll(t, []exchange{
		{"REQUEST with the relay's identifier", asks().addr(50, torAddr).addr(54, "192.168.100.2").via(relayAddr, "mgmt-1", "45", over...), ack, Acknowledged, relayAddr + ":67", false},
		{"REQUEST with our own", selecting(torAddr).via(relayAddr, "mgmt-1", "45", over...), ack, Acknowledged, relayAddr + ":67", false},
		{"REQUEST with another server's", asks().addr(50, torAddr).addr(54, theirs).via(relayAddr, "mgmt-1", "45", over...), none, IgnoredOtherServer, "", false},
		// 82/10 tells how the request came to the relay (RFC 5010); nothing depends on it.
		{"flags: unicast", discover().via(relayAddr, "mgmt-1", "45", 10, 1, 0x80), offer, Offered, relayAddr + ":67", false},
		{"flags: broadcast", discover().via(relayAddr, "mgmt-1", "45", 10, 1, 0), offer, Offered, relayAddr + ":67", false},
	})
	// Without a relay nobody may choose our identifier.
	p := discover().via(relayAddr, "mgmt-1", "45", over...)
	p.giaddr = ""
	if _, d := answerTo(t, p); d.ServerIdentifier().String() != ours {
		t.Errorf("54 = %s, chosen without giaddr", d.ServerIdentifier())
	}
}

func TestLine34(t *testing.T) {
	more := []byte{6, 3, 's', 'u', 'b', 9, 5, 0, 0, 0, 9, 0, 12, 2, 'i', 'd', 151, 2, 0, 'v', 200, 0}
	res, _ := answerTo(t, discover().via(relayAddr, "mgmt-1", "45", more...))
	if res.Outcome != Offered || !bytes.Contains(res.Reply.Payload, more) || res.Seen.Keys.Via != (rack.Port{Device: "mgmt-1", Name: "45"}) {
		t.Errorf("%+v", res)
	}
}

func TestLine35(t *testing.T) {
	res, d := handled(t, twoLinks(), discover().addr(118, "10.2.0.0"))
	if d.YourIPAddr.String() != "10.2.0.1" || !bytes.Contains(res.Reply.Payload, []byte{118, 4, 10, 2, 0, 0}) {
		t.Errorf("%s: %v", d.YourIPAddr, codes(res.Reply.Payload))
	}
	selection := append([]byte{5, 4}, netip.MustParseAddr("10.1.0.0").AsSlice()...)
	res, d = handled(t, twoLinks(), discover().addr(118, "10.2.0.0").via("10.1.0.250", "r", "1", selection...))
	if d.YourIPAddr.String() != "10.1.0.1" || bytes.Contains(codes(res.Reply.Payload), []byte{118}) {
		t.Errorf("the relay's word counts more: %s, %v", d.YourIPAddr, codes(res.Reply.Payload))
	}
	if res, _ := answerTo(t, discover().addr(118, "10.2.0.0")); bytes.Contains(codes(res.Reply.Payload), []byte{118}) {
		t.Error("returned although the address is of another network")
	}
}

// A renewal bypasses the relay: it says nothing of the port. The lease does, also
// after a restart.
func TestLine36(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	open := func() *pooled {
		t.Helper()
		store, err := lease.Open(path, lease.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return &pooled{testServer(t, Options{Leases: store}), testTime}
	}
	s := open()
	const host = "52:54:00:77:77:77" // no MAC of the table: known by its port alone
	if r, _ := s.answer(t, relayed(selecting(torAddr)).from(host)); r.Outcome != Acknowledged {
		t.Fatal(r.Outcome)
	}
	if err := s.leases.Close(); err != nil {
		t.Fatal(err)
	}
	now := s.now
	s = open()
	s.now = now
	r, d := s.answer(t, asks().is(torAddr).from(host))
	if r.Outcome != Acknowledged || d.YourIPAddr.String() != torAddr || r.Reply.Peer.String() != torAddr+":68" {
		t.Fatalf("%s %v", r.Outcome, r.Seen.Err)
	}
	if o := r.Seen.Observation; o.Device != "tor-1" || !o.Via.IsZero() || r.Seen.Binding.Network != "" || !r.Seen.Binding.Link.IsZero() {
		t.Errorf("the packet is said to have come through a port: %+v %+v", o, r.Seen.Binding)
	}
	for range 2 { // each renewal leaves the next one what it needs
		if r, _ := s.answer(t, asks().is(torAddr).from(host)); r.Outcome != Acknowledged {
			t.Errorf("renewed again: %s", r.Outcome)
		}
	}
	if r, _ := s.answer(t, asks().is(torAddr).from("52:54:00:77:77:78")); r.Outcome != IgnoredUnknown {
		t.Errorf("another machine with that address: %s", r.Outcome)
	}
}

func TestLine37(t *testing.T) {
	res := testServer(t, Options{}).Handle(append(discover().bytes(), "garbage"...), sender)
	if res.Outcome != Offered {
		t.Errorf("%s", res.Outcome)
	}
	for _, p := range []*packet{discover(), selecting(mine), selecting("10.0.0.9"), message(dhcpv4.MessageTypeInform).is(mine)} {
		res, _ := answerTo(t, p)
		if len(res.Reply.Payload) < 300 {
			t.Errorf("%d bytes", len(res.Reply.Payload))
		}
	}
}

func TestLine38(t *testing.T) {
	whole := discover().bytes()
	for _, x := range []struct {
		name string
		want Outcome
		b    []byte
	}{
		{"empty", MalformedLength, nil},
		{"short", MalformedLength, make([]byte, 100)},
		{"no cookie", MalformedOptions, (&packet{op: 1, hlen: 6, mac: "52:54:00:01:02:03"}).opt(53, 1).bytes()},
		{"option past the end", MalformedOptions, whole[:len(whole)-2]},
		{"no end", MalformedOptions, whole[:len(whole)-1]},
		{"length of 53", MalformedType, discover().opt(53, 1).bytes()},
		{"hlen 16", MalformedHardware, func() []byte { p := discover(); p.hlen = 16; return p.bytes() }()},
		{"hlen 17", MalformedHardware, func() []byte { p := discover(); p.hlen = 17; return p.bytes() }()},
		{"hlen 0", MalformedHardware, func() []byte { p := discover(); p.hlen = 0; return p.bytes() }()},
		{"op 2", MalformedRequest, func() []byte { p := discover(); p.op = 2; return p.bytes() }()},
		{"a server's message", MalformedType, message(offer).bytes()},
		{"unknown message", MalformedType, message(99).bytes()},
		{"group address", MalformedHardware, discover().from("01:00:5e:00:00:01").bytes()},
		{"zero address", MalformedHardware, discover().from("00:00:00:00:00:00").bytes()},
		{"giaddr is a group", MalformedAddress, discover().via("224.0.0.1", "mgmt-1", "45").bytes()},
		{"giaddr is everybody", MalformedAddress, discover().via("255.255.255.255", "mgmt-1", "45").bytes()},
		{"ciaddr is everybody", MalformedAddress, asks().is("255.255.255.255").bytes()},
		{"length of 50", MalformedAddress, asks().opt(50, 1, 2, 3).bytes()},
		{"length of 54", MalformedAddress, asks().opt(54, 1, 2, 3, 4, 5).bytes()},
		{"two relays", MalformedRelay, relayed(relayed(discover())).bytes()},
		{"sub-option past the end", MalformedRelay, func() []byte { p := discover().opt(82, 1, 9, 'x'); p.giaddr = relayAddr; return p.bytes() }()},
		{"too long", MalformedLength, append(discover().bytes(), make([]byte, MaxPacket)...)},
		{"client identifier too long", MalformedClientID, discover().opt(61, make([]byte, 255)...).opt(61, 1).bytes()},
	} {
		t.Run(x.name, func(t *testing.T) {
			res := testServer(t, Options{}).Handle(x.b, sender)
			if res.Outcome != x.want || !res.Outcome.Malformed() || res.Reply.Payload != nil || res.Seen != nil || res.Err == nil {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestLine39(t *testing.T) {
	bootp := &packet{op: 1, hlen: 6, mac: "52:54:00:01:02:03", cookie: true}
	if res := testServer(t, Options{}).Handle(bootp.bytes(), sender); res.Outcome != MalformedType || res.Message != noMessage {
		t.Errorf("%+v", res)
	}
}

// A wire is one interface, so an answer leaves where the request came in; which
// frames those are, golden_test.go says.
func TestLine40(t *testing.T) {
	other := testTable()
	e := other.mac["52:54:00:01:02:03"]
	e.ServerID = netip.MustParseAddr("10.9.9.1")
	other.mac["52:54:00:01:02:03"] = e
	s := testServer(t, Options{Table: func() Table { return other }})
	res, d := handled(t, s, discover())
	if d.ServerIdentifier().String() != "10.9.9.1" {
		t.Errorf("54 is %s, not the agent's address on that network", d.ServerIdentifier())
	}
	if from := res.Reply.Local.Addr(); from.String() != "10.9.9.1" {
		t.Errorf("it leaves from %s, and not from the address in 54", from)
	}
	if res, _ = handled(t, s, asks().addr(50, mine).addr(54, "10.9.9.1")); res.Outcome != Acknowledged {
		t.Errorf("%s", res.Outcome)
	}
}

func TestLine41(t *testing.T) {
	for _, p := range []func() *packet{discover, func() *packet { return selecting(mine) }, func() *packet { return selecting("10.0.0.9") }} {
		s := testServer(t, Options{})
		first, _ := handled(t, s, p())
		for _, secs := range []uint16{4, 12, 28} {
			again := p()
			again.secs = secs
			if r, _ := handled(t, s, again); !bytes.Equal(first.Reply.Payload, r.Reply.Payload) {
				t.Errorf("%s, %d s: the answer changed", r.Message, secs)
			}
		}
	}
	s := poolServer(t, 9)
	a := s.mustAck(t, 1)
	for range 3 {
		if r, d := s.answer(t, selecting(a).from(client(1))); r.Outcome != Acknowledged || d.YourIPAddr.String() != a {
			t.Errorf("a repeated REQUEST: %s", r.Outcome)
		}
	}
	n := 0
	if s.leases.All(func(lease.Lease) { n++ }); n != 1 {
		t.Errorf("%d leases", n)
	}
}

func TestLine42(t *testing.T) {
	x := exchange{"rapid commit", discover().opt(80), offer, Offered, mine + ":68", true}
	x.run(t)
	if _, d := answerTo(t, x.p); d.Options.Has(dhcpv4.GenericOptionCode(80)) {
		t.Error("80 in an OFFER")
	}
}

// That nothing leaves before it is durable: TestOneCommitABatch, TestDiskTrouble.
// Here: what was acknowledged is there after a crash, which closes nothing.
func TestLine43(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	store, err := lease.Open(path, lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(t, Options{Wire: newBatches(), Leases: store, Table: strangers("10.0.1.1", "10.0.1.9")})
	together(t, s, discover().from(client(1)))
	if out := together(t, s, selecting("10.0.1.1").from(client(1))); len(out) != 1 {
		t.Fatal("no acknowledgement")
	}
	after := filepath.Join(t.TempDir(), "leases") // as a crash leaves it
	copyFile(t, path, after)
	again, err := lease.Open(after, lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := again.At(netip.MustParseAddr("10.0.1.1")); !ok || l.State != lease.Bound || l.Holder.String() != client(1) {
		t.Errorf("%+v %v", l, ok)
	}
	for _, x := range []*lease.Store{store, again} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLine44(t *testing.T) {
	foreign := func(p *packet) *packet { return p.from("52:54:00:09:09:09") }
	runAll(t, []exchange{
		{"DISCOVER", foreign(discover()), none, IgnoredUnknown, "", false},
		{"REQUEST to the other server", foreign(asks()).addr(50, "10.0.0.9").addr(54, theirs), none, IgnoredUnknown, "", false},
		{"RENEWING", foreign(asks()).is("10.0.0.9"), none, IgnoredUnknown, "", false},
		{"INFORM", foreign(message(dhcpv4.MessageTypeInform)).is("10.0.0.9"), none, IgnoredUnknown, "", false},
		{"RELEASE", foreign(message(dhcpv4.MessageTypeRelease)).is("10.0.0.9").addr(54, theirs), none, IgnoredUnknown, "", false},
		{"our own slot's, which chose the other server", asks().addr(50, mine).addr(54, theirs), none, IgnoredOtherServer, "", false},
	})
}

// The spellings of real switches, through the engine to the slot that hangs on the
// port (package relay holds them all).
func TestRelaysOfRealSwitches(t *testing.T) {
	r := &rack.Rack{Devices: []rack.Device{{Name: "mgmt-1", Role: rack.ManagementSwitch, Address: netip.MustParseAddr(relayAddr)},
		{Name: "tor-1", Role: rack.ToRSwitch, Management: rack.Port{Device: "mgmt-1", Name: "45"}}}}
	s := testServer(t, Options{Ports: relay.NewPorts(r)})
	for _, circuit := range []string{"ge-0/0/45.0", "Ethernet45", "\x00\x0aEthernet45", "Gi1/45:100", "\x00\x04\x00\x64\x01\x2d", "mgmt-1:etp45:Vlan100", "swp45"} {
		p := discover().from("52:54:00:77:77:77").via(relayAddr, "02:00:00:00:00:01", circuit)
		res, d := handled(t, s, p)
		raw, _, _ := rawOption(p.options, optionRelay)
		if res.Outcome != Offered || d.YourIPAddr.String() != torAddr || !bytes.Contains(res.Reply.Payload, raw) {
			t.Errorf("%q: %s, %v", circuit, res.Outcome, res.Seen.Err)
		}
		if res.Seen.Observation.Via != (rack.Port{Device: "mgmt-1", Name: "45"}) {
			t.Errorf("%q: through %s", circuit, res.Seen.Observation.Via)
		}
	}
	if res, _ := handled(t, s, discover().from("52:54:00:77:77:77").via(relayAddr, "", "Ethernet46")); res.Outcome != IgnoredUnknown {
		t.Errorf("%s", res.Outcome)
	}
}
