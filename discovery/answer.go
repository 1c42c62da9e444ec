package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// Result is what one packet leads to.
type Result struct {
	Message   string       // DISCOVER, REQUEST, DECLINE, RELEASE, INFORM, or none
	Outcome   Outcome      // if the answer leaves
	Truncated bool         // something did not fit the answer
	Reply     []byte       // nil: silence
	To        *net.UDPAddr // where the reply goes; nil without one
	Seen      *Seen        // nil for a malformed packet
	Err       error        // why a packet is malformed; nil otherwise
}

// Handle decides about one packet and changes nothing: it sends nothing, calls
// neither OnSeen nor Count, and keeps no part of packet. from is the packet's
// UDP source. A panic is the caller's to catch; Serve does.
func (s *Server) Handle(packet []byte, from net.Addr) Result {
	r, err := parse(packet, s.options.Rules)
	if err != nil {
		return Result{Message: messageName(r.kind), Outcome: Malformed, Err: err}
	}
	res := Result{Message: messageName(r.kind), Seen: seen(r)}
	entry, binding, err := s.lookup(r.keys)
	if err != nil {
		res.Seen.Err, res.Outcome = err, IgnoredUnknown
		if errors.Is(err, rack.ErrAmbiguous) {
			res.Outcome = IgnoredAmbiguous
		}
		return res
	}
	res.Seen.Binding, res.Seen.Observation.Device = binding, binding.Device
	a := answer{request: r, entry: entry, serverID: s.serverID(r, entry)}
	if !a.addressed(s.options.ServerID) {
		res.Outcome = IgnoredOtherServer
		return res
	}
	if !entry.Address.Is4() {
		res.Outcome = IgnoredNoAddress
		return res
	}
	a.decide()
	a.report(res.Seen)
	res.Outcome = a.outcome
	if a.kind != dhcpv4.MessageTypeNone {
		res.Reply, res.Truncated = a.reply()
		res.To = a.destination(from)
	}
	return res
}

// lookup asks the table of this moment.
func (s *Server) lookup(k rack.Keys) (Entry, rack.Binding, error) {
	t := s.options.Table()
	if t == nil {
		return Entry{}, rack.Binding{}, fmt.Errorf("%w: the agent has no table yet", rack.ErrUnknown)
	}
	e, b, err := t.Lookup(k)
	if err != nil && !errors.Is(err, rack.ErrUnknown) && !errors.Is(err, rack.ErrAmbiguous) {
		err = fmt.Errorf("%w: %w", rack.ErrUnknown, err)
	}
	return e, b, err
}

// serverID is the server identifier of the answer: the one that the relay asks
// for (RFC 5107 section 4), the entry's, or the server's own.
func (s *Server) serverID(r *request, e Entry) netip.Addr {
	switch {
	case r.giaddr.IsValid() && r.relay.override.IsValid():
		return r.relay.override
	case e.ServerID.Is4():
		return e.ServerID
	}
	return s.options.ServerID
}

// answer is one decision in the making.
type answer struct {
	*request
	entry    Entry
	serverID netip.Addr

	kind    dhcpv4.MessageType // of the reply; none: silence
	outcome Outcome
	why     string // of a refusal, option 56
}

// addressed reports whether the packet is not meant for another server. A
// DECLINE or RELEASE without option 54 counts as ours, as ISC and Kea take it.
func (a *answer) addressed(own netip.Addr) bool {
	return !a.server.IsValid() || a.server == a.serverID || a.server == a.entry.ServerID || a.server == own
}

// decide follows RFC 2131 section 4.3 for a known component.
func (a *answer) decide() {
	switch a.request.kind {
	case dhcpv4.MessageTypeDiscover: // section 4.3.1
		a.kind, a.outcome = dhcpv4.MessageTypeOffer, Offered
	case dhcpv4.MessageTypeRequest: // section 4.3.2
		a.decideRequest()
	case dhcpv4.MessageTypeDecline: // section 4.3.3
		a.outcome = Declined
	case dhcpv4.MessageTypeRelease: // section 4.3.4
		a.outcome = Released
	case dhcpv4.MessageTypeInform: // section 4.3.5; it has no refusal
		if a.ciaddr != a.entry.Address {
			a.outcome = IgnoredWrongAddress
			return
		}
		a.kind, a.outcome = dhcpv4.MessageTypeAck, Acknowledged
	}
}

// decideRequest tells the states of a client apart by options 50 and 54 and
// ciaddr (RFC 2131 section 4.3.2, table 4).
func (a *answer) decideRequest() {
	asked := a.requested
	if a.ciaddr.IsValid() && !asked.IsValid() {
		asked = a.ciaddr // RENEWING, REBINDING
	}
	switch {
	case asked == a.entry.Address && (!a.ciaddr.IsValid() || a.ciaddr == asked):
		a.kind, a.outcome = dhcpv4.MessageTypeAck, Acknowledged
	case !a.server.IsValid() && !a.requested.IsValid() && a.ciaddr.IsValid() && !a.giaddr.IsValid():
		// Not "surely wrong": a renewal bypasses the relay, so nothing says
		// which end of the device it came from. It ends with its lease.
		a.outcome = IgnoredWrongAddress
	case !asked.IsValid():
		a.refuse("a REQUEST must name the address it asks for, in option 50 or ciaddr")
	default:
		if asked == a.entry.Address {
			asked = a.ciaddr // the two contradict each other
		}
		a.refuse(fmt.Sprintf("%s is not the address of %s; ask again with DISCOVER", asked, a.entry.Device))
	}
}

func (a *answer) refuse(why string) {
	a.kind, a.outcome, a.why = dhcpv4.MessageTypeNak, Refused, why
}

// report says what the decision proves.
func (a *answer) report(s *Seen) {
	switch a.outcome {
	case Acknowledged:
		s.Observation.Address = a.entry.Address.String()
		s.Observation.Proves = proof(a.class.Stage)
	case Declined:
		s.Observation.Message = classify.Printable(a.Options.Get(dhcpv4.OptionMessage), classify.MaxString)
		if a.requested == a.entry.Address {
			s.Observation.Address = a.entry.Address.String()
			s.Observation.Proves = rack.DHCPDeclined
		}
	}
}

// destination is where the reply goes (RFC 2131 section 4.1).
func (a *answer) destination(from net.Addr) *net.UDPAddr {
	const serverPort, clientPort = 67, 68
	switch {
	case a.giaddr.IsValid():
		port := uint16(serverPort)
		if p := sourcePort(from); a.relay.sourcePort && p != 0 {
			port = p // RFC 8357 section 4
		}
		return udp(a.giaddr, port)
	case a.kind == dhcpv4.MessageTypeNak:
		return udp(broadcast, clientPort)
	case a.ciaddr.IsValid() && a.ciaddr == a.entry.Address:
		return udp(a.ciaddr, clientPort)
	case a.IsBroadcast():
		return udp(broadcast, clientPort)
	}
	return udp(a.entry.Address, clientPort)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func udp(a netip.Addr, port uint16) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port))
}

// sourcePort is the port of a packet's sender, zero when it has none.
func sourcePort(from net.Addr) uint16 {
	if from == nil {
		return 0
	}
	p, err := netip.ParseAddrPort(from.String())
	if err != nil {
		return 0
	}
	return p.Port()
}
