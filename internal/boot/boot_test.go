package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store of one image.
type shelf struct {
	data  []byte
	image rack.Image
	err   error
}

type opened struct{ *bytes.Reader }

func (opened) Close() error { return nil }

func (s *shelf) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	if s.err != nil || name != s.image.Name {
		return nil, rack.Image{}, errors.Join(s.err, fmt.Errorf("no image %q", name))
	}
	return opened{bytes.NewReader(s.data)}, s.image, nil
}

func newShelf(size int) *shelf {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{})
	if _, err := r.Read(data); err != nil {
		panic(err)
	}
	sum := sha256.Sum256(data)
	return &shelf{data: data, image: rack.Image{Name: "sim-hypervisor", Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(size)}}
}

// bench runs services on loopback and notes what they tell their owner.
type bench struct {
	*Services
	t      *testing.T
	shelf  *shelf
	open   Ticket
	closed Ticket
	web    *http.Client
	tftp   string // address
	stop   func()

	mu      sync.Mutex
	fetched []rack.Evidence
	by      []rack.Source // each of fetched
	reports []Report
	counts  []Served
	answer  error // of Report
}

const imageSize = 3<<20 + 17 // more than any socket buffer of a test takes at once

func newBench(t *testing.T) *bench { return newBenchSize(t, imageSize) }

func newBenchSize(t *testing.T, size int) *bench { return newBenchWith(t, size, nil) }

func newBenchWith(t *testing.T, size int, change func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, shelf: newShelf(size)}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	b.tftp = u.LocalAddr().String()
	o := Options{
		HTTP: l, TFTP: u, BaseURL: "http://" + l.Addr().String(), Images: b.shelf, Drain: 200 * time.Millisecond,
		Report: func(_ context.Context, r Report) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reports = append(b.reports, r)
			return b.answer
		},
		Fetched: func(_ Ticket, e rack.Evidence, by rack.Source) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.fetched, b.by = append(b.fetched, e), append(b.by, by)
		},
		Count: func(s Served) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.counts = append(b.counts, s)
		},
	}
	if change != nil {
		change(&o)
	}
	b.Services, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	b.open = Ticket{ID: "run-1/server-01/1", Token: Token([]byte("s"), "run-1/server-01/1"), Rack: "r1", Run: "run-1", Device: "server-01",
		Role: rack.Server, Platform: "sim-server", Image: b.shelf.image, Open: true}
	b.closed = Ticket{ID: "run-1/server-02/1", Token: Token([]byte("s"), "run-1/server-02/1"), Device: "server-02", Image: b.shelf.image}
	if err := b.SetTickets([]Ticket{b.open, b.closed}); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	b.web = &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }()
	b.stop = sync.OnceFunc(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

// evidence is what the owner was told so far.
func (b *bench) evidence() []rack.Evidence {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.fetched)
}

// do sends one request and returns status, header and body.
func (b *bench) do(method, path string, body io.Reader, header ...string) (int, http.Header, []byte) {
	b.t.Helper()
	q, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	r, err := b.web.Do(q)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	all, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.StatusCode, r.Header, all
}
