//go:build netns

package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/nstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a frame that must come is waited for.
const patience = 10 * time.Second

// pair is a server with two cables, each to a host of its own.
func pair(t *testing.T) (server, client, other *nstest.Host) {
	t.Helper()
	server, client, other = nstest.New(t), nstest.New(t), nstest.New(t)
	server.Cable("rr0", client, "rr0")
	server.Cable("rr1", other, "rr0")
	server.Address("rr0", "10.0.0.1/24")
	server.Address("rr1", "10.0.1.1/24")
	return server, client, other
}

func open(t *testing.T, h *nstest.Host, o wire.Options) *wire.Interface {
	t.Helper()
	var i *wire.Interface
	var err error
	h.Do(func() { i, err = wire.Open("rr0", o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(i.Close(), i.Close()); err != nil {
			t.Error(err)
		}
	})
	return i
}

// socket is a client's socket on an interface, which need not have an address.
func socket(t *testing.T, h *nstest.Host, at string) *net.UDPConn {
	t.Helper()
	var c net.PacketConn
	var err error
	h.Do(func() {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "rr0") })
			return errors.Join(e, err)
		}}
		c, err = lc.ListenPacket(context.Background(), "udp4", at)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.(*net.UDPConn)
}

func tap(t *testing.T, h *nstest.Host, heard wire.Heard) *wire.Tap {
	t.Helper()
	var x *wire.Tap
	var err error
	h.Do(func() { x, err = wire.OpenTap("rr0", heard) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func send(t *testing.T, c *net.UDPConn, payload, to string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(payload), netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *net.UDPConn) (payload string, from netip.AddrPort) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// read reads n messages from a wire.
func read(t *testing.T, i *wire.Interface, n int) (out []wire.Datagram) {
	t.Helper()
	late := time.AfterFunc(patience, func() { _ = i.Close() })
	defer late.Stop()
	for len(out) < n {
		ds := make([]wire.Datagram, 16)
		for k := range ds {
			ds[k].Payload = make([]byte, 1500)
		}
		got, err := i.Read(ds)
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(out), n, err)
		}
		out = append(out, ds[:got]...)
	}
	return out
}

func fail(t *testing.T) func(int, error) {
	return func(i int, err error) { t.Errorf("message %d did not leave: %v", i, err) }
}

func TestInterfaceBothWays(t *testing.T) {
	server, client, _ := pair(t)
	client.Address("rr0", "10.0.0.7/24")
	i, c := open(t, server, wire.Options{}), socket(t, client, ":68")
	for n := range 40 {
		send(t, c, fmt.Sprint(n), "255.255.255.255:67")
	}
	send(t, c, "direct", "10.0.0.1:67")
	ds := read(t, i, 41)
	for n, d := range ds {
		want, to := fmt.Sprint(n), "255.255.255.255:67"
		if n == 40 {
			want, to = "direct", "10.0.0.1:67"
		}
		if string(d.Payload) != want || d.Peer.String() != "10.0.0.7:68" || d.Local.String() != to || d.Hardware != nil {
			t.Errorf("message %d: %q from %s to %s", n, d.Payload, d.Peer, d.Local)
		}
	}
	peer := netip.MustParseAddrPort("10.0.0.7:68")
	i.Write([]wire.Datagram{
		{Payload: []byte("by the kernel"), Peer: peer},
		{Payload: []byte("to all"), Peer: netip.MustParseAddrPort("255.255.255.255:68")},
	}, fail(t))
	i.Write([]wire.Datagram{{Payload: []byte("a frame"), Peer: peer, Hardware: client.MAC("rr0")}}, fail(t)) // the kernel checks its checksums
	for _, want := range []string{"by the kernel", "to all", "a frame"} {
		if got, from := receive(t, c); got != want || from.String() != "10.0.0.1:67" {
			t.Errorf("%q from %s, want %q", got, from, want)
		}
	}
}

// A message comes from the address that it is to come from, if that is the
// interface's, and from the wire's own else.
func TestInterfaceSource(t *testing.T) {
	server, client, _ := pair(t)
	client.Address("rr0", "10.0.0.7/24")
	server.Address("rr0", "10.5.0.1/24")
	i, c := open(t, server, wire.Options{Address: netip.MustParseAddr("10.0.0.1")}), socket(t, client, ":68")
	client.Do(func() { // what comes from another network is not dropped
		for _, name := range []string{"all", "rr0"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/rp_filter", []byte("0"), 0); err != nil {
				t.Error(err)
			}
		}
	})
	for _, x := range []struct{ local, from string }{{"10.5.0.1", "10.5.0.1:67"}, {"10.0.0.1", "10.0.0.1:67"}, {"10.6.0.1", "10.0.0.1:67"}, {"255.255.255.255", "10.0.0.1:67"}} {
		d := wire.Datagram{Payload: []byte(x.local), Peer: netip.MustParseAddrPort("10.0.0.7:68"), Local: netip.AddrPortFrom(netip.MustParseAddr(x.local), 0)}
		for _, to := range []net.HardwareAddr{nil, client.MAC("rr0")} {
			d.Hardware = to
			i.Write([]wire.Datagram{d}, fail(t))
			if got, from := receive(t, c); got != x.local || from.String() != x.from {
				t.Errorf("to come from %s (frame: %t): came from %s, want %s", x.local, to != nil, from, x.from)
			}
		}
	}
}

// A client without an address is answered although nobody could tell who has it.
func TestInterfaceWithoutARP(t *testing.T) {
	server, client, _ := pair(t)
	i, c := open(t, server, wire.Options{}), socket(t, client, ":68")
	arp, dhcp := tap(t, client, wire.ARP()), tap(t, client, wire.DHCP())
	send(t, c, "who am I", "255.255.255.255:67")
	if d := read(t, i, 1)[0]; d.Peer.String() != "0.0.0.0:68" {
		t.Errorf("from %s", d.Peer)
	}
	hw := client.MAC("rr0")
	i.Write([]wire.Datagram{{Payload: []byte("you are"), Peer: netip.MustParseAddrPort("10.0.0.200:68"), Hardware: hw}}, fail(t))
	u := frame(t, dhcp)
	if string(u.Payload) != "you are" || u.To.String() != hw.String() || u.From.String() != server.MAC("rr0").String() || u.Target.String() != "10.0.0.200:68" || u.Source.String() != "10.0.0.1:67" {
		t.Errorf("%+v", u)
	}
	// What the kernel sends by itself asks first: the tap would have heard it.
	i.Write([]wire.Datagram{{Payload: []byte("x"), Peer: netip.MustParseAddrPort("10.0.0.201:68")}}, fail(t))
	b, err := arp.Read()
	if err != nil {
		t.Fatal(err)
	}
	if asked := netip.AddrFrom4([4]byte(b[38:42])); asked.String() != "10.0.0.201" {
		t.Errorf("the first question by ARP was who has %s", asked)
	}
}

func frame(t *testing.T, x *wire.Tap) wire.UDP {
	t.Helper()
	late := time.AfterFunc(patience, func() { _ = x.Close() })
	defer late.Stop()
	b, err := x.Read()
	if err != nil {
		t.Fatal(err)
	}
	u, err := wire.ParseUDP(b)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Nothing is heard from another interface, and nothing goes out there.
func TestInterfaceKeepsToItself(t *testing.T) {
	server, client, other := pair(t)
	i := open(t, server, wire.Options{})
	c, stranger := socket(t, client, ":68"), socket(t, other, ":68")
	before := server.Sent("rr1")
	send(t, stranger, "stranger", "255.255.255.255:67")
	send(t, c, "client", "255.255.255.255:67")
	if d := read(t, i, 1)[0]; string(d.Payload) != "client" {
		t.Errorf("heard %q", d.Payload)
	}
	i.Write([]wire.Datagram{{Payload: []byte("offer"), Peer: netip.MustParseAddrPort("255.255.255.255:68")}}, fail(t))
	if got, _ := receive(t, c); got != "offer" {
		t.Errorf("%q", got)
	}
	if n := server.Sent("rr1") - before; n != 0 {
		t.Errorf("%d frames left through the other interface", n)
	}
}

func TestInterfaceIsNotShared(t *testing.T) {
	server, _, _ := pair(t)
	t.Run("second", func(t *testing.T) {
		open(t, server, wire.Options{})
		var err error
		server.Do(func() { _, err = wire.Open("rr0", wire.Options{}) })
		taken := new(wire.TakenError)
		if !errors.As(err, &taken) || taken.Port != 67 || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", os.Getpid())) {
			t.Errorf("%v", err)
		}
	})
	t.Run("behind one that shares", func(t *testing.T) {
		server.Do(func() {
			lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
				e := c.Control(func(fd uintptr) {
					err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
				})
				return errors.Join(e, err)
			}}
			c, err := lc.ListenPacket(context.Background(), "udp4", ":67")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := wire.Open("rr0", wire.Options{}); !errors.As(err, new(*wire.TakenError)) {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("before one that shares", func(t *testing.T) {
		open(t, server, wire.Options{})
		open(t, server, wire.Options{Port: wire.ProxyPort})
		server.Do(func() {
			for _, port := range []string{":67", ":4011"} {
				lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
					e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
					return errors.Join(e, err)
				}}
				if c, err := lc.ListenPacket(context.Background(), "udp4", port); err == nil {
					t.Errorf("a second server got port %s: %v", port, c.Close())
				}
			}
		})
	})
}

// A second port is a wire of its own.
func TestInterfaceProxy(t *testing.T) {
	server, client, _ := pair(t)
	client.Address("rr0", "10.0.0.7/24")
	c := socket(t, client, ":68")
	for _, port := range []uint16{wire.ProxyPort, wire.ServerPort} {
		i := open(t, server, wire.Options{Port: port})
		at := fmt.Sprintf("10.0.0.1:%d", port)
		send(t, c, "to "+at, at)
		d := read(t, i, 1)[0]
		if string(d.Payload) != "to "+at || d.Local.String() != at {
			t.Errorf("%q to %s", d.Payload, d.Local)
		}
		d.Payload = []byte("from " + at)
		byFrame := d
		byFrame.Hardware = client.MAC("rr0")
		for _, d := range []wire.Datagram{d, byFrame} {
			i.Write([]wire.Datagram{d}, fail(t))
			if got, from := receive(t, c); got != "from "+at || from.String() != at {
				t.Errorf("%q from %s", got, from)
			}
		}
	}
}

func TestInterfaceEndsARead(t *testing.T) {
	server, _, _ := pair(t)
	i := open(t, server, wire.Options{})
	ended := make(chan error)
	go func() { _, err := i.Read([]wire.Datagram{{Payload: make([]byte, 1)}}); ended <- err }()
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// What nobody reads in time is dropped and counted.
func TestInterfaceCountsDrops(t *testing.T) {
	server, client, _ := pair(t)
	i, c := open(t, server, wire.Options{Buffer: 8 << 10}), socket(t, client, ":68")
	if n := i.Buffer(); n < 8<<10 || n > 16<<10 {
		t.Errorf("a buffer of %d bytes", n)
	}
	const sent = 200
	payload := strings.Repeat("x", 300)
	for range sent {
		send(t, c, payload, "255.255.255.255:67")
	}
	got := len(read(t, i, 1)) // all that there is; there is room again
	send(t, c, "last", "255.255.255.255:67")
	for last := ""; last != "last"; {
		ds := read(t, i, 1)
		got, last = got+len(ds), string(ds[len(ds)-1].Payload)
	}
	if n := i.Dropped(); n == 0 || n+uint64(got) != sent+1 {
		t.Errorf("%d were read and %d dropped of %d", got, n, sent+1)
	}
	if got := open(t, client, wire.Options{Address: netip.MustParseAddr("10.0.0.9")}).Buffer(); got != wire.DefaultBuffer {
		t.Errorf("a buffer of %d bytes by default", got)
	}
}

// A message that cannot be sent keeps back none of the others.
func TestInterfaceTellsWhatDidNotLeave(t *testing.T) {
	server, client, _ := pair(t)
	client.Address("rr0", "10.0.0.7/24")
	i, c := open(t, server, wire.Options{}), socket(t, client, ":68")
	good := func(s string) wire.Datagram {
		return wire.Datagram{Payload: []byte(s), Peer: netip.MustParseAddrPort("10.0.0.7:68")}
	}
	far := wire.Datagram{Payload: []byte("x"), Peer: netip.MustParseAddrPort("10.0.0.7:0")} // no port
	long := good(strings.Repeat("x", 1473))
	long.Hardware = client.MAC("rr0")
	var told []int
	i.Write([]wire.Datagram{far, good("a"), far, long, good("b"), far}, func(k int, err error) {
		if err == nil || k == 3 && !strings.Contains(err.Error(), "does not fit a frame of interface rr0, whose MTU is 1500") {
			t.Errorf("message %d: %v", k, err)
		}
		told = append(told, k)
	})
	for _, want := range []string{"a", "b"} {
		if got, _ := receive(t, c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	sum := 0
	for _, k := range told {
		sum += 1 << k
	}
	if len(told) != 4 || sum != 1<<0+1<<2+1<<3+1<<5 {
		t.Errorf("told of %v", told)
	}
}
