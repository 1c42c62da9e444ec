package discovery

import (
	"errors"
	"net"
	"sync"
	"time"
)

// wire is a net.PacketConn in memory: what the test puts in is read, what is
// written is kept.
type wire struct {
	in      chan sent
	out     chan sent
	gone    chan struct{}
	once    sync.Once
	failing bool // every write fails
}

type sent struct {
	data []byte
	addr net.Addr
	err  error
}

func newWire() *wire {
	return &wire{in: make(chan sent, 64), out: make(chan sent, 64), gone: make(chan struct{})}
}

func (w *wire) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case s := <-w.in:
		return copy(b, s.data), s.addr, s.err
	case <-w.gone:
		return 0, nil, net.ErrClosed
	}
}

var errWire = errors.New("the cable is cut")

func (w *wire) WriteTo(b []byte, to net.Addr) (int, error) {
	if w.failing {
		return 0, errWire
	}
	select {
	case w.out <- sent{data: append([]byte(nil), b...), addr: to}:
		return len(b), nil
	case <-w.gone:
		return 0, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.gone) })
	return nil
}

func (w *wire) LocalAddr() net.Addr              { return &net.UDPAddr{Port: 67} }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

var _ net.PacketConn = (*wire)(nil)
