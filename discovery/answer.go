package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// Result is what one packet leads to.
type Result struct {
	Message   string        // DISCOVER, REQUEST, DECLINE, RELEASE, INFORM, or none
	Outcome   Outcome       // if the answer leaves
	Truncated bool          // something did not fit the answer
	Reply     wire.Datagram // no Payload: silence
	Seen      *Seen         // nil for a malformed packet
	Err       error         // why a packet is malformed; nil otherwise

	leased bool // the answer may leave once its lease is durable
}

// Handle decides about one packet. It sends nothing, calls none of the Options'
// functions but Table, and keeps no part of packet; a lease that the answer rests
// on is bound in Options.Leases and not yet committed. from is the packet's UDP
// source. A panic is the caller's to catch; Serve does.
func (s *Server) Handle(packet []byte, from netip.AddrPort) Result {
	return s.handle(packet, from, time.Now(), nil)
}

// handle is Handle at a given time; the reply is written into room.
func (s *Server) handle(packet []byte, from netip.AddrPort, now time.Time, room []byte) Result {
	r := &s.request
	if err := r.parse(packet, s.options.Rules, s.options.Ports); err != nil {
		return Result{Message: messageName(r.kind), Outcome: outcomeOf(err), Err: err}
	}
	res := Result{Message: messageName(r.kind), Seen: seen(r)}
	a := answer{request: r, leases: s.leases, now: now, serverID: s.options.ServerID, authoritative: s.options.Authoritative}
	entry, binding, err := s.lookup(r)
	switch {
	case err == nil:
		res.Seen.Binding, res.Seen.Observation.Device = binding, binding.Device
		a.holder = lease.Holder{Slot: entry.Device, End: entry.End}
	case errors.Is(err, rack.ErrAmbiguous):
		res.Seen.Err, res.Outcome = err, IgnoredAmbiguous
		return res
	default:
		res.Seen.Err = err
		a.holder, a.stranger = lease.Holder{Hardware: a.hardware()}, true
		if s.options.Company != nil {
			known, heard := s.options.Company()
			a.authoritative = a.authoritative && !known
			if heard {
				entry.Pool = lease.Pool{}
			}
		}
	}
	a.entry, a.serverID, a.client = entry, s.serverID(r, entry), r.client()
	if a.mode = s.options.Mode; a.mode == Addresses {
		a.consider(s.options.ServerID)
	} else {
		a.considerProxy(s.options.ServerID)
	}
	a.alarm = s.once(a.outcome, a.alarm)
	a.report(res.Seen)
	if (a.outcome == Acknowledged || a.mode == Proxy) && a.request.kind == dhcpv4.MessageTypeRequest && s.repeats.again(a.hardware(), a.TransactionID, now) {
		res.Seen.Observation.Proves, res.Seen.Observation.Address = rack.NoEvidence, ""
	}
	res.Outcome, res.leased = a.outcome, a.leased
	if a.kind != dhcpv4.MessageTypeNone {
		res.Reply = a.destination(from)
		res.Reply.Local = netip.AddrPortFrom(a.entry.ServerID, 0) // whom option 54 names
		m := a.message()
		res.Reply.Payload, res.Truncated = s.replies.Append(room[:0], &a.entry, &a.client, &m)
	}
	return res
}

// once lets an empty pool be told of once, until an address was offered again: a
// crowd of strangers asks many times a second.
func (s *Server) once(o Outcome, alarm string) string {
	switch {
	case o == Offered:
		s.dry = false
	case o == IgnoredNoLease && s.dry:
		return ""
	case o == IgnoredNoLease:
		s.dry = true
	}
	return alarm
}

// lookup asks the table of this moment. A renewal bypasses the relay (RFC 2131
// section 4.3.2, RENEWING), so nothing in it says which end of the device it came
// from: then the lease of its address does.
func (s *Server) lookup(r *request) (Entry, rack.Binding, error) {
	t := s.options.Table()
	if t == nil {
		return Entry{}, rack.Binding{}, fmt.Errorf("%w: the agent has no table yet", rack.ErrUnknown)
	}
	if r.ciaddr.IsValid() && !r.giaddr.IsValid() && r.relay.raw == nil {
		if l, ok := s.leases.At(r.ciaddr); ok && l.Holder.Slot != "" && l.State == lease.Bound && l.Hardware == r.hardware() {
			keys := r.keys
			keys.Via, keys.Direct = l.Via, l.Via.IsZero()
			if e, b, err := t.Lookup(keys); err == nil && e.Device == l.Holder.Slot && e.End == l.Holder.End {
				b.Network, b.Link = "", rack.Port{} // this packet says nothing of its way
				return e, b, nil
			}
		}
	}
	e, b, err := t.Lookup(r.keys)
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
	entry         Entry
	client        reply.Client
	serverID      netip.Addr
	leases        *lease.Store
	now           time.Time
	holder        lease.Holder
	stranger      bool // no slot fits; entry may have a pool all the same
	authoritative bool
	mode          Mode

	address netip.Addr // the client's, as far as there is one
	known   bool       // there is a record of it, or it is pre-determined

	kind    dhcpv4.MessageType // of the reply; none: silence
	outcome Outcome
	why     string // of a refusal, option 56
	leased  bool   // the answer rests on a change of leases
	alarm   string
}

// consider comes to the decision. own is the server's own address.
func (a *answer) consider(own netip.Addr) {
	pool := a.entry.Pool.IsValid()
	switch {
	case a.stranger && !pool && !(a.authoritative && a.request.kind == dhcpv4.MessageTypeRequest):
		a.outcome = IgnoredUnknown
	case !a.addressed(own):
		// It chose another server: what it was offered is free (RFC 2131 section 4.3.2).
		a.leases.Withdraw(a.holder)
		a.outcome = IgnoredOtherServer
	case a.entry.Address.Is4() && !a.stranger:
		a.address, a.known = a.entry.Address, true
		a.decide()
	case pool:
		for _, taken := range [...]netip.Addr{a.entry.ServerID, a.entry.Router} {
			if a.entry.Pool.Contains(taken) {
				a.leases.Except(taken)
			}
		}
		a.address, a.known = a.leases.Of(a.holder, a.entry.Pool, a.now)
		a.decide()
	case a.stranger:
		a.decideRequest()
	default:
		a.outcome = IgnoredNoAddress
	}
}

// addressed reports whether the packet is not meant for another server. A
// DECLINE or RELEASE without option 54 counts as ours, as ISC and Kea take it.
func (a *answer) addressed(own netip.Addr) bool {
	return !a.server.IsValid() || a.server == a.serverID || a.server == a.entry.ServerID || a.server == own
}

// decide follows RFC 2131 section 4.3.
func (a *answer) decide() {
	switch a.request.kind {
	case dhcpv4.MessageTypeDiscover: // section 4.3.1
		a.offer()
	case dhcpv4.MessageTypeRequest: // section 4.3.2
		a.decideRequest()
	case dhcpv4.MessageTypeDecline: // section 4.3.3
		a.decline()
	case dhcpv4.MessageTypeRelease: // section 4.3.4
		a.outcome = Released
		a.leases.Release(a.holder, a.ciaddr, a.now)
	case dhcpv4.MessageTypeInform: // section 4.3.5; it has no refusal
		if a.ciaddr != a.address && !(a.stranger && a.entry.Prefix.Contains(a.ciaddr)) {
			a.outcome = IgnoredWrongAddress
			return
		}
		a.kind, a.outcome = dhcpv4.MessageTypeAck, Acknowledged
	}
}

func (a *answer) offer() {
	if !a.pooled() {
		a.warn()
	} else {
		address, err := a.leases.Offer(a.holder, a.entry.Pool, a.requested, a.now)
		if err != nil {
			a.outcome, a.alarm = IgnoredNoLease, fmt.Sprintf("%s: %s; make the pool larger in the rack file", a.entry.Pool, err)
			return
		}
		a.address = address
	}
	a.kind, a.outcome = dhcpv4.MessageTypeOffer, Offered
}

// pooled reports whether the client's address comes out of a pool.
func (a *answer) pooled() bool { return a.stranger || !a.entry.Address.Is4() }

// decideRequest tells the states of a client apart by options 50 and 54 and
// ciaddr (RFC 2131 section 4.3.2, table 4).
func (a *answer) decideRequest() {
	asked := a.requested
	if a.ciaddr.IsValid() && !asked.IsValid() {
		asked = a.ciaddr // RENEWING, REBINDING
	}
	selecting := a.server.IsValid()
	switch {
	case a.address.IsValid() && asked == a.address && (!a.ciaddr.IsValid() || a.ciaddr == asked):
		a.acknowledge()
	case !a.known && !selecting && !a.authoritative:
		a.outcome = IgnoredUnknown // no record: another server's client
	case a.known && !selecting && !a.requested.IsValid() && a.ciaddr.IsValid() && !a.giaddr.IsValid():
		// Not "surely wrong": a renewal bypasses the relay, so nothing says
		// which end of the device it came from. It ends with its lease.
		a.outcome = IgnoredWrongAddress
	case !asked.IsValid():
		a.refuse(RefusedBlank, "a REQUEST must name the address it asks for, in option 50 or ciaddr")
	default:
		if asked == a.address {
			asked = a.ciaddr // the two contradict each other
		}
		why := Refused
		if !a.known && a.server != a.serverID {
			why = RefusedUnknown
		}
		a.refuse(why, fmt.Sprintf("%s is not the address of %s; ask again with DISCOVER", asked, a.name()))
	}
}

// name is who asks, for people.
func (a *answer) name() string {
	if a.entry.Device != "" {
		return a.entry.Device
	}
	return "this client"
}

// acknowledge binds the lease; the answer waits until it is durable.
func (a *answer) acknowledge() {
	if a.entry.BootPending && firmware(a.class.Stage) {
		a.outcome = IgnoredPending
		return
	}
	if !a.pooled() {
		a.warn()
	}
	l := a.lease()
	switch err := a.leases.Bind(l, a.now); {
	case errors.Is(err, lease.ErrTaken):
		a.refuse(RefusedTaken, fmt.Sprintf("%s was given to another; ask again with DISCOVER", a.address))
	case err != nil:
		a.outcome, a.alarm = IgnoredNoLease, fmt.Sprintf("no lease of %s for %s: %s", a.address, a.name(), err)
	default:
		a.kind, a.outcome, a.leased = dhcpv4.MessageTypeAck, Acknowledged, true
	}
}

// lease is what the store keeps of the client. A renewal says nothing of a port: the
// one that is known stays, for the next renewal.
func (a *answer) lease() lease.Lease {
	via := a.relay.via
	if old, ok := a.leases.At(a.address); ok && via.IsZero() && a.ciaddr.IsValid() && old.Holder == a.holder && old.Hardware == a.hardware() {
		via = old.Via
	}
	return lease.Lease{Address: a.address, Holder: a.holder, Hardware: a.hardware(), Via: via, Stage: a.class.Stage,
		Pool: a.pooled(), Ends: a.now.Add(time.Duration(a.entry.LeaseSeconds(&a.client)) * time.Second)}
}

// decline withholds an address of a pool. A pre-determined one cannot be replaced
// by another: it stays the device's, and whoever gives it out again says so.
func (a *answer) decline() {
	a.outcome = Declined
	l := a.lease()
	l.Address = a.requested
	if !a.pooled() && a.requested != a.entry.Address {
		return
	}
	if a.leases.Decline(l, a.now) {
		a.alarm = fmt.Sprintf("%s declined %s: another machine on the network uses it; find that machine, or give another address in the rack file", a.name(), a.requested)
	}
}

// warn says when a pre-determined address is given out that may not be free.
func (a *answer) warn() {
	l, ok := a.leases.At(a.entry.Address)
	switch {
	case !ok || !l.Ends.After(a.now):
	case l.State == lease.Declined:
		a.alarm = fmt.Sprintf("%s gets %s again, which was declined because another machine uses it", a.name(), a.entry.Address)
	case l.State == lease.Bound && l.Holder != a.holder:
		a.alarm = fmt.Sprintf("%s gets %s, which %s may still use until %s", a.name(), a.entry.Address, l.Holder, l.Ends.Format(time.TimeOnly))
	case l.State == lease.Bound && l.Hardware != a.hardware() && l.Via == a.relay.via && !l.Via.IsZero():
		a.alarm = fmt.Sprintf("%s gets %s again through port %s, which %s has until %s: unless its network card was replaced, two machines are behind one port and share an address; look what is plugged in there",
			a.name(), a.entry.Address, l.Via, net.HardwareAddr(l.Hardware[:]), l.Ends.Format(time.TimeOnly))
	}
}

func (a *answer) refuse(reason Outcome, why string) {
	a.kind, a.outcome, a.why = dhcpv4.MessageTypeNak, reason, why
}

// report says what the decision proves. An address out of a pool proves nothing:
// evidence is that of the end that the device is imaged through.
func (a *answer) report(s *Seen) {
	s.Alarm = a.alarm
	switch {
	case a.mode != Addresses: // the address is another server's
		s.Alarm = a.overheard(&s.Observation)
	case a.outcome == Offered:
		s.Offered = a.address.String()
		if !a.pooled() {
			s.Observation.Proves = question(a.class.Stage)
		}
	case a.outcome == IgnoredPending:
		s.Observation.Proves = proof(a.class.Stage) // it takes what it was offered
	case a.outcome == Acknowledged && a.request.kind != dhcpv4.MessageTypeInform:
		s.Address = a.address.String()
		fallthrough
	case a.outcome == Acknowledged:
		if !a.pooled() {
			s.Observation.Address = a.entry.Address.String()
			s.Observation.Proves = proof(a.class.Stage)
			if a.unnamed() {
				s.Observation.Proves = rack.DHCPUnnamed
			}
		}
	case a.outcome == Declined:
		s.Observation.Message = classify.Printable(a.Options.Get(dhcpv4.OptionMessage), classify.MaxString)
		if !a.pooled() && a.requested == a.entry.Address {
			s.Observation.Address = a.entry.Address.String()
			s.Observation.Proves = rack.DHCPDeclined
		}
	}
}

// message is what the reply says besides what its entry does.
func (a *answer) message() reply.Message {
	m := reply.Message{Kind: a.kind, ServerID: a.serverID, Why: classify.Printable([]byte(a.why), 2*classify.MaxString),
		XID: a.TransactionID, HType: byte(a.HWType), Flags: a.Flags, GIAddr: a.giaddr, Hardware: a.hardware(),
		ClientID: a.clientID, Relay: a.relay.raw}
	switch {
	case a.mode != Addresses:
		return a.proxied(m)
	case a.kind == dhcpv4.MessageTypeNak:
		if a.giaddr.IsValid() {
			m.Flags |= flagBroadcast // section 4.3.2: the relay must broadcast it
		}
		return m
	case a.request.kind == dhcpv4.MessageTypeInform:
		m.CIAddr = a.ciaddr
	default:
		m.YIAddr = a.address
		if a.kind == dhcpv4.MessageTypeAck {
			m.CIAddr = a.ciaddr
		}
	}
	if a.subnet.IsValid() && a.entry.Prefix.Contains(a.subnet) && a.link() == a.subnet { // RFC 3011: it was heeded
		b := a.subnet.As4()
		m.Echo = append(m.Echo, optionSubnet, 4, b[0], b[1], b[2], b[3])
	}
	m.Echo = append(m.Echo, a.machine...) // RFC 4578 section 2.3: servers return it, too
	return m
}

const flagBroadcast = 0x8000

// destination is where the reply goes (RFC 2131 section 4.1).
func (a *answer) destination(from netip.AddrPort) wire.Datagram {
	const serverPort, clientPort = 67, 68
	to := func(a netip.Addr, port uint16) wire.Datagram {
		return wire.Datagram{Peer: netip.AddrPortFrom(a, port)}
	}
	switch {
	case a.mode == BootServer && from.Port() != 0: // PXE 2.1 section 2.2.4: to the port it came from
		return to(a.ciaddr, from.Port())
	case a.mode == BootServer:
		return to(a.ciaddr, clientPort)
	case a.giaddr.IsValid():
		if a.relay.sourcePort && from.Port() != 0 {
			return to(a.giaddr, from.Port()) // RFC 8357 section 4
		}
		return to(a.giaddr, serverPort)
	case a.kind == dhcpv4.MessageTypeNak:
		return to(broadcast, clientPort)
	case a.ciaddr.IsValid() && (a.ciaddr == a.address || a.request.kind == dhcpv4.MessageTypeInform):
		return to(a.ciaddr, clientPort)
	case a.IsBroadcast() || a.mode == Proxy: // it has no address of ours
		return to(broadcast, clientPort)
	}
	d := to(a.address, clientPort)
	d.Hardware = a.ClientHWAddr
	return d
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
