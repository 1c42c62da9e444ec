package power

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// memory is a network of one BMC without sockets, for tests in virtual time.
type memory struct {
	in     chan packet
	closed chan struct{}
	once   sync.Once
	all    sync.WaitGroup

	mu     sync.Mutex
	peers  map[netip.AddrPort]net.Conn // the BMC's ends
	dialed int
}

type packet struct {
	b    []byte
	from net.Addr
}

var _ net.PacketConn = (*memory)(nil)

func newMemory(t *testing.T) *memory {
	m := &memory{in: make(chan packet, 16), closed: make(chan struct{}), peers: map[netip.AddrPort]net.Conn{}}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		m.all.Wait()
	})
	return m
}

// dial is a console's end.
func (m *memory) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	m.mu.Lock()
	m.dialed++
	at := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(m.dialed))
	m.peers[at] = far
	m.mu.Unlock()
	m.all.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := far.Read(b)
			if err != nil {
				return // hung up
			}
			select {
			case m.in <- packet{append([]byte(nil), b[:n]...), net.UDPAddrFromAddrPort(at)}:
			case <-m.closed:
				return
			}
		}
	})
	return near, nil
}

func (m *memory) dials() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dialed
}

func (m *memory) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-m.in:
		return copy(b, p.b), p.from, nil
	case <-m.closed:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses what the console does not wait for.
func (m *memory) WriteTo(b []byte, to net.Addr) (int, error) {
	m.mu.Lock()
	peer := m.peers[to.(*net.UDPAddr).AddrPort()]
	m.mu.Unlock()
	if err := peer.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return 0, err
	}
	if _, err := peer.Write(b); err != nil {
		return len(b), nil
	}
	return len(b), nil
}

func (m *memory) Close() error {
	m.once.Do(func() {
		close(m.closed)
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range m.peers {
			p.Close()
		}
	})
	return nil
}

func (m *memory) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.2:623"))
}
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
