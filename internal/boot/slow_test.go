package boot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// plugs is a listener whose connections are pipes, for virtual time.
type plugs struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *plugs) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *plugs) Close() error { close(p.done); return nil }

func (*plugs) Addr() net.Addr { return &net.TCPAddr{} }

// held counts the images that are open.
type held struct {
	*shelf
	open atomic.Int64
	s    *Services // that serve them
}

type heldImage struct {
	io.ReadSeekCloser
	open *atomic.Int64
}

func (h heldImage) Close() error { h.open.Add(-1); return h.ReadSeekCloser.Close() }

func (h *held) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	f, i, err := h.shelf.Open(name)
	h.open.Add(1)
	return heldImage{f, &h.open}, i, err
}

// virtual runs the HTTP service in virtual time; dial connects to it.
func virtual(t *testing.T, b Bandwidth, size int) (images *held, open Ticket, dial func() net.Conn) {
	t.Helper()
	return virtualWith(t, b, size, func(*Options) {})
}

func virtualWith(t *testing.T, b Bandwidth, size int, change func(*Options)) (images *held, open Ticket, dial func() net.Conn) {
	t.Helper()
	images = &held{shelf: newShelf(size)}
	p := &plugs{make(chan net.Conn), make(chan struct{})}
	tftp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := tftp.Close(); err != nil { // only HTTP is served
		t.Fatal(err)
	}
	o := Options{HTTP: p, TFTP: tftp, BaseURL: "http://agent", Images: images, Bandwidth: b,
		Report: func(context.Context, Report) error { return nil }, Fetched: func(Ticket, rack.Evidence, rack.Source) {}}
	change(&o)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	images.s = s
	open = Ticket{ID: "run/server-01/1", Token: Token([]byte("s"), "1"), Device: "server-01", Image: images.image, Open: true}
	if err := s.SetTickets([]Ticket{open}); err != nil {
		t.Fatal(err)
	}
	web := s.newHTTP(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(newListener(p, maxConns)) }()
	t.Cleanup(func() {
		_ = web.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return images, open, func() net.Conn {
		mine, its := net.Pipe()
		p.conns <- its
		t.Cleanup(func() { _ = mine.Close() })
		return mine
	}
}

// A device that asks for its image and takes nothing of it is cut off after
// stallLimit, and its image is closed.
func TestStalledClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		images, open, dial := virtual(t, Bandwidth{}, 1<<20)
		c := dial()
		if _, err := fmt.Fprintf(c, "GET /image/%s HTTP/1.1\r\nHost: x\r\n\r\n", open.Token); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stallLimit - time.Second)
		synctest.Wait()
		if n := images.open.Load(); n != 1 {
			t.Errorf("%d images open before the limit", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := images.open.Load(); n != 0 {
			t.Errorf("%d images open after the limit", n)
		}
	})
}

// One that takes a few bytes now and then is cut off, too: the limit is for a chunk.
func TestDribblingClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		images, open, dial := virtual(t, Bandwidth{}, 1<<20)
		c := dial()
		if _, err := fmt.Fprintf(c, "GET /image/%s HTTP/1.1\r\nHost: x\r\n\r\n", open.Token); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		p := make([]byte, 1000)
		for {
			if _, err := io.ReadFull(c, p); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if took := time.Since(began); took > 2*stallLimit || images.open.Load() != 0 {
			t.Errorf("cut off after %s, %d images open", took, images.open.Load())
		}
	})
}

// Headers and idle connections have their limits.
func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, open, dial := virtual(t, Bandwidth{}, 10)
		c := dial()
		began := time.Now()
		if _, err := fmt.Fprintf(c, "GET /job/%s HTTP/1.1\r\nHost: x\r\nX: ", open.Token); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(began); took != headerLimit {
			t.Errorf("a header may take %s, want %s", took, headerLimit)
		}
		c = dial()
		if _, err := fmt.Fprintf(c, "GET /job/%s HTTP/1.1\r\nHost: x\r\n\r\n", open.Token); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 200 {
			t.Fatal(r, err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(began); took != idleLimit {
			t.Errorf("a connection may idle for %s, want %s", took, idleLimit)
		}
	})
}

// An image comes as fast as the bound lets it, whatever the number of connections;
// to wait for its turn is no stall.
func TestBandwidthOfImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, rate = 1 << 20, 8 << 10 // 128 s: longer than stallLimit
		_, open, dial := virtual(t, Bandwidth{Device: rate}, size)
		began := time.Now()
		got := make(chan int64, 2)
		for _, r := range []string{"0-524287", "524288-1048575"} {
			c := dial()
			if _, err := fmt.Fprintf(c, "GET /image/%s HTTP/1.1\r\nHost: x\r\nRange: bytes=%s\r\n\r\n", open.Token, r); err != nil {
				t.Fatal(err)
			}
			go func() {
				r, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					got <- 0
					return
				}
				n, _ := io.Copy(io.Discard, r.Body)
				got <- n
			}()
		}
		if n := <-got + <-got; n != size {
			t.Errorf("%d bytes of %d", n, size)
		}
		if took := time.Since(began).Seconds(); took < 0.97*size/rate || took > 1.03*size/rate {
			t.Errorf("took %.1f s at %d B/s, want %.1f", took, rate, float64(size)/rate)
		}
	})
}

// A device that goes away while its chunk waits for its turn frees its image at once.
func TestGoneWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		images, open, dial := virtual(t, Bandwidth{Rack: 1000}, 1<<20)
		c := dial()
		if _, err := fmt.Fprintf(c, "GET /image/%s HTTP/1.1\r\nHost: x\r\n\r\n", open.Token); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, leastChunk)); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := images.open.Load(); n != 0 {
			t.Errorf("%d images open", n)
		}
	})
}
