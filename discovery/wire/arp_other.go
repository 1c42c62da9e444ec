//go:build !linux

package wire

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Resolve fails with ErrLinuxOnly.
func Resolve(_ context.Context, name string, _, address netip.Addr) (net.HardwareAddr, error) {
	return nil, fmt.Errorf("ask for %s on interface %s: %w", address, name, ErrLinuxOnly)
}
