package wire

import (
	"errors"
	"net"
)

// PacketConn is a wire over any net.PacketConn, one message at a time: the
// loopback of a simulated rack, or a connection in memory. It leaves Hardware to
// the connection.
type PacketConn struct{ conn net.PacketConn }

// Over makes a wire of a connection and owns it from then on.
func Over(c net.PacketConn) *PacketConn { return &PacketConn{c} }

// Read waits for one message and puts it into the first of ds. It returns
// net.ErrClosed, wrapped, after Close; another error need not be the end.
func (p *PacketConn) Read(ds []Datagram) (int, error) {
	n, from, err := p.conn.ReadFrom(ds[0].Payload)
	if err != nil {
		return 0, err
	}
	ds[0].Payload = ds[0].Payload[:n]
	if u, ok := from.(*net.UDPAddr); ok {
		ds[0].Peer = u.AddrPort()
	}
	return 1, nil
}

// Write sends the messages. failed is called for each that did not leave.
func (p *PacketConn) Write(ds []Datagram, failed func(i int, err error)) {
	for i := range ds {
		if _, err := p.conn.WriteTo(ds[i].Payload, net.UDPAddrFromAddrPort(ds[i].Peer)); err != nil {
			failed(i, err)
		}
	}
}

// Close ends a Read that waits.
func (p *PacketConn) Close() error {
	if err := p.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
