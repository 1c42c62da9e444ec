package boot

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// fileSpy is a connection that, like a TCP socket, takes files whole.
type fileSpy struct {
	net.Conn
	files int
	got   bytes.Buffer
}

func (*fileSpy) SetWriteDeadline(time.Time) error { return nil }

func (*fileSpy) Write(p []byte) (int, error) { return len(p), nil }

func (s *fileSpy) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			s.files++
		}
	}
	return io.Copy(&s.got, r)
}

// The listener takes no more than its bound, and goes on when one leaves.
func TestListenerBound(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(inner, 1)
	for range 2 {
		c, err := net.Dial("tcp4", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("accepted a second one: %v", err)
	default:
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	hold, err := net.Dial("tcp4", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("accepted after Close")
	}
}

// from is a connection of an address.
type from struct {
	net.Conn
	addr   string
	closed *int
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.addr)) }

func (f from) Close() error { *f.closed++; return nil }

// callers is a listener that they call at, one after the other.
type callers struct {
	net.Listener
	addrs  []string
	closed int
}

func (c *callers) Accept() (net.Conn, error) {
	if len(c.addrs) == 0 {
		return nil, net.ErrClosed
	}
	next := from{addr: c.addrs[0], closed: &c.closed}
	c.addrs = c.addrs[1:]
	return next, nil
}

// One device cannot take all connections, and a rack of installers gets theirs.
func TestListenerBoundOfOneAddress(t *testing.T) {
	if want := 48 * (8 + 2); maxConns < want {
		t.Errorf("%d connections are too few for 48 installers with 8 each, and their reports", maxConns)
	}
	c := &callers{}
	for range maxPerHost + 5 {
		c.addrs = append(c.addrs, "10.0.0.66:1")
	}
	c.addrs = append(c.addrs, "10.0.0.11:1")
	l := newListener(c, maxConns)
	var open []net.Conn
	for range maxPerHost + 1 {
		x, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, x)
	}
	if got := open[maxPerHost].RemoteAddr().String(); got != "10.0.0.11:1" || c.closed != 5 {
		t.Errorf("the last one is of %s, and %d were turned away", got, c.closed)
	}
	for range 2 { // closing twice frees one place
		if err := open[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.addrs = []string{"10.0.0.66:2", "10.0.0.66:3", "10.0.0.12:1"}
	for _, want := range []string{"10.0.0.66:2", "10.0.0.12:1"} {
		if x, err := l.Accept(); err != nil || x.RemoteAddr().String() != want {
			t.Errorf("%v, %v; want %s", x, err, want)
		}
	}
}

// The devices of a simulated rack are all at one address, which no real one is at.
func TestListenerOfASimulatedRack(t *testing.T) {
	c := &callers{}
	for range maxPerHost + 5 {
		c.addrs = append(c.addrs, "127.0.0.1:1")
	}
	l := newListener(c, maxConns)
	for range maxPerHost + 5 {
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
}
