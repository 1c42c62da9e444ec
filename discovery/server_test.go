package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counts is a Count for tests.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) count(message, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[message+" "+outcome]++
}

func (c *counts) get(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[key]
}

// serve runs a server until the test calls the function that it returns, which
// returns what Serve did.
func serve(t *testing.T, s *Server) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil && !t.Failed() {
			t.Logf("Serve ended with: %v", err)
		}
	})
	return stop
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	table := func() Table { return nil }
	for name, o := range map[string]Options{
		"Wire":     {Table: table, ServerID: netip.MustParseAddr(ours)},
		"Table":    {Wire: wire.Over(newCable()), ServerID: netip.MustParseAddr(ours)},
		"ServerID": {Wire: wire.Over(newCable()), Table: table, ServerID: netip.MustParseAddr("ff02::1")},
	} {
		if _, err := New(o); err == nil || !bytes.Contains([]byte(err.Error()), []byte("Options."+name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The management switch hangs on the agent's own cable: no relay.
func TestDirectClient(t *testing.T) {
	w, c := newCable(), &counts{}
	told := make(chan Seen, 8)
	s := testServer(t, Options{Wire: wire.Over(w), Count: c.count, OnSeen: func(x Seen) { told <- x }})
	stop := serve(t, s)
	exchange := func(p *packet) *dhcpv4.DHCPv4 {
		t.Helper()
		w.in <- sent{data: p.bytes(), addr: &net.UDPAddr{IP: net.IPv4zero, Port: 68}}
		got := <-w.out
		if got.addr.String() != mine+":68" {
			t.Errorf("to %s", got.addr)
		}
		d, err := dhcpv4.FromBytes(got.data)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	class := "PXEClient:Arch:00007:UNDI:003010"
	o := exchange(discover().str(60, class).str(77, "iPXE"))
	if x := <-told; x.Message != "DISCOVER" || x.Observation.Proves != rack.NoEvidence || x.Binding.Device != "mgmt-1" {
		t.Errorf("after DISCOVER: %+v", x)
	}
	a := exchange(asks().str(60, class).str(77, "iPXE").opt(50, o.YourIPAddr.To4()...).opt(54, o.ServerIdentifier().To4()...))
	if a.MessageType() != ack || a.BootFileName != scriptURL {
		t.Errorf("%s", a.Summary())
	}
	if x := <-told; x.Observation.Proves != rack.DHCPPXE || x.Observation.Address != mine || x.Observation.Device != "mgmt-1" {
		t.Errorf("after REQUEST: %+v", x)
	}
	w.in <- sent{data: discover().from("52:54:00:09:09:09").bytes(), addr: senderAddr}
	if x := <-told; !errors.Is(x.Err, rack.ErrUnknown) {
		t.Errorf("unknown: %+v", x)
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	for _, key := range []string{"DISCOVER offered", "REQUEST acknowledged", "DISCOVER ignored-unknown"} {
		if c.get(key) != 1 {
			t.Errorf("%s: %d", key, c.get(key))
		}
	}
	if len(w.out) != 0 {
		t.Error("the unknown one was answered")
	}
}

// Relays on loopback, each with an address and an unprivileged port of its own
// (RFC 8357), many at once.
func TestRelaysOverUDP(t *testing.T) {
	const relays, ports = 4, 10
	table := &fixed{port: map[rack.Port]Entry{}}
	for r := range relays {
		for p := range ports {
			port := rack.Port{Device: fmt.Sprintf("tor-%d", r), Name: fmt.Sprint(p)}
			table.port[port] = Entry{Device: "server-" + port.String(), Address: netip.AddrFrom4([4]byte{10, 0, byte(r), byte(p + 1)}),
				Prefix: netip.MustParsePrefix("10.0.0.0/16")}
		}
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counts{}
	proofs := make(chan Seen, 2*relays*ports)
	stop := serve(t, testServer(t, Options{Wire: wire.Over(conn), Table: func() Table { return table }, Count: c.count, OnSeen: func(x Seen) { proofs <- x }}))

	var all sync.WaitGroup
	for r := range relays {
		all.Go(func() {
			if err := relayAll(fmt.Sprintf("127.2.0.%d", r+1), r, ports, conn.LocalAddr()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	close(proofs)
	proved := 0
	for x := range proofs {
		if x.Observation.Proves == rack.DHCPOS && x.Binding.How == rack.ByPort && x.Observation.Via == x.Binding.Link {
			proved++
		}
	}
	if want := relays * ports; proved != want || c.get("DISCOVER offered") != want || c.get("REQUEST acknowledged") != want {
		t.Errorf("%d proofs of %d, %v", proved, want, c.n)
	}
}

// relayAll is one relay: for every port it takes a client through DISCOVER and
// REQUEST and checks what comes back.
func relayAll(ip string, r, ports int, server net.Addr) (err error) {
	conn, err := net.ListenPacket("udp4", ip+":0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	buf := make([]byte, MaxPacket)
	exchange := func(p *packet) (*dhcpv4.DHCPv4, error) {
		if _, err := conn.WriteTo(p.bytes(), server); err != nil {
			return nil, err
		}
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return nil, err
		}
		d, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			return nil, err
		}
		raw, _, _ := rawOption(p.options, 82)
		if !bytes.Contains(buf[:n], raw) || d.GatewayIPAddr.String() != ip {
			return nil, fmt.Errorf("%s: option 82 or giaddr is not the same", ip)
		}
		return d, nil
	}
	for port := range ports {
		mac := fmt.Sprintf("52:54:00:00:%02x:%02x", r, port)
		relayed := func(p *packet) *packet {
			return p.from(mac).str(60, "udhcp 1.35.0").via(ip, fmt.Sprintf("tor-%d", r), fmt.Sprint(port), 19, 0)
		}
		o, err := exchange(relayed(discover()))
		if err != nil {
			return err
		}
		a, err := exchange(relayed(asks().opt(50, o.YourIPAddr.To4()...).opt(54, o.ServerIdentifier().To4()...)))
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("10.0.%d.%d", r, port+1); a.MessageType() != ack || a.YourIPAddr.String() != want {
			return fmt.Errorf("%s port %d: %s", ip, port, a.Summary())
		}
	}
	return nil
}

// panicking is a table with a bug.
type panicking struct{ *fixed }

func (p panicking) Lookup(k rack.Keys) (Entry, rack.Binding, error) {
	if k.MAC == "52:54:00:66:66:66" {
		panic("a bug in the table")
	}
	return p.fixed.Lookup(k)
}

func TestPanicCostsOnePacket(t *testing.T) {
	w, c := newCable(), &counts{}
	reasons := make(chan any, 1)
	stop := serve(t, testServer(t, Options{Wire: wire.Over(w), Count: c.count, Table: func() Table { return panicking{testTable()} },
		OnPanic: func(reason any, stack []byte) {
			if len(stack) == 0 || len(stack) > maxStack {
				t.Errorf("stack of %d bytes", len(stack))
			}
			reasons <- reason
		}}))
	w.in <- sent{data: discover().from("52:54:00:66:66:66").bytes(), addr: senderAddr}
	w.in <- sent{data: discover().bytes(), addr: senderAddr}
	if got := <-reasons; got != "a bug in the table" {
		t.Errorf("reason %v", got)
	}
	<-w.out
	if err := stop(); err != nil {
		t.Error(err)
	}
	if c.get("none panicked") != 1 || c.get("DISCOVER offered") != 1 {
		t.Errorf("%v", c.n)
	}
}

// TestTheWordGoesBeforeTheAnswer: whatever the device does with its address is
// seen after the address itself. An answer that does not leave is counted.
func TestTheWordGoesBeforeTheAnswer(t *testing.T) {
	w, c := newCable(), &counts{}
	w.failing = true
	told := make(chan Seen)
	stop := serve(t, testServer(t, Options{Wire: wire.Over(w), Count: c.count, OnSeen: func(x Seen) {
		if c.get("REQUEST send-failed") != 0 {
			t.Error("the answer went before the word")
		}
		told <- x
	}}))
	w.in <- sent{data: asks().str(60, "iDRAC").addr(50, mine).bytes(), addr: senderAddr}
	if o := (<-told).Observation; o.Proves != rack.DHCPBMC || o.Stage != rack.StageBMC {
		t.Errorf("%+v", o)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if c.get("REQUEST send-failed") != 1 || c.get("REQUEST acknowledged") != 0 {
		t.Errorf("%v", c.n)
	}
}

func TestReadErrors(t *testing.T) {
	refused := errors.New("connection refused")
	w := newCable()
	s := testServer(t, Options{Wire: wire.Over(w)})
	for range maxReadErrors - 1 {
		w.in <- sent{err: refused}
	}
	w.in <- sent{data: discover().bytes(), addr: senderAddr}
	for range maxReadErrors {
		w.in <- sent{err: refused}
	}
	if err := s.Serve(t.Context()); !errors.Is(err, refused) {
		t.Errorf("Serve: %v", err)
	}
	if len(w.out) != 1 {
		t.Errorf("%d answers between errors, want 1", len(w.out))
	}
	if _, _, err := w.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

func TestClosedConnectionEndsServe(t *testing.T) {
	w := newCable()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := testServer(t, Options{Wire: wire.Over(w)}).Serve(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := testServer(t, Options{}).Serve(ctx); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestTruncatedIsCountedBesides(t *testing.T) {
	w, c := newCable(), &counts{}
	stop := serve(t, testServer(t, Options{Wire: wire.Over(w), Count: c.count}))
	w.in <- sent{data: discover().str(60, "onie_vendor:x86_64-sim_tor48-r0").opt(61, make([]byte, 200)...).bytes(), addr: senderAddr}
	<-w.out
	if err := stop(); err != nil {
		t.Error(err)
	}
	if c.get("DISCOVER truncated") != 1 || c.get("DISCOVER offered") != 1 {
		t.Errorf("%v", c.n)
	}
}
