package wire

import (
	"net"
	"net/netip"
)

// Datagram is one DHCP message, as it came or as it goes.
type Datagram struct {
	// Payload is the message. Before a read it is the room for it, at its full
	// length; the read cuts it to what came.
	Payload []byte

	// Peer is who sent it, or whom it goes to. 255.255.255.255 is a broadcast on
	// the wire's own segment.
	Peer netip.AddrPort

	// Local is the address and the port of this machine that it was sent to; the
	// address may be a broadcast. Invalid: the wire cannot tell. A message that goes
	// comes from this address if the interface has it, and else from the wire's own;
	// its port is always the wire's.
	Local netip.AddrPort

	// Hardware is set on a message to a client that has no address yet: the frame
	// goes there without ARP (RFC 2131 section 4.1). Nil: the kernel finds the way.
	Hardware net.HardwareAddr
}
