package boot

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Progress is counted where bytes are handed to the connection, not in a
// wrapper around the ResponseWriter or the file: either would hide ReadFrom or
// the file from the kernel and cost sendfile (twice the CPU per byte,
// measured). net/http hands a body that is larger than 512 bytes to ReadFrom of
// the connection; there the image is recognised, unwrapped to what the store
// opened, and copied in chunks. A file still goes by sendfile, and so does a part
// of one (bundles in a tar); an image in memory costs one copy as it does anyway. The price is a system call and a
// deadline per chunk, and a snag: the first 512 bytes go the other way and
// count when the chunk after them begins, or when the response was flushed.
// Progress lags behind by the chunk that is on its way.
//
// It runs ahead of the device by what the kernel has taken and the device has not: the
// kernel's own bound, which grows with the speed of the path (net.ipv4.tcp_wmem: up to
// 4 MiB, unless somebody changed it), and the device's receive buffer. The bound is left to the kernel: one that a
// program sets is cut to net.core.wmem_max, 208 KiB on an untouched system, where one
// client got 0.55 of nginx's throughput and a GB took 1.8 times its CPU; TCP_NOTSENT_LOWAT
// of 256 KiB and 1 MiB cost 1.5 and 1.1 times (make bench-images, pairs in turns). Pages of
// a file are not copied into it.

// content is an opened image on its way to one connection.
type content struct {
	io.ReadSeeker
	to   *transfer
	at   int64 // offset of the next byte
	read span  // bytes that went by Read and are not known to be written

	device string
	pace   *pace           // nil: no bound
	gone   <-chan struct{} // closed when the request is over
}

// part is a part of a file that knows its file: see bundle.Section.
type part interface {
	io.Seeker
	File() (f *os.File, left int64)
}

// send copies the next n bytes to a connection, the kernel's way where there is a
// file.
func (c *content) send(to io.Writer, n int64) (int64, error) {
	p, ok := c.ReadSeeker.(part)
	if !ok {
		return io.Copy(to, io.LimitReader(c.ReadSeeker, n))
	}
	f, left := p.File()
	sent, err := io.Copy(to, io.LimitReader(f, min(n, left)))
	if _, seekErr := p.Seek(sent, io.SeekCurrent); err == nil {
		err = seekErr
	}
	return sent, err
}

// Read hands out bytes that net/http writes itself.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	if c.read.to != c.at {
		c.read = span{c.at, c.at}
	}
	c.at += int64(n)
	c.read.to = c.at
	return n, err
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	n, err := c.ReadSeeker.Seek(offset, whence)
	if err == nil {
		c.at = n
	}
	return n, err
}

// written says that what was read so far has reached the connection.
func (c *content) written() {
	c.to.add(c.read)
	c.read = span{c.at, c.at}
}

// conn is a connection whose writes must make headway.
type conn struct {
	net.Conn
	broken bool // a write failed; only the connection's own goroutine writes
	free   func()
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
	body.written()
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
		body.to.add(span{body.at, body.at + n})
		body.at += n
		body.read = span{body.at, body.at}
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
		return &conn{Conn: c, free: sync.OnceFunc(func() { l.leave(host); <-l.slots })}, nil
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
