package discovery

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/internal/rack"
)

// Sizes of DHCP messages, in bytes.
const (
	// MaxPacket is the longest packet that is looked at.
	MaxPacket = 4096

	headerSize  = reply.HeaderSize
	udpHeaders  = 28       // IP and UDP, which option 57 counts (RFC 2131 section 2)
	minMaximum  = 576      // least value of option 57, and its default (RFC 2132 section 9.10)
	mostMaximum = 1500     // one Ethernet frame, whatever option 57 allows
	snameOffset = 44       // sname, 64 bytes
	fileOffset  = 108      // file, 128 bytes
	fileEnd     = 236      // end of file
	longestID   = 2 + 0xff // option 61 in one piece
)

const (
	optionPad       = 0
	optionVendor    = 43
	optionRequested = 50
	optionKind      = 53
	optionServerID  = 54
	optionWanted    = 55
	optionMaximum   = 57
	optionClass     = 60
	optionClientID  = 61
	optionMachine   = 97  // RFC 4578 section 2.3
	optionSubnet    = 118 // RFC 3011
	optionXRVendors = 124 // RFC 3925 section 3
	optionEnd       = 255

	pxeBootItem = 71 // of option 43 (PXE 2.1 table 2-1)
)

// request is a client's packet, read and checked.
type request struct {
	*dhcpv4.DHCPv4
	option    classify.Options // nil: it is not there
	kind      dhcpv4.MessageType
	class     classify.Class
	keys      rack.Keys
	ciaddr    netip.Addr // invalid when 0.0.0.0
	giaddr    netip.Addr // invalid when 0.0.0.0
	requested netip.Addr // option 50; invalid when absent
	server    netip.Addr // option 54; invalid when absent
	limit     int        // longest reply it takes, bytes of DHCP message
	clientID  []byte     // option 61 as it came, code and length included; nil: none
	machine   []byte     // option 97, likewise
	subnet    netip.Addr // option 118 (RFC 3011); invalid when absent
	relay     relayInfo
}

// malformed is why a packet cannot be read, and what it is counted as.
type malformed struct {
	outcome Outcome
	what    string
}

func (m *malformed) Error() string { return m.what }

var (
	errLength     = &malformed{MalformedLength, "it is longer than a packet may be, or shorter than a header"}
	errNotRequest = &malformed{MalformedRequest, "op is not 1: it is no client's packet"}
	errNoHardware = &malformed{MalformedHardware, "hlen is not 6 or chaddr is no machine's address"}
	errNoKind     = &malformed{MalformedType, "option 53 is missing or not a client's message type"}
	errAddress    = &malformed{MalformedAddress, "ciaddr, giaddr or option 50 or 54 is not the address of one machine"}
	errNoAddress  = &malformed{MalformedAddress, "an INFORM without ciaddr, or a DECLINE without option 50"}
	errClientID   = &malformed{MalformedClientID, "option 61 is longer than 255 bytes"}
	errTwoRelays  = &malformed{MalformedRelay, "it carries option 82 twice: the first may be the client's own"}
	errRelay      = &malformed{MalformedRelay, "a sub-option of option 82 runs past its end"}
)

// outcomeOf is what a packet is counted as that parse gave up on.
func outcomeOf(err error) Outcome {
	var m *malformed
	if errors.As(err, &m) {
		return m.outcome
	}
	return MalformedOptions
}

// parse reads a packet. It returns an error for whatever RFC 2131 lets a server
// drop; the request then still holds the message type when that was readable.
func (r *request) parse(packet []byte, rules *classify.Rules, ports *relay.Ports) error {
	*r = request{}
	if len(packet) > MaxPacket || len(packet) < headerSize {
		return errLength
	}
	if packet[0] != byte(dhcpv4.OpcodeBootRequest) {
		return errNotRequest
	}
	if packet[2] != 6 {
		return errNoHardware
	}
	p, err := dhcpv4.FromBytes(packet)
	if err != nil {
		return fmt.Errorf("read packet: %w", err)
	}
	if err := overload(p, packet); err != nil {
		return err
	}
	r.DHCPv4, r.option = p, classify.OptionsOf(p.Options)
	if v := r.option(optionKind); len(v) == 1 {
		r.kind = dhcpv4.MessageType(v[0])
	}
	if messageName(r.kind) == noMessage {
		return errNoKind
	}
	if p.ClientHWAddr[0]&1 != 0 || sameBytes(p.ClientHWAddr, 0) {
		return errNoHardware
	}
	if err := r.addresses(); err != nil {
		return err
	}
	area := packet[headerSize:]
	if r.clientID, _, _ = rawOption(area, optionClientID); len(r.clientID) > longestID {
		return errClientID
	}
	r.machine, _, _ = rawOption(area, optionMachine)
	if a, ok := addr4(r.option(optionSubnet)); ok && usable(a) {
		r.subnet = a
	}
	if r.relay, err = readRelay(area, r.giaddr, ports); err != nil {
		return err
	}
	r.limit = r.maximum()
	r.class = rules.Classify(r.said())
	r.keys = r.identity()
	return nil
}

// said is what a packet says of its sender.
func (r *request) said() classify.Packet {
	return classify.Packet{Options: r.option, MAC: r.ClientHWAddr}
}

// overload joins the options of file and then of sname to the others when
// option 52 says that they hold any (RFC 2132 section 9.3, RFC 2131 section 4.1).
func overload(p *dhcpv4.DHCPv4, packet []byte) error {
	v := p.Options.Get(dhcpv4.OptionOptionOverload)
	if len(v) != 1 {
		return nil
	}
	if v[0]&1 != 0 {
		if err := p.Options.FromBytes(packet[fileOffset:fileEnd]); err != nil {
			return fmt.Errorf("read options in file: %w", err)
		}
	}
	if v[0]&2 != 0 {
		if err := p.Options.FromBytes(packet[snameOffset:fileOffset]); err != nil {
			return fmt.Errorf("read options in sname: %w", err)
		}
	}
	return nil
}

// addresses reads and checks every address that a decision rests on.
func (r *request) addresses() error {
	for _, x := range []struct {
		to    *netip.Addr
		value []byte
	}{
		{&r.ciaddr, r.ClientIPAddr.To4()},
		{&r.giaddr, r.GatewayIPAddr.To4()},
		{&r.requested, r.option(optionRequested)},
		{&r.server, r.option(optionServerID)},
	} {
		if len(x.value) == 0 { // an empty option says nothing
			continue
		}
		a, ok := addr4(x.value)
		if ok && a.IsUnspecified() {
			continue
		}
		if !ok || !usable(a) {
			return errAddress
		}
		*x.to = a
	}
	switch {
	case r.kind == dhcpv4.MessageTypeInform && !r.ciaddr.IsValid(),
		r.kind == dhcpv4.MessageTypeDecline && !r.requested.IsValid():
		return errNoAddress
	}
	return nil
}

// client is what the bytes of an answer depend on.
func (r *request) client() reply.Client {
	c := reply.Client{Kind: r.kind, Stage: r.class.Stage, Vendor: r.class.Vendor,
		Class: string(r.option(optionClass)), Wants: r.option(optionWanted),
		IOSXR: r.option(optionXRVendors) != nil, Limit: r.limit}
	if v := r.option(optionVendor); len(v) > 0 && r.class.Stage == rack.StagePXE {
		c.Item = bootItem(v)
	}
	return c
}

// bootItem is sub-option 71 of option 43, which says what a boot server is asked
// for; nil: none.
func bootItem(v []byte) (item []byte) {
	for len(v) >= 2 && v[0] != optionEnd {
		if v[0] == optionPad {
			v = v[1:]
			continue
		}
		n := 2 + int(v[1])
		if n > len(v) {
			return nil
		}
		if v[0] == pxeBootItem && v[1] == 4 {
			item = v[2:n:n]
		}
		v = v[n:]
	}
	return item
}

// link is an address of the network that the client is on, as far as the packet
// says: the relay's word for it (RFC 3527 section 3), option 118 (RFC 3011), the
// relay's own address.
func (r *request) link() netip.Addr {
	switch {
	case r.giaddr.IsValid() && r.relay.link.IsValid():
		return r.relay.link
	case r.subnet.IsValid():
		return r.subnet
	}
	return r.giaddr
}

// hardware is the client's Ethernet address; hlen was checked to be 6.
func (r *request) hardware() lease.Hardware { return lease.Hardware(r.ClientHWAddr) }

// maximum is the longest DHCP message that a client takes (option 57).
func (r *request) maximum() int {
	size := minMaximum
	if v := r.option(optionMaximum); len(v) == 2 {
		size = max(minMaximum, int(v[0])<<8|int(v[1]))
	}
	return min(size, mostMaximum) - udpHeaders
}

// identity is what the packet says about who sent it. A packet without relay
// that carries ciaddr may be a unicast from behind any switch (RFC 2131 section
// 4.3.2, RENEWING), so it does not count as direct.
func (r *request) identity() rack.Keys {
	return rack.Keys{
		MAC:    net.HardwareAddr(r.ClientHWAddr).String(),
		UUID:   machineUUID(r.option(optionMachine)),
		Via:    r.relay.via,
		Direct: !r.giaddr.IsValid() && !r.ciaddr.IsValid() && r.relay.raw == nil,
		Stage:  r.class.Stage,
		Model:  r.class.Model,
		Serial: r.class.Serial,
		Arch:   r.class.Arch,
		Link:   r.link(),
	}
}

// machineUUID reads option 97: type 0 and 16 bytes (RFC 4578 section 2.3). All
// zeros and all ones are what boards without a number send.
func machineUUID(v []byte) string {
	if len(v) != 17 || v[0] != 0 || sameBytes(v[1:], 0) || sameBytes(v[1:], 0xff) {
		return ""
	}
	return hex.EncodeToString(v[1:])
}
