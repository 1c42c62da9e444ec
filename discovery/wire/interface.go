package wire

import (
	"errors"
	"fmt"
	"net/netip"
)

// Ports of DHCP servers.
const (
	ServerPort = 67   // RFC 2131 section 4.1
	ClientPort = 68   // RFC 2131 section 4.1
	ProxyPort  = 4011 // PXE 2.1 section 2.2.1: boot server discovery
)

// DefaultBuffer is the room for messages that wait to be read, in bytes: 40,000
// clients may ask at once (measured: 8 MiB hold about 11,000 messages).
const DefaultBuffer = 8 << 20

// MaxBatch is how many messages one read or write hands over at most.
const MaxBatch = 64

// Options of an Interface.
type Options struct {
	// Address is the source of what is sent: this machine's own IPv4 address on
	// the interface. Invalid: the first that the interface has.
	Address netip.Addr

	// Port is the UDP port that is served. 0: ServerPort.
	Port uint16

	// Buffer is asked of the kernel for messages that wait, in bytes; it may grant
	// less. 0: DefaultBuffer.
	Buffer int
}

// ErrLinuxOnly is what opening an interface or a tap fails with on other systems.
var ErrLinuxOnly = errors.New("serving and hearing DHCP on an interface works on Linux only")

// TakenError says that another program serves the port.
type TakenError struct {
	Interface string
	Port      uint16
	Holders   []string // "dnsmasq (process 812)"; empty: they cannot be seen
	Err       error
}

func (e *TakenError) Error() string {
	by := "another program"
	next := fmt.Sprintf("find it with: ss -ulpn sport = :%d", e.Port)
	if len(e.Holders) > 0 {
		by = e.Holders[0]
		for _, h := range e.Holders[1:] {
			by += ", " + h
		}
		next = "stop it, or take another interface"
	}
	return fmt.Sprintf("UDP port %d of interface %s is served by %s already: two DHCP servers must not share it: %s", e.Port, e.Interface, by, next)
}

func (e *TakenError) Unwrap() error { return e.Err }
