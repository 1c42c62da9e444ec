package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bound keeps a socket to one interface.
func bound(name string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) { set = unix.BindToDevice(int(fd), name) })
		return errors.Join(err, set)
	}
}

// ListenUDP opens a UDP socket at any free port that sends and hears on one
// interface only.
func ListenUDP(name string) (net.PacketConn, error) {
	c, err := ListenPacket(name, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket on interface %s: %w", name, err)
	}
	return c, nil
}

// Dialer connects through one interface only.
func Dialer(name string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Control: bound(name)}).DialContext
}

// Station is the MAC of whoever has an address on an interface, as the kernel learnt
// it when it last talked to it. ok is false when it does not know.
func Station(link *Link, a netip.Addr) (mac net.HardwareAddr, ok bool) {
	table, err := netlink.NeighList(link.Index, netlink.FAMILY_V4)
	if err != nil {
		return nil, false
	}
	for _, n := range table {
		if ip, is := netip.AddrFromSlice(n.IP); is && ip.Unmap() == a && len(n.HardwareAddr) == 6 && n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE|netlink.NUD_PERMANENT) != 0 {
			return n.HardwareAddr, true
		}
	}
	return nil, false
}

// Listen opens a TCP socket at a port of every address, which takes connections on one
// interface only.
func Listen(name string, port uint16) (net.Listener, error) {
	lc := net.ListenConfig{Control: bound(name)}
	l, err := lc.Listen(context.Background(), "tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	if err != nil {
		return nil, permitted(err)
	}
	return l, nil
}

// ListenPacket opens a UDP socket at a port of every address, which sends and hears on
// one interface only.
func ListenPacket(name string, port uint16) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: bound(name)}
	c, err := lc.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	if err != nil {
		return nil, permitted(err)
	}
	return c, nil
}
