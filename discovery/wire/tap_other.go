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

// Sender cannot be opened on this system.
type Sender struct{}

// OpenSender fails with ErrLinuxOnly.
func OpenSender(name string) (*Sender, error) {
	return nil, fmt.Errorf("send out of interface %s: %w", name, ErrLinuxOnly)
}

// Send fails.
func (*Sender) Send([]byte) error { return ErrLinuxOnly }

// Close does nothing.
func (*Sender) Close() error { return nil }
