package lldp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/wire"
)

// maxPDU is the longest announcement, in bytes: it must fit one frame (IEEE
// 802.1AB-2016 section 8.2).
const maxPDU = 1500

// Neighbour is what an announcement says. Its strings are bounded and printable;
// an empty one was not said.
type Neighbour struct {
	MAC         string // who sent the frame
	Chassis     string // a MAC, an address or a name
	Port        string
	Description string // of the port
	System      string // name
	About       string // description of the system
	Address     netip.Addr
	TTL         time.Duration // 0: it takes back what it said

	portIsMAC bool // it says nothing of which port it is
}

// String names the neighbour's end of the cable: "mgmt-1 port swp48".
func (n Neighbour) String() string {
	who := n.System
	if who == "" {
		who = "chassis " + n.Chassis
	}
	port := n.Port
	if n.Description != "" && n.Description != n.Port {
		port += " (" + n.Description + ")"
	}
	return who + " port " + port
}

var errNotLLDP = errors.New("it is no announcement of LLDP")

// Parse reads a frame. It returns an error for whatever is not one whole
// announcement with chassis, port and time to live (section 9.2.7.7.1).
func Parse(frame []byte) (Neighbour, error) {
	const header = 14
	if len(frame) < header || binary.BigEndian.Uint16(frame[12:]) != wire.EtherTypeLLDP {
		return Neighbour{}, errNotLLDP
	}
	n := Neighbour{MAC: net.HardwareAddr(frame[6:12]).String()}
	// Three fields come first, each once, in this order; then what else there is, up
	// to the end. What stands behind that fills the frame up.
	kind, v, rest, err := field(frame[header:min(len(frame), header+maxPDU)])
	for at := 1; err == nil; at++ {
		switch {
		case at <= typeTTL && kind != at, at > typeTTL && kind >= typeChassis && kind <= typeTTL:
			return Neighbour{}, fmt.Errorf("%w: field %d is of type %d", errNotLLDP, at, kind)
		case kind == typeEnd && len(v) > 0:
			return Neighbour{}, fmt.Errorf("%w: its end is not empty", errNotLLDP)
		case kind == typeEnd:
			return n, nil
		}
		if err = n.take(kind, v); err == nil {
			kind, v, rest, err = field(rest)
		}
	}
	return Neighbour{}, err
}

// Types of fields (section 8.4, table 8-1).
const (
	typeEnd         = 0
	typeChassis     = 1
	typePort        = 2
	typeTTL         = 3
	typeDescription = 4
	typeSystem      = 5
	typeAbout       = 6
	typeAddress     = 8
)

// field reads the first field: 7 bits of type, 9 of length (section 8.4).
func field(b []byte) (kind int, value, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, nil, fmt.Errorf("%w: it has no end", errNotLLDP)
	}
	head := int(binary.BigEndian.Uint16(b))
	end := 2 + head&0x1ff
	if end > len(b) {
		return 0, nil, nil, fmt.Errorf("%w: a field runs past the end", errNotLLDP)
	}
	return head >> 9, b[2:end], b[end:], nil
}

// take reads the value of one field. Of one that may come once and comes twice, the
// first counts.
func (n *Neighbour) take(kind int, v []byte) error {
	set := func(to *string, s string) {
		if *to == "" {
			*to = s
		}
	}
	switch kind {
	case typeChassis: // section 8.5.2
		if len(v) < 2 {
			return fmt.Errorf("%w: a chassis without identifier", errNotLLDP)
		}
		n.Chassis = identifier(v[1:], v[0] == 4, v[0] == 5)
	case typePort: // section 8.5.3
		if len(v) < 2 {
			return fmt.Errorf("%w: a port without identifier", errNotLLDP)
		}
		n.portIsMAC = v[0] == 3
		n.Port = identifier(v[1:], n.portIsMAC, v[0] == 4)
	case typeTTL: // section 8.5.4
		if len(v) < 2 {
			return fmt.Errorf("%w: no time to live", errNotLLDP)
		}
		n.TTL = time.Duration(binary.BigEndian.Uint16(v)) * time.Second
	case typeDescription:
		set(&n.Description, text(v))
	case typeSystem:
		set(&n.System, text(v))
	case typeAbout:
		set(&n.About, text(v))
	case typeAddress: // section 8.5.9: length, kind of address, address, …
		if len(v) > 0 && v[0] > 0 && int(v[0]) < len(v) && !n.Address.Is4() {
			if a, ok := network(v[1 : 1+v[0]]); ok {
				n.Address = a
			}
		}
	}
	return nil
}

func text(b []byte) string { return classify.Printable(b, classify.MaxString) }

// identifier is a chassis or a port in words.
func identifier(b []byte, isMAC, isAddress bool) string {
	if isMAC && len(b) == 6 {
		return net.HardwareAddr(b).String()
	}
	if isAddress {
		if a, ok := network(b); ok {
			return a.String()
		}
	}
	return text(b)
}

// network is an address with its kind (IANA address family numbers) before it.
func network(b []byte) (netip.Addr, bool) {
	const ipv4, ipv6 = 1, 2
	switch {
	case len(b) == 5 && b[0] == ipv4:
		return netip.AddrFrom4([4]byte(b[1:])), true
	case len(b) == 17 && b[0] == ipv6:
		return netip.AddrFrom16([16]byte(b[1:])), true
	}
	return netip.Addr{}, false
}

// label is a name up to its first dot.
func label(s string) string {
	s, _, _ = strings.Cut(s, ".")
	return s
}
