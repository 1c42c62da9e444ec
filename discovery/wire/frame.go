package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// EtherTypes (IEEE 802).
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeLLDP = 0x88cc
)

// Sizes of headers, in bytes.
const (
	ethernetHeader = 14
	ipv4Header     = 20 // without options, RFC 791 section 3.1
	udpHeader      = 8  // RFC 768
	protocolUDP    = 17
	hopLimit       = 64 // of what we send; nothing of it is routed
)

// UDP is one UDP datagram in an Ethernet frame.
type UDP struct {
	From, To net.HardwareAddr
	Source   netip.AddrPort
	Target   netip.AddrPort
	Payload  []byte // shares the frame's memory when it was parsed
}

var (
	errNotUDP    = errors.New("it is no whole UDP datagram over IPv4")
	errMAC       = errors.New("a MAC address has 6 bytes")
	errNotIPv4   = errors.New("source and target must be IPv4 addresses")
	errPayload   = errors.New("the message does not fit a datagram of IPv4")
	maxUDP       = 1<<16 - 1 - ipv4Header - udpHeader
	fragmentBits = uint16(0x3fff) // more fragments, and the offset
)

// AppendFrame appends the Ethernet frame of a datagram, with the checksums of IPv4
// and UDP. It is not split: who sends it must keep to the interface's MTU.
func (u UDP) AppendFrame(b []byte) ([]byte, error) {
	switch {
	case len(u.From) != 6 || len(u.To) != 6:
		return b, errMAC
	case !u.Source.Addr().Is4() || !u.Target.Addr().Is4():
		return b, errNotIPv4
	case len(u.Payload) > maxUDP:
		return b, fmt.Errorf("%w: %d bytes", errPayload, len(u.Payload))
	}
	length := udpHeader + len(u.Payload)
	source, target := u.Source.Addr().As4(), u.Target.Addr().As4()
	b = append(append(b, u.To...), u.From...)
	b = binary.BigEndian.AppendUint16(b, EtherTypeIPv4)
	at := len(b)
	b = append(b, 0x45, 0) // version 4, 5 words; no service class
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4Header+length))
	b = append(b, 0, 0, 0x40, 0, hopLimit, protocolUDP, 0, 0) // not to be split
	b = append(append(b, source[:]...), target[:]...)
	binary.BigEndian.PutUint16(b[at+10:], ^fold(sum(0, b[at:])))
	at = len(b)
	b = binary.BigEndian.AppendUint16(b, u.Source.Port())
	b = binary.BigEndian.AppendUint16(b, u.Target.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(append(b, 0, 0), u.Payload...)
	check := ^fold(sum(pseudoHeader(source, target, length), b[at:]))
	if check == 0 {
		check = 0xffff // RFC 768: zero means that there is none
	}
	binary.BigEndian.PutUint16(b[at+6:], check)
	return b, nil
}

// ParseUDP reads a frame. It returns an error for whatever is not one whole UDP
// datagram over IPv4. Checksums are not held against it: a card may leave them to
// be filled in later, and a frame that was damaged is none the worse for being
// reported.
func ParseUDP(frame []byte) (UDP, error) {
	if len(frame) < ethernetHeader+ipv4Header || binary.BigEndian.Uint16(frame[12:]) != EtherTypeIPv4 {
		return UDP{}, errNotUDP
	}
	ip := frame[ethernetHeader:]
	head, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || head < ipv4Header || total > len(ip) || total < head+udpHeader ||
		ip[9] != protocolUDP || binary.BigEndian.Uint16(ip[6:])&fragmentBits != 0 {
		return UDP{}, errNotUDP
	}
	u := ip[head:total]
	length := int(binary.BigEndian.Uint16(u[4:]))
	if length < udpHeader || length > len(u) {
		return UDP{}, errNotUDP
	}
	at := func(b []byte, port []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(port))
	}
	return UDP{
		To: net.HardwareAddr(frame[:6]), From: net.HardwareAddr(frame[6:12]),
		Source: at(ip[12:16], u[0:]), Target: at(ip[16:20], u[2:]), Payload: u[udpHeader:length],
	}, nil
}

// pseudoHeader is what the checksum of UDP covers besides the datagram.
func pseudoHeader(source, target [4]byte, length int) uint32 {
	return sum(sum(protocolUDP+uint32(length), source[:]), target[:])
}

// sum adds up 16-bit words (RFC 1071); a last byte alone counts as the upper one.
// 64 KiB of them do not overflow.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// ParseARP reads who speaks in a frame of ARP over Ethernet (RFC 826), and with which
// address. It returns an error for one who has none yet, and for whatever else is in
// the frame.
func ParseARP(frame []byte) (net.HardwareAddr, netip.Addr, error) {
	const length = 28 // of ARP for Ethernet and IPv4
	errNot := errors.New("it is no ARP of a machine with an IPv4 address")
	if len(frame) < ethernetHeader+length || binary.BigEndian.Uint16(frame[12:]) != EtherTypeARP {
		return nil, netip.Addr{}, errNot
	}
	a := frame[ethernetHeader:]
	if binary.BigEndian.Uint16(a) != 1 || binary.BigEndian.Uint16(a[2:]) != EtherTypeIPv4 || a[4] != 6 || a[5] != 4 {
		return nil, netip.Addr{}, errNot
	}
	mac, ip := net.HardwareAddr(a[8:14]), netip.AddrFrom4([4]byte(a[14:18]))
	if mac[0]&1 != 0 || ip.IsUnspecified() || ip.IsMulticast() || ip.As4()[0] >= 240 {
		return nil, netip.Addr{}, errNot
	}
	return mac, ip, nil
}
