//go:build !linux

package wire

import (
	"fmt"
	"net"
)

// Tap cannot be opened on this system.
type Tap struct{}

// OpenTap fails with ErrLinuxOnly.
func OpenTap(name string, _ Heard) (*Tap, error) {
	return nil, fmt.Errorf("listen on interface %s: %w", name, ErrLinuxOnly)
}

// Read fails.
func (*Tap) Read() ([]byte, error) { return nil, net.ErrClosed }

// Close does nothing.
func (*Tap) Close() error { return nil }
