package discovery

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestLine16(t *testing.T) {
	unknown := func() *packet { return asks().from("52:54:00:09:09:09").addr(50, mine) }
	runAll(t, []exchange{
		{"INIT-REBOOT", unknown(), none, IgnoredUnknown, "", false},
		{"SELECTING us", unknown().addr(54, ours), none, IgnoredUnknown, "", false},
		{"REBINDING", asks().from("52:54:00:09:09:09").is(mine), none, IgnoredUnknown, "", false},
	})
	s := testServer(t, Options{Authoritative: true})
	for _, x := range []exchange{
		{"authoritative, INIT-REBOOT", unknown(), nak, RefusedUnknown, everybody, false},
		{"authoritative, REBINDING", asks().from("52:54:00:09:09:09").is(mine), nak, RefusedUnknown, everybody, false},
		{"authoritative, another server's", unknown().addr(54, theirs), none, IgnoredOtherServer, "", false},
		{"authoritative, DISCOVER", discover().from("52:54:00:09:09:09"), none, IgnoredUnknown, "", false},
		{"authoritative, ambiguous", asks().from("52:54:00:aa:aa:aa").addr(50, mine), none, IgnoredAmbiguous, "", false},
		{"authoritative, RELEASE", message(dhcpv4.MessageTypeRelease).from("52:54:00:09:09:09").is(mine), none, IgnoredUnknown, "", false},
	} {
		t.Run(x.name, func(t *testing.T) { r, d := handled(t, s, x.p); x.check(t, r, d) })
	}
	pool := poolServer(t, 9, func(o *Options) { o.Authoritative = true })
	if r, _ := pool.answer(t, asks().from(client(1)).addr(50, "10.0.1.3")); r.Outcome != RefusedUnknown {
		t.Errorf("authoritative, no record in the pool: %s", r.Outcome)
	}
}

// RFC 2131 refuses; Kea acknowledges for clients that are broken. We refuse: nothing
// would say which address was meant.
func TestLine17(t *testing.T) {
	runAll(t, []exchange{
		{"neither 50 nor ciaddr", asks(), nak, RefusedBlank, everybody, false},
		{"with 54", asks().addr(54, ours), nak, RefusedBlank, everybody, false},
		{"with another server's 54", asks().addr(54, theirs), none, IgnoredOtherServer, "", false},
	})
}

func TestLine18(t *testing.T) {
	decline := func() *packet { return message(dhcpv4.MessageTypeDecline) }
	runAll(t, []exchange{
		{"pre-determined", decline().addr(50, mine).addr(54, ours), none, Declined, "", false},
		{"another server's", decline().addr(50, mine).addr(54, theirs), none, IgnoredOtherServer, "", false},
		{"without 50", decline().addr(54, ours), none, MalformedAddress, "", false},
	})
	t.Run("pool", func(t *testing.T) {
		s := poolServer(t, 2)
		a := s.mustAck(t, 1)
		if r, _ := s.answer(t, decline().from(client(2)).addr(50, a).addr(54, ours)); r.Outcome != Declined || r.Seen.Alarm != "" {
			t.Errorf("somebody else's address: %s, alarm %q", r.Outcome, r.Seen.Alarm)
		}
		if again := s.mustAck(t, 1); again != a {
			t.Errorf("anybody can take %s away", a)
		}
		r, _ := s.answer(t, decline().from(client(1)).addr(50, a).addr(54, ours).str(56, "in use\n"))
		if !strings.Contains(r.Seen.Alarm, "another machine on the network uses it") || r.Seen.Observation.Message != `in use\x0a` || r.Seen.Observation.Proves != rack.NoEvidence {
			t.Errorf("%+v", r.Seen)
		}
		if b := s.mustAck(t, 1); b == a {
			t.Error("given out again at once")
		}
		if r, _ := s.answer(t, discover().from(client(2))); r.Outcome != IgnoredNoLease || !strings.Contains(r.Seen.Alarm, "make the pool larger") {
			t.Errorf("within the hold: %s %q", r.Outcome, r.Seen.Alarm)
		}
		if r, _ := s.answer(t, discover().from(client(4))); r.Outcome != IgnoredNoLease || r.Seen.Alarm != "" {
			t.Errorf("told again: %s %q", r.Outcome, r.Seen.Alarm)
		}
		s.now = s.now.Add(lease.DefaultDeclineHold)
		if b := s.mustAck(t, 3); b != a {
			t.Errorf("after the hold: %s", b)
		}
	})
	t.Run("never silent re-use", func(t *testing.T) {
		s := &pooled{testServer(t, Options{}), testTime}
		r, _ := s.answer(t, decline().addr(50, mine).addr(54, ours))
		if r.Seen.Observation.Proves != rack.DHCPDeclined || r.Seen.Observation.Address != mine || r.Seen.Alarm == "" {
			t.Errorf("%+v", r.Seen)
		}
		for _, p := range []*packet{discover(), selecting(mine)} {
			if r, _ := s.answer(t, p); !strings.Contains(r.Seen.Alarm, "was declined because another machine uses it") {
				t.Errorf("%s: alarm %q", r.Message, r.Seen.Alarm)
			}
		}
		if r, _ := s.answer(t, discover()); r.Seen.Alarm != "" {
			t.Errorf("once it is in use: %q", r.Seen.Alarm)
		}
		if r, _ := s.answer(t, decline().addr(50, torAddr).addr(54, ours)); r.Seen.Alarm != "" || r.Seen.Observation.Proves != rack.NoEvidence {
			t.Errorf("another's address: %+v", r.Seen)
		}
	})
}

func TestLine19(t *testing.T) {
	release := func() *packet { return message(dhcpv4.MessageTypeRelease) }
	runAll(t, []exchange{
		{"RELEASE", release().is(mine).addr(54, ours), none, Released, "", false},
		{"RELEASE without 54, as Kea and ISC take it", release().is(mine), none, Released, "", false},
		{"RELEASE without ciaddr", release(), none, Released, "", false},
		{"RELEASE to another server", release().is(mine).addr(54, theirs), none, IgnoredOtherServer, "", false},
		{"DECLINE without 54, as Kea and ISC take it", message(dhcpv4.MessageTypeDecline).addr(50, mine), none, Declined, "", false},
	})
	s := poolServer(t, 9)
	a := s.mustAck(t, 1)
	if _, d := s.answer(t, release().from(client(2)).is(a).addr(54, ours)); d != nil {
		t.Error("answered")
	}
	if l, _ := s.leases.At(netip.MustParseAddr(a)); l.State != lease.Bound {
		t.Errorf("somebody else released it: %+v", l)
	}
	s.answer(t, release().from(client(1)).is(a).addr(54, ours))
	if l, _ := s.leases.At(netip.MustParseAddr(a)); l.State != lease.Released {
		t.Errorf("%+v", l)
	}
	if b := s.mustOffer(t, 2); b == a {
		t.Error("the next client got it, with others left")
	}
	if b := s.mustOffer(t, 1); b != a {
		t.Errorf("its binding is forgotten: %s, then %s", a, b)
	}
}

func TestLine20(t *testing.T) {
	inform := func() *packet { return message(dhcpv4.MessageTypeInform) }
	runAll(t, []exchange{
		{"to ciaddr", inform().is(mine), ack, Acknowledged, mine + ":68", false},
		{"through a relay", relayed(inform().is(torAddr)), ack, Acknowledged, relayAddr + ":67", false},
		{"not its address", inform().is("10.9.9.9"), none, IgnoredWrongAddress, "", false},
		{"without ciaddr", inform(), none, MalformedAddress, "", false},
	})
	_, d := answerTo(t, inform().is(mine).opt(55, 1, 51, 58, 59))
	if !d.YourIPAddr.IsUnspecified() || d.ClientIPAddr.String() != mine || d.Options.Has(dhcpv4.OptionRenewTimeValue) || d.Options.Has(dhcpv4.OptionRebindingTimeValue) {
		t.Errorf("%s", d.Summary())
	}
	s := poolServer(t, 9)
	if r, _ := s.answer(t, inform().from(client(1)).is("10.0.1.99")); r.Outcome != Acknowledged {
		t.Errorf("a stranger with an address of its own: %s", r.Outcome)
	}
	if r, _ := s.answer(t, inform().from(client(1)).is("10.7.1.99")); r.Outcome != IgnoredWrongAddress {
		t.Errorf("a stranger of another network: %s", r.Outcome)
	}
	s.leases.All(func(l lease.Lease) { t.Errorf("allocated %+v", l) })
}

func TestLine21(t *testing.T) {
	s := poolServer(t, 4)
	given := map[string]int{}
	for i := 1; i <= 4; i++ {
		a := s.mustOffer(t, i)
		if other := given[a]; other != 0 {
			t.Errorf("clients %d and %d were offered %s", other, i, a)
		}
		given[a] = i
	}
	s.now = s.now.Add(lease.DefaultOfferHold - time.Second)
	for i := 1; i <= 4; i++ {
		if a := s.mustOffer(t, i); given[a] != i {
			t.Errorf("client %d was offered another address: %s", i, a)
		}
	}
	if r, _ := s.answer(t, discover().from(client(5))); r.Outcome != IgnoredNoLease {
		t.Errorf("%s", r.Outcome)
	}
}

// The agent's own addresses and the router's are nobody's, also when the pool of the
// rack file holds them.
func TestPoolWithTheAgentsAddress(t *testing.T) {
	ip := netip.MustParseAddr
	table := func() Table {
		return entries{Pool: lease.Pool{First: ip("10.0.1.1"), Last: ip("10.0.1.4")}, ServerID: ip("10.0.1.1"), Router: ip("10.0.1.3")}
	}
	s := poolServer(t, 0, func(o *Options) { o.Table, o.ServerID = table, ip("10.0.1.2") })
	if a := s.mustOffer(t, 1); a != "10.0.1.4" {
		t.Errorf("offered %s", a)
	}
	if r, _ := s.answer(t, discover().from(client(2))); r.Outcome != IgnoredNoLease {
		t.Errorf("%s", r.Outcome)
	}
}

// entries gives every stranger the same entry.
type entries Entry

func (e entries) Lookup(rack.Keys) (Entry, rack.Binding, error) {
	return Entry(e), rack.Binding{}, fmt.Errorf("%w: a stranger", rack.ErrUnknown)
}

// One machine through its stages: no 61, 01 and MAC, a DUID. RFC 2131 section 4.2
// would make three clients of it; it is one, by its hardware address. Two machines of
// one image send one DUID; they are two.
func TestLine22(t *testing.T) {
	s := poolServer(t, 9)
	var first string
	for _, id := range []string{"", "\x01\x52\x54\x00\x00\x00\x01", "\xff\x00\x00\x00\x01\x00\x02\x00\x00\xab\x11\x01\x02\x03\x04\x05\x06\x07\x08"} {
		with := func(p *packet) *packet {
			if id != "" {
				p.str(61, id)
			}
			return p.from(client(1))
		}
		_, d := s.answer(t, with(discover()))
		r, d2 := s.answer(t, with(selecting(d.YourIPAddr.String())))
		if r.Outcome != Acknowledged || (first != "" && d2.YourIPAddr.String() != first) {
			t.Errorf("61 %q: %s, %s, before that %s", id, r.Outcome, d2.YourIPAddr, first)
		}
		first = d2.YourIPAddr.String()
	}
	_, d := s.answer(t, discover().from(client(2)).str(61, "\xff\x00\x00\x00\x01\x00\x02\x00\x00\xab\x11\x01\x02\x03\x04\x05\x06\x07\x08"))
	if d.YourIPAddr.String() == first {
		t.Error("two machines of one image have one address")
	}
}

func TestLine23(t *testing.T) {
	for _, id := range []string{"\x00SN-0001\x00\xff", "\xff\x00\x00\x00\x01\x00\x02", "", strings.Repeat("i", 255)} {
		for _, p := range []*packet{discover(), selecting(mine), selecting("10.0.0.9")} {
			res, _ := answerTo(t, p.str(61, id).opt(57, 5, 220))
			if !bytes.Contains(res.Reply.Payload, append([]byte{61, byte(len(id))}, id...)) {
				t.Errorf("%q is not unchanged in % x", id, res.Reply.Payload[headerSize:])
			}
		}
	}
	if _, d := answerTo(t, discover()); d.Options.Has(dhcpv4.OptionClientIdentifier) {
		t.Error("invented")
	}
}

// codes are the options of an answer in their order.
func codes(b []byte) (out []byte) {
	for i := headerSize; i < len(b) && b[i] != optionEnd; {
		if b[i] == optionPad {
			i++
			continue
		}
		out = append(out, b[i])
		i += 2 + int(b[i+1])
	}
	return out
}

func TestLine24(t *testing.T) {
	t.Run("only what was asked for, in that order", func(t *testing.T) {
		res, d := answerTo(t, discover().opt(55, 12, 3, 1, 28, 6, 12))
		if got := codes(res.Reply.Payload); !bytes.Equal(got, []byte{53, 54, 51, 1, 12, 3, 28}) { // 1 before 3: RFC 2132 section 3.3
			t.Errorf("options %v", got)
		}
		if got := d.BroadcastAddress().String(); got != "192.168.100.255" {
			t.Errorf("28: %s", got)
		}
		if res, _ := answerTo(t, discover().opt(55, 6)); !bytes.Equal(codes(res.Reply.Payload), []byte{53, 54, 51}) {
			t.Errorf("unasked: %v", codes(res.Reply.Payload))
		}
		if res, _ := answerTo(t, discover()); !bytes.Equal(codes(res.Reply.Payload), []byte{53, 54, 51, 1, 3, 12}) {
			t.Errorf("no option 55: %v", codes(res.Reply.Payload))
		}
		if res, _ := answerTo(t, discover().opt(55, 53, 54, 82, 61, 0, 255, 52, 1)); !bytes.Equal(codes(res.Reply.Payload), []byte{53, 54, 51, 1}) {
			t.Errorf("what is not for the asking: %v", codes(res.Reply.Payload))
		}
	})
	onie := func() *packet {
		return discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(61, strings.Repeat("i", 200))
	}
	for _, x := range []struct {
		name      string
		p         *packet
		most      int
		truncated bool
	}{
		{"no 57", onie(), 576, true},
		{"57 below the least", onie().opt(57, 0, 10), 576, true},
		{"57 of the wrong length", onie().opt(57, 9), 576, true},
		{"57 of a frame", onie().opt(57, 5, 220), 1500, false},
		{"57 of more than a frame", onie().opt(57, 255, 255), 1500, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			res, d := answerTo(t, x.p)
			if d.MessageType() != offer || len(res.Reply.Payload) > x.most-udpHeaders || res.Truncated != x.truncated {
				t.Errorf("%d bytes of at most %d, truncated %v", len(res.Reply.Payload), x.most-udpHeaders, res.Truncated)
			}
		})
	}
	res, _ := bootWith(t, discover().str(77, "iPXE").opt(57, 255, 255), func(e *Entry) { e.ScriptURL = "http://h/" + strings.Repeat("b", 1400) })
	if len(res.Reply.Payload) > mostMaximum-udpHeaders || !res.Truncated {
		t.Errorf("more than one frame: %d bytes", len(res.Reply.Payload))
	}
}

func TestLine25(t *testing.T) {
	for _, x := range []struct {
		name string
		p    *packet
		want []byte
	}{
		{"BIOS PXE", discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0), []byte{67, 60, 43}},
		{"UEFI PXE", discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7), []byte{67, 60, 43}},
		{"UEFI HTTP boot", discover().str(60, "HTTPClient:Arch:00016:UNDI:003000").opt(93, 0, 16), []byte{67, 60}},
		{"iPXE", discover().str(77, "iPXE").str(60, "PXEClient:Arch:00007:UNDI:003010"), []byte{175, 67}},
	} {
		t.Run(x.name, func(t *testing.T) {
			res, d := answerTo(t, x.p.opt(55, 1))
			if got := codes(res.Reply.Payload); !bytes.Equal(got, append(append([]byte{53, 54, 51}, x.want...), 1)) {
				t.Errorf("options %v", got)
			}
			if d.BootFileName == "" {
				t.Error("no file")
			}
		})
	}
}

func TestLine26(t *testing.T) {
	b := discover().opt(52, 3).bytes()
	copy(b[fileOffset:], append([]byte{60, 32}, "onie_vendor:x86_64-sim_tor48-r0\x00\xff"...))
	copy(b[snameOffset:], append([]byte{77, 21}, "\x14onie_dhcp_user_class\xff"...))
	res := testServer(t, Options{}).Handle(b, sender)
	if res.Seen == nil || res.Seen.Observation.Model != "sim_tor48" || !strings.Contains(res.Seen.Evidence, "77=") {
		t.Errorf("%+v", res)
	}
	for name, change := range map[string]func([]byte){
		"1: sname is none of it": func(b []byte) { b[headerSize+5] = 1; copy(b[snameOffset:], "\x3c\xff") },
		"past the end of file":   func(b []byte) { b[fileEnd-2], b[fileEnd-1] = 12, 9 },
	} {
		b := discover().opt(52, 1).bytes()
		change(b)
		if res := testServer(t, Options{}).Handle(b, sender); res.Outcome.Malformed() != strings.HasPrefix(name, "past") {
			t.Errorf("%s: %s %v", name, res.Outcome, res.Err)
		}
	}
	// We send none: whatever does not fit is left out, and counted.
	if res, d := answerTo(t, discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").opt(61, make([]byte, 200)...)); !res.Truncated || d.Options.Has(dhcpv4.OptionOptionOverload) {
		t.Errorf("%s", d.Summary())
	}
}

func TestLine27(t *testing.T) {
	long := strings.Repeat("b", 200)
	for _, file := range []string{bootFile, long} {
		_, d := bootWith(t, discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0), func(e *Entry) { e.BootFile = file })
		if d.Options.Has(dhcpv4.OptionOptionOverload) || d.BootFileNameOption() != file || (d.BootFileName != file) != (file == long) || d.ServerHostName != "" {
			t.Errorf("file %q, 67 %q", d.BootFileName, d.BootFileNameOption())
		}
	}
}

func TestLine28(t *testing.T) {
	pxe := func() *packet { return discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(57, 5, 192) }
	for n, pieces := range map[int]int{127: 1, 128: 1, 255: 1, 256: 2, 600: 3} {
		name := strings.Repeat("b", n)
		res, d := bootWith(t, pxe(), func(e *Entry) { e.BootFile = name })
		if d.BootFileNameOption() != name || bytes.Count(codes(res.Reply.Payload), []byte{67}) != pieces {
			t.Errorf("%d bytes: %v", n, codes(res.Reply.Payload))
		}
	}
	// Received in pieces, across the areas too.
	p := discover().opt(52, 1).str(60, "onie_vendor:").str(60, "x86_64-sim_")
	b := p.bytes()
	copy(b[fileOffset:], "\x3c\x08tor48-r0\xff")
	if res := testServer(t, Options{}).Handle(b, sender); res.Seen.Observation.Model != "sim_tor48" {
		t.Errorf("joined to %q", res.Seen.Observation.Model)
	}
}

func TestLine29(t *testing.T) {
	other := []byte{0, 0, 1, 2, 3, 0xaa, 0xbb, 0xcc}
	onie := append([]byte{0, 0, 0xa6, 0x7f, 14, 3, 6}, "a_b123\x04\x04x86_"...)
	for name, v := range map[string][]byte{"after an unknown one": append(bytes.Clone(other), onie...), "before an unknown one": append(bytes.Clone(onie), other...),
		"before one that runs past the end": append(bytes.Clone(onie), 0, 0, 0, 9, 200, 1)} {
		res, _ := answerTo(t, discover().opt(125, v...))
		if o := res.Seen.Observation; o.Stage != rack.StageONIE || o.Model != "a_b123" {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if res, _ := answerTo(t, discover().opt(124, other...).opt(125, 1, 2)); res.Outcome != Offered || res.Seen.Observation.Stage != rack.StageUnknown {
		t.Errorf("%+v", res)
	}
}

func TestLine30(t *testing.T) {
	odd := []byte{1, 1, 'x', 151, 0, 19, 0, 6, 2, 0xff, 0, 1, 1, 'y'}
	for _, p := range []*packet{
		discover().via(relayAddr, "mgmt-1", "45", odd...),
		selecting(torAddr).via(relayAddr, "mgmt-1", "45", odd...).str(60, "udhcp 1.35.0"), // 82 is not the last of the request
		selecting(mine).via(relayAddr, "mgmt-1", "45", odd...),
		message(dhcpv4.MessageTypeInform).is(torAddr).via(relayAddr, "mgmt-1", "45", odd...),
	} {
		raw, _, _ := rawOption(p.options, 82)
		res, _ := answerTo(t, p)
		if got := bytes.TrimRight(res.Reply.Payload, "\x00"); !bytes.HasSuffix(got, append(raw, optionEnd)) {
			t.Errorf("not last or not the same: % x", got)
		}
	}
	id := strings.Repeat("i", 200)
	big := append([]byte{151, 200}, make([]byte, 200)...)
	res, d := answerTo(t, discover().str(61, id).via(relayAddr, "mgmt-1", "45", big...))
	if d.MessageType() != offer || d.Options.Has(dhcpv4.OptionRelayAgentInformation) || !res.Truncated {
		t.Errorf("no room: %v", codes(res.Reply.Payload))
	}
	res, d = answerTo(t, discover().via(relayAddr, "mgmt-1", "45", big...))
	if !d.Options.Has(dhcpv4.OptionRelayAgentInformation) || res.Truncated {
		t.Errorf("room: %v", codes(res.Reply.Payload))
	}
	res, _ = answerTo(t, relayed(discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").str(61, id)))
	if got := bytes.TrimRight(res.Reply.Payload, "\x00"); !bytes.HasSuffix(got, []byte("mgmt-1\xff")) || !res.Truncated {
		t.Error("others took its room")
	}
}
