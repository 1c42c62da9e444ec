package sim

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// remoteConn is a connection to a device of a rack in another process: a stream,
// or datagrams that keep their boundaries.
type remoteConn struct {
	*framed
	stream      bool
	local, peer net.Addr

	mu    sync.Mutex // of reading
	rest  []byte     // of a stream's last frame; it aliases the frame's buffer
	ended error      // what every further Read returns
}

var _ net.Conn = (*remoteConn)(nil)

// Read reads on in a stream, or receives one datagram.
func (c *remoteConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if len(c.rest) > 0 {
			n := copy(b, c.rest)
			c.rest = c.rest[n:]
			return n, nil
		}
		if c.ended != nil {
			return 0, c.ended
		}
		k, content, err := c.receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed):
			return 0, err
		case err != nil:
			c.ended = fmt.Errorf("the simulated rack went away: %w", err)
			if errors.Is(err, io.EOF) {
				c.ended = fmt.Errorf("the simulated rack went away: %w", io.ErrUnexpectedEOF)
			}
		case k == frameData && !c.stream:
			return copy(b, content), nil
		case k == frameData:
			c.rest = content
		case k == frameEnd:
			c.ended = io.EOF
		default:
			c.ended = errReset
		}
	}
}

// Write writes to a stream, or sends one datagram.
func (c *remoteConn) Write(b []byte) (int, error) {
	if !c.stream {
		if err := c.send(frameData, b); err != nil {
			return 0, brokenOf(err)
		}
		return len(b), nil
	}
	for at := 0; at < len(b); {
		n := min(len(b)-at, maxFrame)
		if err := c.send(frameData, b[at:at+n]); err != nil {
			return at, brokenOf(err)
		}
		at += n
	}
	return len(b), nil
}

// brokenOf says what a write into a connection means that the rack has closed.
func brokenOf(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return errReset
	}
	return err
}

// LocalAddr is that of the socket in the rack's process.
func (c *remoteConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the logical address.
func (c *remoteConn) RemoteAddr() net.Addr { return c.peer }
