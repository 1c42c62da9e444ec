package discovery

import (
	"errors"
	"net"
	"sync"
	"time"
)

// cable is a net.PacketConn in memory: what the test puts in is read, what is
// written is kept.
type cable struct {
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

func newCable() *cable {
	return &cable{in: make(chan sent, 64), out: make(chan sent, 64), gone: make(chan struct{})}
}

func (w *cable) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case s := <-w.in:
		return copy(b, s.data), s.addr, s.err
	case <-w.gone:
		return 0, nil, net.ErrClosed
	}
}

var errWire = errors.New("the cable is cut")

func (w *cable) WriteTo(b []byte, to net.Addr) (int, error) {
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

func (w *cable) Close() error {
	w.once.Do(func() { close(w.gone) })
	return nil
}

func (w *cable) LocalAddr() net.Addr              { return &net.UDPAddr{Port: 67} }
func (w *cable) SetDeadline(time.Time) error      { return nil }
func (w *cable) SetReadDeadline(time.Time) error  { return nil }
func (w *cable) SetWriteDeadline(time.Time) error { return nil }

var _ net.PacketConn = (*cable)(nil)
