package reply

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Option numbers (RFC 2132 unless noted).
const (
	optionSubnetMask  = 1
	optionRouter      = 3
	optionDNS         = 6
	optionLog         = 7
	optionHostname    = 12
	optionBroadcast   = 28
	optionNTP         = 42
	optionVendor      = 43
	optionLease       = 51
	optionMessageType = 53
	optionServerID    = 54
	optionMessage     = 56
	optionRenewal     = 58
	optionRebinding   = 59
	optionClass       = 60
	optionClientID    = 61
	optionTFTPServer  = 66
	optionBootFile    = 67
	optionRelay       = 82
	optionMachine     = 97  // RFC 4578 section 2.3
	optionURL         = 114 // as ONIE reads it: the installer's URL
	optionSubnet      = 118 // RFC 3011
	optionVendorInfo  = 125 // RFC 3925
	optionTFTPAddress = 150 // RFC 5859
	optionEtherboot   = 175 // iPXE

	optionPad = 0
	optionEnd = 255
)

// Sizes of DHCP messages, in bytes.
const (
	// HeaderSize is the fixed fields and the magic cookie.
	HeaderSize = 240
	// MinMessage is what shorter answers are padded to (RFC 1542 section 2.1).
	MinMessage  = 300
	longestFile = 128 - 1 // file is closed by a NUL
)

// unasked is what a client without option 55 is told.
var unasked = []byte{optionSubnetMask, optionRouter, optionHostname}

// Message is one answer to one request.
type Message struct {
	Kind     dhcpv4.MessageType // OFFER, ACK or NAK
	ServerID netip.Addr
	Why      string // of a NAK, option 56
	// Proxy is an answer without address: the site's own server gives that (PXE 2.1
	// section 2.2.3).
	Proxy bool

	XID      [4]byte
	HType    byte
	Flags    uint16
	CIAddr   netip.Addr // invalid: 0.0.0.0; so are the other two
	YIAddr   netip.Addr
	GIAddr   netip.Addr
	Hardware [6]byte

	// What of the request is returned as it came, code and length included.
	ClientID []byte // option 61 (RFC 6842 section 3)
	Relay    []byte // option 82 (RFC 3046 section 2.2)
	Echo     []byte // others: 97 for PXE firmware, 118 when it was heeded
}

// library makes the message with insomniacslk/dhcp: all of it but what is returned
// as it came, with its options also in the order in which they are to be written.
func library(e *Entry, c *Client, m *Message) (*dhcpv4.DHCPv4, []dhcpv4.Option) {
	p := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootReply, Options: dhcpv4.Options{}}
	list := []dhcpv4.Option{dhcpv4.OptMessageType(m.Kind), dhcpv4.OptServerIdentifier(m.ServerID.AsSlice())}
	switch {
	case m.Kind == dhcpv4.MessageTypeNak:
		list = append(list, dhcpv4.OptMessage(m.Why))
	case m.Proxy:
		b := e.proxied(c, e.boots(c, m.ServerID), m.ServerID)
		list = append(list, b.options...)
		b.header(p)
	default:
		list = addressed(p, list, e, c, m)
	}
	for _, o := range list {
		p.UpdateOption(o)
	}
	return p, list
}

// addressed adds what an answer with an address says.
func addressed(p *dhcpv4.DHCPv4, list []dhcpv4.Option, e *Entry, c *Client, m *Message) []dhcpv4.Option {
	lease := time.Duration(e.LeaseSeconds(c)) * time.Second
	withLease := c.Kind != dhcpv4.MessageTypeInform // RFC 2131 section 4.3.5
	if withLease {
		list = append(list, dhcpv4.OptIPAddressLeaseTime(lease))
	}
	b := e.boots(c, m.ServerID)
	b.header(p)
	list = append(list, b.options...)
	has := map[uint8]bool{}
	for _, o := range list {
		has[o.Code.Code()] = true
	}
	wants := c.Wants
	if len(wants) == 0 {
		wants = unasked
	}
	// RFC 2132 section 3.3: the mask stands before the router.
	if slices.Contains(wants, optionRouter) && !slices.Contains(wants[:slices.Index(wants, optionRouter)], optionSubnetMask) {
		wants = append([]byte{optionSubnetMask}, wants...)
	}
	for _, code := range wants {
		if has[code] {
			continue
		}
		if o, ok := e.asked(code, c, m, withLease, b); ok {
			has[code] = true
			list = append(list, o)
		}
	}
	return list
}

// header puts the boot file into the header (RFC 2131 section 2).
func (b *boots) header(p *dhcpv4.DHCPv4) {
	if b.server.Is4() {
		p.ServerIPAddr = b.server.AsSlice()
	}
	if len(b.file) <= longestFile {
		p.BootFileName = b.file
	}
}

// asked is what the entry has of an option that the client lists in option 55.
func (e *Entry) asked(code byte, c *Client, m *Message, withLease bool, b boots) (o dhcpv4.Option, ok bool) {
	lease := e.LeaseSeconds(c)
	timers := withLease && lease >= 8 && lease < math.MaxUint32 // RFC 2131 section 4.4.5: T1 < T2 < lease
	mask := e.Prefix.IsValid() && e.Prefix.Addr().Is4()
	list := func(f func(...net.IP) dhcpv4.Option, s Servers) (dhcpv4.Option, bool) {
		ips, ok := s.ips()
		return f(ips...), ok
	}
	switch {
	case code == optionSubnetMask && mask:
		return dhcpv4.OptSubnetMask(net.CIDRMask(e.Prefix.Bits(), 32)), true
	case code == optionRouter && e.Router.Is4():
		return dhcpv4.OptRouter(e.Router.AsSlice()), true
	case code == optionDNS:
		return list(dhcpv4.OptDNS, e.DNS)
	case code == optionNTP:
		return list(dhcpv4.OptNTPServers, e.NTP)
	case code == optionLog && e.Syslog.Is4():
		return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(optionLog), e.Syslog.AsSlice()), true
	case code == optionHostname && e.Hostname != "":
		return dhcpv4.OptHostName(e.Hostname), true
	case code == optionBroadcast && mask:
		return dhcpv4.OptBroadcastAddress(lastAddr(e.Prefix).AsSlice()), true
	case code == optionRenewal && timers:
		return dhcpv4.OptRenewTimeValue(time.Duration(lease/2) * time.Second), true
	case code == optionRebinding && timers:
		return dhcpv4.OptRebindingTimeValue(time.Duration(uint64(lease)*7/8) * time.Second), true
	case code == optionTFTPServer && b.server.Is4():
		return dhcpv4.OptTFTPServerName(b.server.String()), true
	case code == optionTFTPAddress && b.server.Is4():
		return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(optionTFTPAddress), b.server.AsSlice()), true
	}
	return o, false
}

// lastAddr is the broadcast address of an IPv4 network.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	host := uint32(math.MaxUint32)
	if p.Bits() > 0 {
		host = 1<<(32-p.Bits()) - 1
	}
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|host)
	return netip.AddrFrom4(b)
}
