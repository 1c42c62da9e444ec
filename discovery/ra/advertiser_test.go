package ra

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// link is a connection in memory.
type link struct {
	in   chan any // ndp.Message, heard or error
	mu   sync.Mutex
	sent []time.Time
	last ndp.Message
	to   netip.Addr
	err  error // of every write
	gone chan struct{}
}

// heard is a message with the hop limit that it came with.
type heard struct {
	m   ndp.Message
	hop int
}

func newLink() *link { return &link{in: make(chan any, 100), gone: make(chan struct{})} }

func (l *link) ReadFrom() (ndp.Message, *ipv6.ControlMessage, netip.Addr, error) {
	select {
	case x := <-l.in:
		switch x := x.(type) {
		case error:
			return nil, nil, netip.Addr{}, x
		case heard:
			return x.m, &ipv6.ControlMessage{HopLimit: x.hop}, netip.Addr{}, nil
		}
		return x.(ndp.Message), nil, netip.Addr{}, nil
	case <-l.gone:
		return nil, nil, netip.Addr{}, net.ErrClosed
	}
}

func (l *link) WriteTo(m ndp.Message, _ *ipv6.ControlMessage, to netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.last, l.to = append(l.sent, time.Now()), m, to
	return l.err
}

// count is how many were sent.
func (l *link) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sent)
}

func (l *link) Close() error { close(l.gone); return nil }

var (
	mac      = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	solicits = heard{&ndp.RouterSolicitation{}, 255}
)

// run runs an advertiser for a time, in virtual time.
func run(t *testing.T, l *link, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(l, mac).Run(ctx) }()
	f()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAdvertisesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		run(t, l, func() { time.Sleep(24 * time.Hour) })
		if n := len(l.sent); n < 24*6 || n > 24*18+3 {
			t.Errorf("%d advertisements in a day", n)
		}
		for i := range l.sent[1:] {
			between := l.sent[i+1].Sub(l.sent[i])
			if between > MaxInterval || i < 2 && between > 16*time.Second || i >= 2 && between < MinInterval {
				t.Errorf("number %d came after %s", i+2, between)
			}
		}
		r, ok := l.last.(*ndp.RouterAdvertisement)
		if !ok || r.RouterLifetime != 0 || r.ManagedConfiguration || r.OtherConfiguration || len(r.Options) != 1 || l.to != netip.IPv6LinkLocalAllNodes() {
			t.Errorf("%+v to %s", l.last, l.to)
		}
	})
}

func TestAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		run(t, l, func() {
			time.Sleep(time.Hour)
			for range 100 {
				before := l.count()
				l.in <- solicits
				time.Sleep(MinDelay + MaxAnswer)
				if n := l.count() - before; n != 1 {
					t.Fatalf("%d answers", n)
				}
			}
		})
	})
}

// However many ask, one advertisement leaves in 3 s.
func TestAnswersWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		run(t, l, func() {
			for range 60_000 {
				l.in <- solicits
				time.Sleep(time.Millisecond)
			}
		})
		if n := len(l.sent); n < 15 || n > 21 {
			t.Errorf("%d advertisements in a minute", n)
		}
		for i := range l.sent[1:] {
			if between := l.sent[i+1].Sub(l.sent[i]); between < MinDelay {
				t.Errorf("number %d came after %s", i+2, between)
			}
		}
	})
}

func TestIgnores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		run(t, l, func() {
			for l.count() < initial {
				time.Sleep(time.Second)
			}
			for _, x := range []any{heard{&ndp.RouterSolicitation{}, 254}, heard{&ndp.RouterAdvertisement{}, 255}, &ndp.RouterSolicitation{}, errors.New("unreadable")} {
				l.in <- x
			}
			time.Sleep(MinInterval / 2) // none is due by itself
			if n := l.count() - initial; n != 0 {
				t.Errorf("%d answers", n)
			}
		})
	})
}

func TestGoesOnThoughSendingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		l.err = errors.New("the network is down")
		run(t, l, func() { time.Sleep(time.Hour) })
		if len(l.sent) < 6 {
			t.Errorf("%d tries", len(l.sent))
		}
	})
}

func TestGivesUpReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		for range maxReadErrors {
			l.in <- errors.New("broken")
		}
		if err := New(l, mac).Run(t.Context()); err == nil {
			t.Error("no error")
		}
	})
}
