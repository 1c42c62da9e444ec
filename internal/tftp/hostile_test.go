package tftp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Requests from addresses that were made up take the places of each other, not of those
// who answer.
func TestWhoNeverAnswersMakesRoom(t *testing.T) {
	s := New(Options{})
	at := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 2070)
	}
	now := time.Unix(1000, 0)
	_, answering, err := s.take(t.Context(), at(1), now)
	if err != nil {
		t.Fatal(err)
	}
	answering.heard.Store(true)
	var first context.Context
	for n := range 5 * maxTransfers {
		now = now.Add(time.Millisecond)
		ctx, x, err := s.take(t.Context(), at(2+n), now)
		if err != nil {
			t.Fatalf("the place of request %d: %v", n, err)
		}
		defer s.leave(at(2+n), x) // when it has noticed
		if n == 0 {
			first = ctx
		}
	}
	if cause := context.Cause(first); !errors.Is(cause, ErrSilent) {
		t.Errorf("the first one goes on: %v", cause)
	}
	if s.active[at(1)] != answering || len(s.active) != maxTransfers || len(s.hosts) != maxTransfers {
		t.Errorf("%d transfers of %d hosts", len(s.active), len(s.hosts))
	}
}

// Firmware that was reset in the middle of a transfer, and begins anew from the port that
// it always begins from, is served: what it does not answer any more is over.
func TestClientBeginsAnew(t *testing.T) {
	b := newShelf(t, nil)
	b.puts("loader", 10_000)
	want := b.puts("script", 300)
	f := b.firmware()
	f.says("\x00\x01loader\x00octet\x00")
	f.hears()
	f.ack(1)
	f.hears() // block 2, and then the power is cut
	f.from = netip.AddrPort{}
	f.says("\x00\x01script\x00octet\x00")
	for p := f.hears(); ; p = f.hears() {
		if bytes.Equal([]byte(p)[headerLen:], want) {
			break
		}
		if f.from = (netip.AddrPort{}); p[1] == opData { // of the old transfer, sent again
			f.says("\x00\x01script\x00octet\x00") // as firmware does while it waits
		}
	}
	f.ack(1)
	well := 0
	for range 2 {
		if e := <-b.ended; e.err == nil && e.bytes == 300 {
			well++
		} else if !errors.Is(e.err, ErrSilent) || e.bytes != 512 {
			t.Errorf("%+v", e)
		}
	}
	if well != 1 {
		t.Errorf("%d transfers ended well", well)
	}
}

// loud fails a test that logs.
type loud struct {
	slog.Handler
	t *testing.T
}

func (l loud) Handle(_ context.Context, r slog.Record) error {
	l.t.Errorf("logged: %s", r.Message)
	return nil
}

// A request that is broadcast is for nobody in particular, and ignored without a word (RFC
// 1123 §4.2.3.5): anybody could fill a log with them.
func TestBroadcastRequest(t *testing.T) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &shelf{t: t, files: map[string][]byte{}, ended: make(chan ending, 10)}
	s := New(Options{Drain: time.Millisecond, Open: b.open, Log: slog.New(loud{slog.DiscardHandler, t}),
		Refused: func(_ netip.AddrPort, err error) { t.Errorf("refused: %v", err) }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, conn) }()
	port := uint16(conn.LocalAddr().(*net.UDPAddr).Port)
	b.at = netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), port)
	f := b.firmware()
	want := b.puts("x", 10)
	f.says("\x00\x01x\x00octet\x00")
	f.says("\x00\x02x\x00octet\x00")
	b.at = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	f = b.firmware() // the server reads one request after the other
	f.says("\x00\x01x\x00octet\x00")
	p := f.hears()
	if !bytes.Equal([]byte(p)[min(len(p), headerLen):], want) || f.from.Addr() != f.at.Addr() {
		t.Errorf("%q from %s", p, f.from)
	}
	f.ack(1)
	if e := <-b.ended; e.err != nil {
		t.Error(e)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
