package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ending is how a transfer ended.
type ending struct {
	bytes int64
	err   error
}

// shelf is a server on loopback with files in memory.
type shelf struct {
	t     *testing.T
	s     *Server
	at    netip.AddrPort
	ended chan ending
	stop  func()

	mu    sync.Mutex
	files map[string][]byte
}

func newShelf(t *testing.T, change func(*Options)) *shelf {
	t.Helper()
	b := &shelf{t: t, files: map[string][]byte{}, ended: make(chan ending, 100)}
	o := Options{Open: b.open, Drain: time.Millisecond}
	if change != nil {
		change(&o)
	}
	b.s = New(o)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	b.at = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.s.Serve(ctx, conn) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

func (b *shelf) open(name string, _ netip.AddrPort) (*File, error) {
	b.mu.Lock()
	content, ok := b.files[name]
	b.mu.Unlock()
	switch {
	case name == "broken":
		return nil, errors.New("disk error at /secret")
	case name == "short":
		return &File{ReaderAt: bytes.NewReader(nil), Size: 100, Ended: b.end}, nil
	case name == "panic":
		panic("a bug")
	case !ok:
		return nil, fmt.Errorf("%w %q", ErrNotFound, name)
	}
	return &File{ReaderAt: bytes.NewReader(content), Size: int64(len(content)), Ended: b.end}, nil
}

func (b *shelf) end(n int64, err error) {
	b.ended <- ending{n, err}
}

// puts a file of random bytes on the shelf.
func (b *shelf) puts(name string, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content)
	b.holds(name, content)
	return content
}

func (b *shelf) holds(name string, content []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[name] = content
}

// firmware is a client that sends what a test says.
type firmware struct {
	t    *testing.T
	conn *net.UDPConn
	at   netip.AddrPort
	from netip.AddrPort // of the last packet
}

func (b *shelf) firmware() *firmware {
	b.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	return &firmware{t: b.t, conn: conn, at: b.at}
}

// says sends a packet: a request to the server, all else to who answered last.
func (f *firmware) says(packet string) {
	f.t.Helper()
	to := f.from
	if packet != "" && packet[1] <= opWrite || !to.IsValid() {
		to = f.at
	}
	if _, err := f.conn.WriteToUDPAddrPort([]byte(packet), to); err != nil {
		f.t.Fatal(err)
	}
}

// hears waits for a packet.
func (f *firmware) hears() string {
	f.t.Helper()
	p := make([]byte, 1<<16)
	if err := f.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	n, from, err := f.conn.ReadFromUDPAddrPort(p)
	if err != nil {
		f.t.Fatalf("nothing comes: %v", err)
	}
	f.from = from
	return string(p[:n])
}

func (f *firmware) ack(block int64) {
	f.t.Helper()
	f.says(string(binary.BigEndian.AppendUint16([]byte{0, opAck}, uint16(block))))
}

// fetches asks for a file, and takes it in blocks and windows of that size.
func (f *firmware) fetches(request string, block, window int) []byte {
	f.t.Helper()
	f.says(request)
	var got []byte
	p := f.hears()
	if p[1] == opOAck {
		f.ack(0)
		p = f.hears()
	}
	for n := int64(1); ; n++ {
		for p[1] == opOAck || p[1] == opData && int16(uint16(n)-binary.BigEndian.Uint16([]byte(p[2:]))) > 0 {
			p = f.hears() // it has that: its acknowledgement was late, and it came again
		}
		if p[1] != opData || binary.BigEndian.Uint16([]byte(p[2:])) != uint16(n) {
			f.t.Fatalf("block %d: %.40q", n, p)
		}
		got = append(got, p[headerLen:]...)
		last := len(p)-headerLen < block
		if last || n%int64(window) == 0 {
			f.ack(n)
		}
		if last {
			return got
		}
		p = f.hears()
	}
}

func TestFetch(t *testing.T) {
	b := newShelf(t, nil)
	for name, x := range map[string]struct {
		size, block, window int
		options             string
	}{
		"empty":           {0, 512, 1, ""},
		"plain":           {100_000, 512, 1, ""},
		"a whole block":   {1024, 512, 1, ""},
		"blocks":          {100_000, 1428, 1, "blksize\x001428\x00tsize\x000\x00"},
		"windows":         {100_000, 1428, 16, "blksize\x001428\x00windowsize\x0016\x00"},
		"rolls over":      {8 * 70_000, 8, 1, "blksize\x008\x00"},
		"windows of that": {8 * 140_000, 8, 64, "blksize\x008\x00windowsize\x0064\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			want := b.puts(name, x.size)
			if got := b.firmware().fetches("\x00\x01"+name+"\x00octet\x00"+x.options, x.block, x.window); !bytes.Equal(got, want) {
				t.Errorf("%d bytes, not the %d of the file", len(got), len(want))
			}
			if e := <-b.ended; e.err != nil || e.bytes != int64(x.size) {
				t.Errorf("ended with %d bytes, %v", e.bytes, e.err)
			}
		})
	}
}

func TestFetchText(t *testing.T) {
	b := newShelf(t, nil)
	b.holds("text", []byte("#!ipxe\na\rb\n"))
	if got := b.firmware().fetches("\x00\x01text\x00netascii\x00", 512, 1); string(got) != "#!ipxe\r\na\r\x00b\r\n" {
		t.Errorf("%q", got)
	}
	b.puts("loader", maxText+1)
	f := b.firmware()
	f.says("\x00\x01loader\x00netascii\x00")
	if p := f.hears(); p[1] != opError || !strings.Contains(p, "octet") {
		t.Errorf("%q", p)
	}
}

func TestRefusals(t *testing.T) {
	var mu sync.Mutex
	refused := 0
	b := newShelf(t, func(o *Options) {
		o.Refused = func(netip.AddrPort, error) { mu.Lock(); defer mu.Unlock(); refused++ }
	})
	for _, x := range []struct{ request, want string }{
		{"\x00\x01none\x00octet\x00", "\x00\x05\x00\x01no such file \"none\"\x00"},
		{"\x00\x01../etc/passwd\x00octet\x00", "\x00\x05\x00\x01no such file \"../etc/passwd\"\x00"},
		{"\x00\x01broken\x00octet\x00", "\x00\x05\x00\x00it cannot be served, see the log of the agent\x00"},
		{"\x00\x01short\x00octet\x00", "\x00\x05\x00\x00it cannot be served, see the log of the agent\x00"},
		{"\x00\x02x\x00octet\x00", "\x00\x05\x00\x04this server is read only\x00"},
		{"\x00\x01x\x00mail\x00", "\x00\x05\x00\x04the mode must be octet or netascii\x00"},
		{"\x00\x01x\x00oct", "\x00\x05\x00\x04malformed request\x00"},
	} {
		f := b.firmware()
		f.says(x.request)
		if got := f.hears(); got != x.want {
			t.Errorf("%q: %q, want %q", x.request, got, x.want)
		}
	}
	if e := <-b.ended; e.bytes != 0 || e.err == nil {
		t.Errorf("short: %+v", e)
	}
	mu.Lock()
	defer mu.Unlock()
	if refused != 3 {
		t.Errorf("told of %d refusals, want 3", refused)
	}
}

// A crash of what opens files ends that request, and nothing else; noise ends
// nothing.
func TestCrashAndNoise(t *testing.T) {
	b := newShelf(t, nil)
	f := b.firmware()
	for _, p := range []string{"\x00\x01panic\x00octet\x00", "\x00\x03\x00\x01", "\x00\x04\x00\x01", "\x00\x05\x00\x01x\x00", "\xff\xff\xff", "\x00\x01" + strings.Repeat("x", 3000)} {
		if _, err := f.conn.WriteToUDPAddrPort([]byte(p), b.at); err != nil {
			t.Fatal(err)
		}
	}
	want := b.puts("x", 1000)
	if got := b.firmware().fetches("\x00\x01x\x00octet\x00", 512, 1); !bytes.Equal(got, want) {
		t.Errorf("%d bytes", len(got))
	}
}

// A request that comes twice is one transfer.
func TestRequestTwice(t *testing.T) {
	b := newShelf(t, nil)
	b.puts("x", 100)
	f := b.firmware()
	f.says("\x00\x01x\x00octet\x00blksize\x001000\x00")
	if p := f.hears(); p != "\x00\x06blksize\x001000\x00" {
		t.Fatalf("%q", p)
	}
	f.says("\x00\x01x\x00octet\x00blksize\x001000\x00")
	b.puts("y", 0) // the server reads one request after the other: it has seen ours
	b.firmware().fetches("\x00\x01y\x00octet\x00", 512, 1)
	if e := <-b.ended; e.err != nil {
		t.Errorf("%+v", e)
	}
	b.s.mu.Lock()
	if n := len(b.s.active); n > 2 { // that of y may be leaving
		t.Errorf("%d transfers", n)
	}
	b.s.mu.Unlock()
	f.ack(0)
	if p := f.hears(); p[1] != opData {
		t.Fatalf("%q", p)
	}
	f.ack(1)
	if e := <-b.ended; e.err != nil {
		t.Errorf("%+v", e)
	}
}

// One address has its share of the places, and the server has an end.
func TestPlaces(t *testing.T) {
	s := New(Options{})
	at := func(host, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), uint16(port))
	}
	places := map[netip.AddrPort]*place{}
	now := time.Unix(1000, 0)
	take := func(client netip.AddrPort, heard bool) error {
		now = now.Add(time.Millisecond)
		_, x, err := s.take(t.Context(), client, now)
		if err == nil {
			places[client] = x
			x.heard.Store(heard)
		}
		return err
	}
	for n := range maxPerHost {
		if err := take(at(1, n), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(at(1, 0), true); !errors.Is(err, errAgain) {
		t.Errorf("asked twice: %v", err)
	}
	if err := take(at(1, 99), true); !errors.Is(err, errBusy) {
		t.Errorf("one more of a host: %v", err)
	}
	for n := range maxTransfers - maxPerHost {
		if err := take(at(2+n, 1), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(at(200, 1), true); !errors.Is(err, errBusy) {
		t.Errorf("one more: %v", err)
	}
	s.leave(at(1, 0), places[at(1, 0)])
	if err := take(at(200, 1), true); err != nil {
		t.Error(err)
	}
	for n := range maxPerHost - 1 {
		s.leave(at(1, n+1), places[at(1, n+1)])
	}
	if _, ok := s.hosts[at(1, 0).Addr()]; ok {
		t.Error("a host without transfers is kept")
	}
}

// A client that breaks off ends its transfer, with its own words.
func TestClientBreaksOff(t *testing.T) {
	b := newShelf(t, nil)
	b.puts("x", 5000)
	f := b.firmware()
	f.says("\x00\x01x\x00octet\x00tsize\x000\x00") // as EDK2 asks for a size
	if p := f.hears(); p != "\x00\x06tsize\x005000\x00" {
		t.Fatalf("%q", p)
	}
	f.says("\x00\x05\x00\x08enough\x00")
	if e := <-b.ended; !errors.Is(e.err, ErrAborted) || !strings.Contains(e.err.Error(), "enough") {
		t.Errorf("%+v", e)
	}
	// A port that is closed says the same.
	f = b.firmware()
	f.says("\x00\x01x\x00octet\x00")
	f.hears()
	f.ack(1)
	f.hears()
	if err := f.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if e := <-b.ended; !errors.Is(e.err, ErrAborted) || e.bytes != 512 {
		t.Errorf("%+v", e)
	}
}

// At the end of the server a transfer gets its time, then it is cut off, and the
// client is told.
func TestServerEnds(t *testing.T) {
	b := newShelf(t, nil)
	b.puts("x", 5000)
	f := b.firmware()
	f.says("\x00\x01x\x00octet\x00")
	f.hears()
	b.stop()
	if e := <-b.ended; !errors.Is(e.err, ErrCut) {
		t.Errorf("%+v", e)
	}
	if p := f.hears(); p[1] != opError || !strings.Contains(p, ErrCut.Error()) {
		t.Errorf("%q", p)
	}
}

// Blocks fit the path, whatever the client asks for.
func TestPathMTU(t *testing.T) {
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dialUDP(netip.MustParseAddr("127.0.0.1"), l.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.mostBlock(), min(lo.MTU-32, greatestBlock); got != want {
		t.Errorf("%d bytes a block, want %d", got, want)
	}
}

// A server that listens at all addresses answers from the one that was asked: clients
// take nothing from another.
func TestAnswersFromTheAddressThatWasAsked(t *testing.T) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Drain: time.Millisecond, Open: func(string, netip.AddrPort) (*File, error) {
		return &File{ReaderAt: bytes.NewReader(nil)}, nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, conn) }()
	asked := netip.MustParseAddr("127.0.0.5")
	f := (&shelf{t: t, at: netip.AddrPortFrom(asked, uint16(conn.LocalAddr().(*net.UDPAddr).Port))}).firmware()
	for _, request := range []string{"\x00\x01x\x00octet\x00", "\x00\x02x\x00octet\x00"} {
		f.says(request)
		if f.hears(); f.from.Addr() != asked || f.from.Port() == f.at.Port() {
			t.Errorf("%q: asked %s, answered from %s", request, f.at, f.from)
		}
		if request[1] == opRead {
			f.ack(1)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
