package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/rackreach/rackreach/internal/rack"
)

const (
	maxImage      = 16 << 30  // bytes
	maxJob        = 64 << 10  // bytes
	transferTries = 5         // connections for one image
	readSize      = 256 << 10 // bytes at a time; also the socket's receive buffer
)

// httpClient is the HTTP client of one end. Every request has a connection of
// its own.
func (s *Sim) httpClient(e *end) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, address string) (net.Conn, error) { return s.dialOut(ctx, e, address) },
		DisableKeepAlives:  true,
		DisableCompression: true,
		ReadBufferSize:     readSize,
	}}
}

// image reads an image over HTTP. A connection that breaks is continued from the
// byte where it broke. It is used by one goroutine.
type image struct {
	ctx    context.Context
	dev    *device
	end    *end
	url    string
	header http.Header

	body   io.ReadCloser
	at     int64 // bytes read
	size   int64 // -1: unknown
	tries  int
	hang   bool // stop reading after a quarter: the sockets' buffers do not hold the rest
	damage bool // flip one byte
}

// openImage begins a transfer; faults of the installation are taken here, once
// per attempt.
func (d *device) openImage(ctx context.Context, e *end, url string, header http.Header) *image {
	return &image{ctx: ctx, dev: d, end: e, url: url, header: header, size: -1,
		hang: d.take(rack.Installation, FaultHang), damage: d.take(rack.Installation, FaultCorruptImage)}
}

// Read reads on, over a new connection where the last one broke.
func (i *image) Read(b []byte) (int, error) {
	for {
		if i.body == nil {
			if err := i.connect(); err != nil {
				return 0, err
			}
		}
		n, err := i.body.Read(b)
		if n > 0 {
			return n, i.arrived(b[:n])
		}
		if err == io.EOF && (i.size < 0 || i.at == i.size) {
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		if err := i.again(err); err != nil {
			return 0, err
		}
	}
}

// arrived looks at bytes that got through, and does what a fault does to them.
func (i *image) arrived(b []byte) error {
	if i.at == 0 {
		i.dev.enter(rack.Installation)
		i.dev.sim.recordVia(kindImageByte, i.end, nil)
	}
	i.at += int64(len(b))
	partway := i.at >= max(i.size/4, 1)
	if i.damage && partway {
		i.damage = false
		b[len(b)-1] ^= 0x01
	}
	if i.hang && partway {
		<-i.ctx.Done()
		return i.ctx.Err()
	}
	if i.at > maxImage {
		return fmt.Errorf("GET %s: more than %d bytes", i.url, int64(maxImage))
	}
	return nil
}

// again drops a broken connection and waits before the next; or says why there
// is no next.
func (i *image) again(cause error) error {
	i.tries++
	if i.ctx.Err() != nil {
		return i.ctx.Err()
	}
	err := i.close()
	if i.tries >= transferTries {
		return errors.Join(fmt.Errorf("GET %s: gave up at byte %d of %d: %w", i.url, i.at, i.size, cause), err)
	}
	return pause(i.ctx, i.dev.sim.tempo.scaled(netRetry, floorNet))
}

func (i *image) connect() error {
	for {
		err := i.request()
		if err == nil {
			return nil
		}
		if final(err) {
			return err
		}
		if err := i.again(err); err != nil {
			return err
		}
	}
}

// statusError is an answer with another status than the one wanted.
type statusError struct {
	url  string
	code int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: the agent answered %d", e.url, e.code) }

// final reports whether another try will not change an error: the agent has
// refused. Its own trouble (5xx: it is not ready yet) is worth another try, as
// is an agent that is not there.
func final(err error) bool {
	var status *statusError
	return errors.As(err, &status) && status.code < http.StatusInternalServerError
}

func (i *image) request() error {
	q, err := http.NewRequestWithContext(i.ctx, http.MethodGet, i.url, nil)
	if err != nil {
		return err
	}
	for k, v := range i.header {
		q.Header[k] = v
	}
	want := http.StatusOK
	if i.at > 0 {
		q.Header.Set("Range", fmt.Sprintf("bytes=%d-", i.at))
		want = http.StatusPartialContent
	}
	a, err := i.dev.sim.httpClient(i.end).Do(q)
	if err != nil {
		return err
	}
	if a.StatusCode != want {
		return errors.Join(&statusError{"GET " + i.url, a.StatusCode}, a.Body.Close())
	}
	if i.at == 0 {
		i.size = a.ContentLength
	}
	i.body = a.Body
	return nil
}

func (i *image) close() error {
	if i.body == nil {
		return nil
	}
	b := i.body
	i.body = nil
	return b.Close()
}
