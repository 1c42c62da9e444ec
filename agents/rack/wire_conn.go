package rackagent

import (
	"net"
	"net/netip"
	"time"

	"github.com/rackreach/rackreach/discovery/wire"
)

// interfaceConn lets an interface be served one message at a time. A client that
// has no address yet is answered by a frame to its chaddr.
type interfaceConn struct{ *wire.Interface }

var _ net.PacketConn = interfaceConn{}

// Offsets in a DHCP message (RFC 2131 section 2).
const (
	ciaddrAt = 12
	yiaddrAt = 16
	giaddrAt = 24
	chaddrAt = 28
	fixedEnd = 236
)

func (c interfaceConn) ReadFrom(b []byte) (int, net.Addr, error) {
	ds := [1]wire.Datagram{{Payload: b}}
	if _, err := c.Read(ds[:]); err != nil {
		return 0, nil, err
	}
	return len(ds[0].Payload), net.UDPAddrFromAddrPort(ds[0].Peer), nil
}

func (c interfaceConn) WriteTo(b []byte, to net.Addr) (n int, err error) {
	d := wire.Datagram{Payload: b, Peer: to.(*net.UDPAddr).AddrPort()}
	d.Peer = netip.AddrPortFrom(d.Peer.Addr().Unmap(), d.Peer.Port())
	at := func(offset int) netip.Addr { return netip.AddrFrom4([4]byte(b[offset : offset+4])) }
	if len(b) >= fixedEnd && at(giaddrAt).IsUnspecified() && at(ciaddrAt).IsUnspecified() && at(yiaddrAt) == d.Peer.Addr() {
		d.Hardware = net.HardwareAddr(b[chaddrAt : chaddrAt+6])
	}
	c.Write([]wire.Datagram{d}, func(_ int, e error) { err = e })
	return len(b), err
}

func (c interfaceConn) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Address(), wire.ServerPort))
}

func (interfaceConn) SetDeadline(time.Time) error      { return nil }
func (interfaceConn) SetReadDeadline(time.Time) error  { return nil }
func (interfaceConn) SetWriteDeadline(time.Time) error { return nil }
