package boot

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestToken(t *testing.T) {
	// HMAC-SHA256("key", "The quick brown fox jumps over the lazy dog"), first half.
	got := Token([]byte("key"), "The quick brown fox jumps over the lazy dog")
	if want := "f7bc83f430538424b13298e6aa6fb143"; got != want || !validToken(got) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSetTicketsRefuses(t *testing.T) {
	b := newBench(t)
	for name, bad := range map[string][]Ticket{
		"token":     {{ID: "x", Token: "short"}},
		"duplicate": {b.open, b.open},
	} {
		if err := b.SetTickets(bad); !errors.Is(err, errTicket) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, size := b.Progress("server-01"); size != imageSize {
		t.Error("the old tickets are gone")
	}
	if _, size := b.Progress("server-77"); size != 0 {
		t.Error("an unknown device has progress")
	}
}

// Before its owner has handed over the tickets, nobody is turned away for good.
func TestNoTicketsYet(t *testing.T) {
	b := newBench(t)
	b.desk.Store(&desk{})
	for _, q := range [][2]string{{"GET", "/job/"}, {"GET", "/image/"}, {"POST", "/report/"}} {
		if got, header, _ := b.do(q[0], q[1]+b.open.Token, strings.NewReader("{}")); got != 503 || header.Get("Retry-After") == "" {
			t.Errorf("%s: %d, want 503 and when to come again", q, got)
		}
	}
	if err := b.SetTickets(nil); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := b.do("GET", "/job/"+b.open.Token, nil); got != 404 {
		t.Errorf("with no such ticket: %d, want 404", got)
	}
}

// A new ticket of a device starts at zero; the old one keeps its own count.
func TestNewTicketStartsAtZero(t *testing.T) {
	b := newBench(t)
	b.do("GET", "/image/"+b.open.Token, nil)
	b.do("HEAD", "/job/"+b.open.Token, nil) // on the same connection: the handler before is through
	second := b.open
	second.ID, second.Token = "run-1/server-01/2", Token([]byte("s"), "run-1/server-01/2")
	first := b.open
	first.Open = false
	if err := b.SetTickets([]Ticket{first, second}); err != nil {
		t.Fatal(err)
	}
	if served, _ := b.Progress("server-01"); served != 0 {
		t.Errorf("served %d", served)
	}
	b.do("GET", "/image/"+second.Token, nil)
	b.stop()
	if got := b.evidence(); len(got) != 2 || got[1] != rack.FetchedImage {
		t.Errorf("evidence %v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	b := newBench(t)
	for _, u := range []string{"", "https://x", "http://", "http://x/y", "http://u:p@x", "http://x?y", "http://x#y", "::"} {
		o := b.o
		o.BaseURL = u
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "must be http://HOST:PORT") {
			t.Errorf("%q: %v", u, err)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("no error without options")
	}
}

// One server that fails ends the other, and Serve says which it was.
func TestServerFails(t *testing.T) {
	b := newBench(t)
	o := b.o
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.HTTP = l
	if o.TFTP, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "boot services: http:") {
		t.Errorf("got %v", err)
	}
}
