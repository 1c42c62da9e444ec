//go:build !linux

package wire

import (
	"fmt"
	"net"
	"net/netip"
)

// Interface cannot be opened on this system.
type Interface struct{}

// Open fails with ErrLinuxOnly.
func Open(name string, _ Options) (*Interface, error) {
	return nil, fmt.Errorf("open interface %s for DHCP: %w", name, ErrLinuxOnly)
}

// Name is empty.
func (*Interface) Name() string { return "" }

// Address is invalid.
func (*Interface) Address() netip.Addr { return netip.Addr{} }

// Buffer is 0.
func (*Interface) Buffer() int { return 0 }

// Dropped is 0.
func (*Interface) Dropped() uint64 { return 0 }

// Read fails.
func (*Interface) Read([]Datagram) (int, error) { return 0, net.ErrClosed }

// Write fails for each message.
func (*Interface) Write(ds []Datagram, failed func(int, error)) {
	for i := range ds {
		failed(i, ErrLinuxOnly)
	}
}

// Close does nothing.
func (*Interface) Close() error { return nil }
