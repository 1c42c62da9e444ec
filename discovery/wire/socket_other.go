//go:build !linux

package wire

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// ListenUDP fails with ErrLinuxOnly.
func ListenUDP(name string) (net.PacketConn, error) {
	return nil, fmt.Errorf("open a socket on interface %s: %w", name, ErrLinuxOnly)
}

// Dialer fails with ErrLinuxOnly.
func Dialer(name string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		return nil, fmt.Errorf("connect through interface %s: %w", name, ErrLinuxOnly)
	}
}

// Station knows nobody.
func Station(*Link, netip.Addr) (net.HardwareAddr, bool) { return nil, false }

// Listen fails with ErrLinuxOnly.
func Listen(string, uint16) (net.Listener, error) { return nil, ErrLinuxOnly }

// ListenPacket fails with ErrLinuxOnly.
func ListenPacket(string, uint16) (net.PacketConn, error) { return nil, ErrLinuxOnly }
