package syslog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var here = netip.MustParseAddr("127.0.0.1")

// rack knows devices by their addresses.
func rack(a netip.Addr) (string, bool) {
	names := map[netip.Addr]string{here: "tor-1", netip.MustParseAddr("10.0.0.2"): "tor-2"}
	name, ok := names[a]
	return name, ok
}

// What comes over a socket reaches the device's line.
func TestServe(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	r := New(Options{Device: rack, Line: func(device string, from netip.Addr, l Line) { lines <- fmt.Sprint(device, " ", from, " ", l) }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, conn) }()
	c, err := net.Dial("udp4", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("<134>Jan  1 00:00:30 onie: hello\n")); err != nil {
		t.Fatal(err)
	}
	if got := <-lines; got != "tor-1 127.0.0.1 onie: hello" {
		t.Errorf("%q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A socket that fails ends it with an error.
	if err := New(Options{Device: rack}).Serve(context.Background(), conn); err == nil {
		t.Error("no error")
	}
}

// A device that says too much is cut down to its share, and takes nothing from the
// others; what it repeats is dropped.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := map[string]int{}
		r := New(Options{Device: rack, Line: func(device string, _ netip.Addr, _ Line) { count[device]++ }})
		n := 0
		says := func(from string, lines int) (last Outcome) {
			for range lines {
				n++
				last = r.take(netip.MustParseAddr(from), fmt.Appendf(nil, "<134>onie: line %d", n))
			}
			return last
		}
		if got := says("127.0.0.1", 10_000); got != Dropped || count["tor-1"] != deviceBurst {
			t.Errorf("%s, %d lines", got, count["tor-1"])
		}
		if got := says("10.0.0.2", 10); got != Taken || count["tor-2"] != 10 {
			t.Errorf("%s, %d lines of the other", got, count["tor-2"])
		}
		if got := says("10.0.0.3", 1); got != Unknown {
			t.Errorf("a stranger: %s", got)
		}
		time.Sleep(2 * time.Second)
		if says("127.0.0.1", 100); count["tor-1"] != deviceBurst+2*perDevice {
			t.Errorf("%d lines after two seconds", count["tor-1"])
		}
		// Round in circles.
		r = New(Options{Device: rack, Line: func(string, netip.Addr, Line) { count["circles"]++ }})
		for range 1000 {
			for line := range 10 {
				r.take(here, fmt.Appendf(nil, "<134>Jan  1 00:%02d:30 onie: line %d", n%60, line))
				n++
			}
		}
		if count["circles"] != 10 {
			t.Errorf("%d lines of 10", count["circles"])
		}
		if got := r.take(here, nil); got != Empty {
			t.Errorf("nothing: %s", got)
		}
	})
}

// All devices together have a bound, too.
func TestRackBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		r := New(Options{Device: func(a netip.Addr) (string, bool) { return a.String(), true }, Line: func(string, netip.Addr, Line) { taken++ }})
		for d := range 50 {
			for n := range 50 {
				r.take(netip.AddrFrom4([4]byte{10, 0, 0, byte(d)}), fmt.Appendf(nil, "<134>onie: %d", n))
			}
		}
		if taken != rackBurst {
			t.Errorf("%d lines", taken)
		}
	})
}

// A line that somebody waits for is told although the device said it a moment ago, and
// although it says too much; it has a bound of its own.
func TestAwaitedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := map[string]int{}
		r := New(Options{Device: rack, Line: func(_ string, _ netip.Addr, l Line) { told[l.Text]++ },
			Awaited: func(device string, _ netip.Addr, l Line) bool { return device == "tor-1" && l.Text == "done" }})
		for n := range 10_000 {
			r.take(here, fmt.Appendf(nil, "<134>onie: line %d", n))
		}
		for range 2 {
			if got := r.take(here, []byte("<134>onie: done")); got != Taken {
				t.Errorf("among many lines: %s", got)
			}
		}
		for range 100 {
			r.take(here, []byte("<134>onie: done"))
		}
		if told["done"] != awaitedBurst {
			t.Errorf("told %d times", told["done"])
		}
		time.Sleep(time.Second)
		if r.take(here, []byte("<134>onie: done")); told["done"] != awaitedBurst+perAwaited {
			t.Errorf("told %d times after a second", told["done"])
		}
	})
}
