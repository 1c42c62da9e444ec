package boot

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// conn is a connection whose writes must make headway.
type conn struct {
	net.Conn
	broken bool // a write failed; only the connection's own goroutine writes
	free   func()
	queue  func() (n int64, open bool) // see queued
}

// Write gives each write its own deadline.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(stallLimit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	c.broken = c.broken || err != nil
	return n, err
}

// ReadFrom implements io.ReaderFrom, which net/http looks for.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if c.broken {
		return 0, net.ErrClosed // or each further attempt would take its own time to fail
	}
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(writer{c}, r)
	}
	body, ok := limited.R.(*content)
	if !ok {
		return io.Copy(writer{c}, r)
	}
	var sum int64
	for limited.N > 0 {
		want := min(limited.N, body.pace.step())
		if err := body.pace.wait(body.device, want, body.gone); err != nil {
			c.broken = true
			return sum, err
		}
		if err := c.SetWriteDeadline(time.Now().Add(stallLimit)); err != nil {
			return sum, err
		}
		n, err := body.send(c.Conn, want)
		waits, _ := c.queue()
		body.taken(waits)
		limited.N -= n
		sum += n
		if err == nil && n < want {
			err = fmt.Errorf("image ended early: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			c.broken = true
			return sum, err
		}
	}
	return sum, nil
}

// drain waits until all of body counts as taken. It fails when the connection is over, and
// when the device takes less of it in stallLimit than chunkSize, or than is left: then it is
// cut off. c may be nil: nothing waits in what is no connection of ours.
func (c *conn) drain(body *content) error {
	if c == nil {
		body.taken(0)
		return nil
	}
	mark, since := int64(math.MaxInt64), time.Now() // what waited then
	for pause := leastPause; ; pause = min(2*pause, mostPause) {
		left, open := c.queue()
		body.taken(left)
		switch {
		case body.owed.from == body.owed.to && !c.broken:
			return nil
		case c.broken || !open:
			return net.ErrClosed
		case left <= mark-chunkSize:
			mark, since = left, time.Now()
		case time.Since(since) > stallLimit:
			return errors.Join(fmt.Errorf("the device takes too little: %w", os.ErrDeadlineExceeded), c.cut())
		}
		time.Sleep(pause)
	}
}

// cut ends a connection, and what waits in it: a device must not get the rest of what counts
// as broken off.
func (c *conn) cut() error {
	c.broken = true
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		if err := l.SetLinger(0); err != nil {
			return err
		}
	}
	return c.Close()
}

// CloseWrite lets net/http close its half first, so that the last response is
// not cut off by a reset.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// Close frees the connection's place.
func (c *conn) Close() error {
	c.free()
	return c.Conn.Close()
}

// writer hides ReadFrom.
type writer struct{ io.Writer }

// listener bounds the open connections, in all, where further ones wait unaccepted, and
// of one address, where they are closed.
type listener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{} // closed by Close
	once  sync.Once

	mu    sync.Mutex
	hosts map[netip.Addr]int // connections of each address; no zeros
}

func newListener(l net.Listener, most int) *listener {
	return &listener{Listener: l, slots: make(chan struct{}, most), done: make(chan struct{}), hosts: map[netip.Addr]int{}}
}

// Accept waits for a place, then for a connection of somebody who has not too many.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		host := hostOf(c)
		if !l.enter(host) {
			_ = c.Close() // nothing was said on it
			continue
		}
		if len(l.slots) == 1 {
			widen(c)
		}
		return &conn{Conn: c, free: sync.OnceFunc(func() { l.leave(host); <-l.slots }), queue: func() (int64, bool) { return queued(c) }}, nil
	}
}

// hostOf is whose connection it is; invalid: that of a machine which is not bounded by
// itself. Devices are never at a loopback address, all of a simulated rack's are.
func hostOf(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok || a.IP.IsLoopback() {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}

// enter counts one in, unless its address has all that it may have.
func (l *listener) enter(host netip.Addr) bool {
	if !host.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host] == maxPerHost {
		return false
	}
	l.hosts[host]++
	return true
}

func (l *listener) leave(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host]--; l.hosts[host] <= 0 {
		delete(l.hosts, host)
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}
