package boot

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Progress is counted where bytes are handed to the connection, not in a
// wrapper around the ResponseWriter or the file: either would hide ReadFrom or
// the file from the kernel and cost sendfile (twice the CPU per byte,
// measured). net/http hands a body that is larger than 512 bytes to ReadFrom of
// the connection; there the image is recognised, unwrapped to what the store
// opened, and copied in chunks. A file still goes by sendfile, and so does a part
// of one (bundles in a tar); an image in memory costs one copy as it does anyway. The
// price is two system calls and a deadline per chunk.
//
// A byte counts once the device has acknowledged it: what is in the kernel's send queue
// is taken off (SIOCOUTQ, tcp(7)), after each chunk, and at the end of a body its handler
// waits for the rest, since an image of some MB may be in the kernel as a whole while its
// device hangs. Of what is in the queue, unacknowledged bytes count: a device may have
// them, and boot what it got without another word. What a device's own kernel holds and its
// program has not read counts as well; nobody but the device knows of that.

// content is an opened image on its way to one connection.
type content struct {
	io.ReadSeeker
	to   *transfer
	owed span // bytes that went out, and are not known to be taken; owed.to is the offset of the next byte

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
func (c *content) send(to io.Writer, n int64) (sent int64, err error) {
	defer func() { c.owed.to += sent }()
	p, ok := c.ReadSeeker.(part)
	if !ok {
		return io.Copy(to, io.LimitReader(c.ReadSeeker, n))
	}
	f, left := p.File()
	sent, err = io.Copy(to, io.LimitReader(f, min(n, left)))
	if _, seekErr := p.Seek(sent, io.SeekCurrent); err == nil {
		err = seekErr
	}
	return sent, err
}

// Read hands out bytes that net/http writes itself.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.owed.to += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (c *content) Seek(offset int64, whence int) (int64, error) {
	n, err := c.ReadSeeker.Seek(offset, whence)
	if err == nil {
		c.owed = span{n, n}
	}
	return n, err
}

// taken counts what the device has, when so many bytes of what was written to its
// connection wait in the kernel; -1: nobody knows.
func (c *content) taken(queued int64) {
	if queued < 0 {
		return
	}
	if to := c.owed.to - max(0, queued-unacknowledged); to > c.owed.from {
		c.to.add(span{c.owed.from, to})
		c.owed.from = to
	}
}

// atConn is the key of a request's connection in its context.
type atConn struct{}

// withConn gives requests their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, atConn{}, c)
}

// deliver answers a request with a body, or as much of it as it asks for, and returns
// when the device has taken that; the error is nil only then.
func deliver(w http.ResponseWriter, r *http.Request, body *content) error {
	http.ServeContent(w, r, "", time.Time{}, body)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	c, _ := r.Context().Value(atConn{}).(*conn) // nil: see drain
	return c.drain(body)
}
