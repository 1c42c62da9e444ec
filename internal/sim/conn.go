package sim

import (
	"errors"
	"net"
	"sync"
)

// errReset is what reads and writes say after a port on the way was closed.
var errReset = errors.New("connection reset: the path through the switches closed")

// conn is a TCP connection that goes through the fabric.
type conn struct {
	net.Conn
	fabric *fabric
	end    *end
	once   sync.Once
	err    error // of closing
	gone   chan struct{}
}

// adopt lets an established connection through, unless its path has closed
// meanwhile.
func (f *fabric) adopt(e *end, raw net.Conn, d direction) (*conn, error) {
	c := &conn{Conn: raw, fabric: f, end: e, gone: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.passLocked(e, protoHTTP, d) {
		c.reset()
		return nil, errReset
	}
	f.conns[c] = struct{}{}
	return c, nil
}

// Read reads what came through.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return c.through(n, err)
}

// Write writes into the fabric.
func (c *conn) Write(b []byte) (int, error) {
	if c.isGone() {
		return 0, errReset
	}
	n, err := c.Conn.Write(b)
	return c.through(n, err)
}

func (c *conn) through(n int, err error) (int, error) {
	if c.isGone() {
		return 0, errReset
	}
	c.fabric.bytes.Add(int64(n))
	return n, err
}

func (c *conn) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// Close ends the connection in the ordinary way.
func (c *conn) Close() error {
	c.fabric.mu.Lock()
	delete(c.fabric.conns, c)
	c.fabric.mu.Unlock()
	c.once.Do(func() { c.err = c.Conn.Close() })
	return c.err
}

// cut resets one connection, unless it has ended already.
func (f *fabric) cut(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.conns[c]; ok {
		delete(f.conns, c)
		c.reset()
	}
}

// reset ends the connection with a RST, as a closed port does to both sides in
// the end.
func (c *conn) reset() {
	close(c.gone)
	c.once.Do(func() {
		if t, ok := c.Conn.(*net.TCPConn); ok {
			c.err = t.SetLinger(0)
		}
		c.err = errors.Join(c.err, c.Conn.Close())
	})
}
