package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Ports of the devices' services, in logical addresses.
const (
	portAPI  = 80
	portIPMI = 623 // RMCP
)

// AgentHTTP is the logical address of the agent's HTTP service. URLs that
// devices keep carry it, since it stays the same when the agent comes back on
// another port; the fabric leads it to Services.HTTP.
const AgentHTTP = "127.0.0.1:80"

// Dial connects the agent to a device by its logical address:
// "192.168.100.101:623" over udp, "10.0.2.11:80" over tcp. A path that is closed
// is silence: a TCP dial waits for it until ctx ends, a datagram is lost. It
// fails at once only for addresses that no packet could have, and after Close.
func (s *Sim) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, stream, err := logical(network, address)
	if err != nil {
		return nil, err
	}
	if stream {
		return s.dialTCP(ctx, to)
	}
	return s.dialUDP(to)
}

// logical reads what is to be dialled.
func logical(network, address string) (to netip.AddrPort, stream bool, err error) {
	to, err = netip.ParseAddrPort(address)
	if err != nil {
		return to, false, fmt.Errorf("dial %s: the simulated rack is reached by addresses, not names: write ADDRESS:PORT", address)
	}
	switch network {
	case "tcp", "tcp4":
		return to, true, nil
	case "udp", "udp4":
		return to, false, nil
	}
	return to, false, fmt.Errorf("dial %s %s: the simulated rack has tcp and udp over IPv4 only", network, address)
}

func (s *Sim) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	lost := false
	for {
		e, real, changed := s.fabric.find(to)
		if real.IsValid() {
			c, err := s.connect(ctx, e, real.String(), toDevice)
			if err == nil || ctx.Err() != nil || s.ctx.Err() != nil {
				return c, err
			}
		} else if !lost {
			lost = true // one SYN and its repetitions
			s.fabric.lose(e, to, protoHTTP)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: no answer: nothing at that address, or no path of forwarding switches to it: %w", to, ctx.Err())
		case <-s.ctx.Done():
			return nil, fmt.Errorf("dial %s: the simulated rack was closed: %w", to, net.ErrClosed)
		}
	}
}

// lose counts a packet of the agent that nobody receives.
func (f *fabric) lose(e *end, to netip.AddrPort, p protocol) {
	switch {
	case e == nil:
		f.drop(to.Addr().String(), "nobody-has-the-address", p, toDevice)
	case !e.open.Load():
		f.drop(e.device, "no-path", p, toDevice)
	default:
		f.drop(e.device, "not-listening", p, toDevice)
	}
}

// find is the end that holds an address, the real address of its service when
// the path to it is open, and a channel that closes when any of it changes.
func (f *fabric) find(to netip.AddrPort) (*end, netip.AddrPort, <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	e := f.holders[to.Addr()]
	if e == nil || !e.open.Load() {
		return e, netip.AddrPort{}, f.changed
	}
	switch to.Port() {
	case portAPI:
		return e, f.services[e], f.changed
	case portIPMI:
		return e, f.bmcs[e], f.changed
	}
	return e, f.shells[e], f.changed // SSH, at whichever port the rack file says
}

// connect opens a real connection on behalf of an end, or to it.
func (s *Sim) connect(ctx context.Context, e *end, real string, d direction) (net.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp4", real)
	if err != nil {
		return nil, err
	}
	if t, ok := raw.(*net.TCPConn); ok && d == fromDevice {
		if err := t.SetReadBuffer(readSize); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
	}
	c, err := s.fabric.adopt(e, raw, d)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dialOut connects an end of a device to a service of the agent. The only one
// there is on this network is Services.HTTP, by its real address or by the
// logical one. Where it is now is looked up when the path is open.
func (s *Sim) dialOut(ctx context.Context, e *end, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.tempo.scaled(connectLimit, floorConnect))
	defer cancel()
	for {
		s.fabric.mu.RLock()
		changed := s.fabric.changed
		s.fabric.mu.RUnlock()
		if s.fabric.pass(e, protoHTTP, fromDevice) {
			at := s.services().HTTP
			if at == nil {
				return nil, fmt.Errorf("dial %s: connection refused: no agent is there", address)
			}
			if address != AgentHTTP && address != at.String() {
				return nil, fmt.Errorf("dial %s: no route: the agent's HTTP service is at %s", address, at)
			}
			return s.connect(ctx, e, at.String(), fromDevice)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: no path from %s: %w", address, e.device, ctx.Err())
		}
	}
}

// datagrams is the agent's UDP socket towards one logical address. What the
// address leads to is looked up at every packet.
type datagrams struct {
	socket *net.UDPConn
	sim    *Sim
	to     netip.AddrPort
	once   sync.Once
	err    error
}

func (s *Sim) dialUDP(to netip.AddrPort) (net.Conn, error) {
	if s.ctx.Err() != nil {
		return nil, fmt.Errorf("dial %s: the simulated rack was closed: %w", to, net.ErrClosed)
	}
	u, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	return &datagrams{socket: u, sim: s, to: to}, nil
}

func loopback() *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// Write sends one datagram. Without a holder of the address or a path to it,
// it is lost and nothing says so.
func (d *datagrams) Write(b []byte) (int, error) {
	e, real, _ := d.sim.fabric.find(d.to)
	if !real.IsValid() {
		d.sim.fabric.lose(e, d.to, protoIPMI)
		return len(b), nil
	}
	return d.socket.WriteToUDPAddrPort(b, real)
}

// Read receives one datagram from whoever holds the address now.
func (d *datagrams) Read(b []byte) (int, error) {
	for {
		n, from, err := d.socket.ReadFromUDPAddrPort(b)
		if err != nil {
			return 0, err
		}
		if _, real, _ := d.sim.fabric.find(d.to); real == netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) {
			return n, nil
		}
	}
}

// LocalAddr is the real socket's.
func (d *datagrams) LocalAddr() net.Addr { return d.socket.LocalAddr() }

// SetDeadline bounds reads and writes.
func (d *datagrams) SetDeadline(t time.Time) error { return d.socket.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (d *datagrams) SetReadDeadline(t time.Time) error { return d.socket.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (d *datagrams) SetWriteDeadline(t time.Time) error { return d.socket.SetWriteDeadline(t) }

// RemoteAddr is the logical address.
func (d *datagrams) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(d.to) }

// Close closes the socket.
func (d *datagrams) Close() error {
	d.once.Do(func() { d.err = d.socket.Close() })
	return d.err
}

var _ net.Conn = (*datagrams)(nil)

// isTimeout reports whether a socket's deadline passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// within sets a read deadline d from now.
func within(c *net.UDPConn, d time.Duration) error { return c.SetReadDeadline(time.Now().Add(d)) }
