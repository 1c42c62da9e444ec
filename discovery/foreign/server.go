package foreign

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/wire"
)

// maxPacket is the longest DHCP message that is looked at, in bytes.
const maxPacket = 4096

// Server is what one message says of a DHCP server that is not ours. Its strings
// are bounded and printable.
type Server struct {
	Address netip.Addr // option 54, or where the message came from
	MAC     string     // who sent the frame: the server or its relay; empty: only a client spoke of it
	Message string     // OFFER, ACK, NAK, BOOTP or REQUEST
	Client  string     // MAC of the client

	Offered    netip.Addr // yiaddr; invalid: none, as in the offer of a ProxyDHCP server
	Router     netip.Addr
	NextServer netip.Addr
	BootFile   string
}

// Key tells servers apart.
type Key struct {
	Address netip.Addr
	MAC     string
}

// Key is the server's own.
func (s Server) Key() Key { return Key{s.Address, s.MAC} }

// String is a sentence without an end.
func (s Server) String() string {
	if s.MAC == "" {
		return fmt.Sprintf("%s, from which %s takes an address", s.Address, s.Client)
	}
	what := "answered " + s.Client
	switch {
	case s.Message == "OFFER" && s.Offered.IsValid():
		what = fmt.Sprintf("offered %s to %s", s.Offered, s.Client)
	case s.Message == "OFFER":
		what = "offered to boot " + s.Client
	case s.Message == "ACK" && s.Offered.IsValid():
		what = fmt.Sprintf("gave %s to %s", s.Offered, s.Client)
	case s.Message == "NAK":
		what = "refused an address to " + s.Client
	}
	var also []string
	if s.Router.IsValid() {
		also = append(also, "router "+s.Router.String())
	}
	if s.NextServer.IsValid() {
		also = append(also, "boot server "+s.NextServer.String())
	}
	if s.BootFile != "" {
		also = append(also, "boot file "+s.BootFile)
	}
	if len(also) > 0 {
		what += " with " + strings.Join(also, ", ")
	}
	return fmt.Sprintf("%s (MAC %s), which %s", s.Address, s.MAC, what)
}

// Own is what is ours.
type Own struct {
	MAC       net.HardwareAddr // of the interface
	Addresses []netip.Addr     // server identifiers that clients may name
}

// Judge reads one datagram. ok: it is the word of a server that is not ours, or of a
// client that has chosen one.
func Judge(u wire.UDP, own Own) (s Server, ok bool) {
	if len(u.Payload) > maxPacket {
		return s, false
	}
	p, err := dhcpv4.FromBytes(u.Payload)
	if err != nil {
		return s, false
	}
	s.Client = p.ClientHWAddr.String()
	if len(p.ClientHWAddr) != 6 {
		s.Client = "a client"
	}
	switch p.OpCode {
	case dhcpv4.OpcodeBootReply:
		return s.reply(u, own, p)
	case dhcpv4.OpcodeBootRequest:
		// RFC 2131 section 4.3.2: only who chooses between offers names a server
		// in a REQUEST. Behind a relay the name may be the relay's (RFC 5107).
		a := address(p.Options.Get(dhcpv4.OptionServerIdentifier))
		if p.MessageType() != dhcpv4.MessageTypeRequest || !a.IsValid() || slices.Contains(own.Addresses, a) || address(p.GatewayIPAddr).IsValid() || !address(p.Options.Get(dhcpv4.OptionRequestedIPAddress)).IsValid() {
			return s, false
		}
		s.Address, s.Message = a, "REQUEST"
		return s, true
	}
	return s, false
}

func (s Server) reply(u wire.UDP, own Own, p *dhcpv4.DHCPv4) (Server, bool) {
	if u.From.String() == own.MAC.String() || u.Source.Port() != wire.ServerPort && u.Source.Port() != wire.ProxyPort {
		return s, false
	}
	switch p.MessageType() {
	case dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak:
		s.Message = p.MessageType().String()
	case dhcpv4.MessageTypeNone:
		s.Message = "BOOTP"
	default:
		return s, false
	}
	s.MAC, s.Address = u.From.String(), address(p.Options.Get(dhcpv4.OptionServerIdentifier))
	if !s.Address.IsValid() {
		s.Address = u.Source.Addr()
	}
	s.Offered, s.NextServer = address(p.YourIPAddr), address(p.ServerIPAddr)
	if v := p.Options.Get(dhcpv4.OptionRouter); len(v) >= 4 {
		s.Router = address(v[:4])
	}
	file := []byte(p.BootFileName)
	if v := p.Options.Get(dhcpv4.OptionBootfileName); len(v) > 0 {
		file = v
	}
	s.BootFile = classify.Printable(file, classify.MaxString)
	return s, true
}

// address reads an IPv4 address; 0.0.0.0 is none.
func address(b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if a = a.Unmap(); !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
