package wire

import (
	"net"

	"golang.org/x/net/bpf"
)

// MaxFrame is the longest frame that a tap hands over, in bytes: a jumbo frame.
const MaxFrame = 9 << 10

// Heard says which frames a tap hands over.
type Heard struct {
	EtherType uint16
	UDP       []uint16         // only UDP datagrams over IPv4 from or to one of these ports; empty: all
	Direct    bool             // no DHCP requests that a relay has passed on: on a busy server they are most of all
	Group     net.HardwareAddr // a group to join on the card; nil: none
	// Others also hands over what is meant for other machines, as far as it comes
	// by: on a mirror port, everything.
	Others bool
}

// DHCP are the messages of DHCP, in both directions.
func DHCP() Heard {
	return Heard{EtherType: EtherTypeIPv4, UDP: []uint16{ServerPort, ClientPort, ProxyPort}}
}

// Servers are the messages of DHCP servers, and of clients on the segment itself.
func Servers() Heard {
	h := DHCP()
	h.Direct = true
	return h
}

// LLDP are the announcements of the neighbour on the cable (IEEE 802.1AB-2016
// section 7.1: the nearest bridge).
func LLDP() Heard {
	return Heard{EtherType: EtherTypeLLDP, Group: net.HardwareAddr{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e}}
}

// ARP are the questions who has an address, and the answers that reach us.
func ARP() Heard { return Heard{EtherType: EtherTypeARP} }

// filter is the program with which the kernel picks the frames.
func (h Heard) filter() []bpf.Instruction {
	const drop, keep = 0, MaxFrame
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(h.EtherType), SkipTrue: 1},
		bpf.RetConstant{Val: drop},
	}
	if len(h.UDP) == 0 {
		return append(p, bpf.RetConstant{Val: keep})
	}
	p = append(p,
		bpf.LoadAbsolute{Off: ethernetHeader + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolUDP, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
		bpf.LoadAbsolute{Off: ethernetHeader + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1}, // the first fragment has the ports
		bpf.RetConstant{Val: drop},
		bpf.LoadMemShift{Off: ethernetHeader}, // X: length of the IPv4 header
	)
	end := []bpf.Instruction{bpf.RetConstant{Val: keep}}
	if h.Direct {
		const bootRequest, op, giaddr = 1, ethernetHeader + udpHeader, ethernetHeader + udpHeader + 24 // RFC 2131 section 2
		end = []bpf.Instruction{
			bpf.LoadIndirect{Off: op, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: bootRequest, SkipTrue: 2},
			bpf.LoadIndirect{Off: giaddr, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 1},
			bpf.RetConstant{Val: keep},
			bpf.RetConstant{Val: drop},
		}
	}
	for _, offset := range []uint32{0, 2} { // source port, target port
		for _, port := range h.UDP {
			p = append(p, bpf.LoadIndirect{Off: ethernetHeader + offset, Size: 2}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: uint8(len(end))})
			p = append(p, end...)
		}
	}
	return append(p, bpf.RetConstant{Val: drop})
}
