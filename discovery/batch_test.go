package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// batches is a Wire for tests: each batch that is put in is read at once, and what
// is written for it comes out together.
type batches struct {
	in     chan []wire.Datagram
	out    chan []wire.Datagram
	gone   chan struct{}
	once   sync.Once
	refuse func(wire.Datagram) bool // does not leave
}

func newBatches() *batches {
	return &batches{in: make(chan []wire.Datagram), out: make(chan []wire.Datagram, 16), gone: make(chan struct{})}
}

func (b *batches) Read(ds []wire.Datagram) (int, error) {
	select {
	case in := <-b.in:
		for i, d := range in {
			ds[i].Payload = ds[i].Payload[:copy(ds[i].Payload, d.Payload)]
			ds[i].Peer = d.Peer
		}
		return len(in), nil
	case <-b.gone:
		return 0, errors.New("gone")
	}
}

func (b *batches) Write(ds []wire.Datagram, failed func(int, error)) {
	var out []wire.Datagram
	for i, d := range ds {
		if b.refuse != nil && b.refuse(d) {
			failed(i, errWire)
			continue
		}
		d.Payload, d.Hardware = slices.Clone(d.Payload), slices.Clone(d.Hardware)
		out = append(out, d)
	}
	b.out <- out
}

func (b *batches) Close() error { b.once.Do(func() { close(b.gone) }); return nil }

// together answers one batch, without Serve.
func together(t *testing.T, s *Server, ps ...*packet) []wire.Datagram {
	t.Helper()
	w := s.options.Wire.(*batches)
	var in []wire.Datagram
	for _, p := range ps {
		in = append(in, wire.Datagram{Payload: p.bytes(), Peer: sender})
	}
	b := newBatch(s)
	go func() { w.in <- in }()
	n, err := b.read()
	if err != nil {
		t.Fatal(err)
	}
	b.answer(n, testTime)
	s.committed()
	var out []wire.Datagram
	for len(w.out) > 0 {
		out = append(out, <-w.out...)
	}
	return out
}

// committed does what Serve does beside its loop.
func (s *Server) committed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit()
	s.deliver(0)
}

// pooledTable gives everybody an address of a pool.
type pooledTable struct{ pool lease.Pool }

func (p pooledTable) Lookup(rack.Keys) (Entry, rack.Binding, error) {
	return Entry{Pool: p.pool, Prefix: netip.MustParsePrefix("10.0.1.0/24")}, rack.Binding{}, fmt.Errorf("%w: a stranger", rack.ErrUnknown)
}

func strangers(first, last string) func() Table {
	return func() Table {
		return pooledTable{lease.Pool{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}}
	}
}

func client(n int) string { return fmt.Sprintf("52:54:00:00:00:%02x", n) }

func TestOneCommitABatch(t *testing.T) {
	store, err := lease.Open(filepath.Join(t.TempDir(), "leases"), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &counts{}
	s := testServer(t, Options{Wire: newBatches(), Leases: store, Table: strangers("10.0.1.1", "10.0.1.200"), Count: c.count,
		OnSeen: func(x Seen) {
			if x.Address != "" && store.Stats().Commits != 1 {
				t.Error("an acknowledgement is told of before it is durable")
			}
		}})
	var discovers, requests []*packet
	for i := range 60 {
		discovers = append(discovers, discover().from(client(i)))
		requests = append(requests, asks().from(client(i)).addr(50, fmt.Sprintf("10.0.1.%d", i+1)).addr(54, ours))
	}
	requests = append(requests, requests[0], discover().from(client(61)))
	if out := together(t, s, discovers...); len(out) != 60 || store.Stats().Commits != 0 {
		t.Errorf("%d offers, %d commits", len(out), store.Stats().Commits)
	}
	out := together(t, s, requests...)
	if st := store.Stats(); len(out) != 62 || st.Commits != 1 || st.Syncs != 1 || st.Leases != 60 {
		t.Errorf("%d answers, %+v", len(out), st)
	}
	if c.get("REQUEST acknowledged") != 61 || c.get("DISCOVER offered") != 61 {
		t.Errorf("%v", c.n)
	}
	for _, d := range out {
		if d.Hardware == nil || d.Peer.Port() != 68 || d.Peer.Addr().As4()[0] != 10 {
			t.Errorf("to %s by %s", d.Peer, d.Hardware)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiskTrouble: an acknowledgement whose lease is not durable does not leave, is
// counted, proves nothing, and the owner is told once. Everybody else is answered.
func TestDiskTrouble(t *testing.T) {
	store, err := lease.Open(filepath.Join(t.TempDir(), "leases"), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &counts{}
	var told []error
	var seen []Seen
	s := testServer(t, Options{Wire: newBatches(), Leases: store, Count: c.count,
		OnTrouble: func(err error) { told = append(told, err) }, OnSeen: func(x Seen) { seen = append(seen, x) }})
	if err := store.Close(); err != nil { // every commit fails from here on
		t.Fatal(err)
	}
	request := func() *packet { return asks().str(60, "iDRAC").addr(50, mine).addr(54, ours) }
	for range 2 {
		out := together(t, s, request(), discover(), asks().addr(50, "10.9.9.9"), message(8).is(mine))
		if len(out) != 3 {
			t.Errorf("%d answers, want those that rest on no lease", len(out))
		}
	}
	if c.get("REQUEST store-failed") != 2 || c.get("DISCOVER offered") != 2 || c.get("REQUEST refused-address") != 2 || c.get("INFORM acknowledged") != 2 {
		t.Errorf("%v", c.n)
	}
	if len(told) != 1 || !strings.Contains(told[0].Error(), "make room on the disk") {
		t.Errorf("told %v", told)
	}
	if len(s.repeats) > 0 {
		t.Error("a request that was not acknowledged is taken for repeated when it comes again")
	}
	if x := seen[0]; x.Observation.Proves != rack.NoEvidence || x.Observation.Address != "" || x.Address != "" {
		t.Errorf("%+v", x)
	}
}

func TestWhatDoesNotLeaveIsCounted(t *testing.T) {
	w, c := newBatches(), &counts{}
	w.refuse = func(d wire.Datagram) bool { return d.Peer.Addr().String() == mine }
	s := testServer(t, Options{Wire: w, Count: c.count})
	out := together(t, s, discover(), discover().via(relayAddr, "mgmt-1", "45"), discover().from("52:54:00:09:09:09"))
	if len(out) != 1 || c.get("DISCOVER send-failed") != 1 || c.get("DISCOVER offered") != 1 || c.get("DISCOVER ignored-unknown") != 1 {
		t.Errorf("%d answers, %v", len(out), c.n)
	}
}

// A panic in the middle of a batch costs its packet only, wherever it happens.
func TestPanicInABatch(t *testing.T) {
	c := &counts{}
	s := testServer(t, Options{Wire: newBatches(), Count: c.count, Table: func() Table { return panicking{testTable()} },
		OnSeen: func(x Seen) {
			if x.Message == "INFORM" {
				panic("a bug in OnSeen")
			}
		}})
	out := together(t, s, discover(), discover().from("52:54:00:66:66:66"), message(8).is(mine), asks().addr(50, mine))
	if len(out) != 2 || c.get("none panicked") != 1 || c.get("INFORM panicked") != 1 || c.get("DISCOVER offered") != 1 || c.get("REQUEST acknowledged") != 1 {
		t.Errorf("%d answers, %v", len(out), c.n)
	}
}

func BenchmarkBatch(b *testing.B) {
	for name, open := range map[string]func() (*lease.Store, error){
		"memory": func() (*lease.Store, error) { return lease.Memory(lease.Options{}), nil },
		"disk": func() (*lease.Store, error) {
			return lease.Open(filepath.Join(b.TempDir(), "leases"), lease.Options{})
		},
	} {
		b.Run(name, func(b *testing.B) { benchmarkBatch(b, open) })
	}
}

// benchmarkBatch takes 32 clients of 40,000 a time through DISCOVER and REQUEST,
// relayed, out of a pool, as perfdhcp does it.
func benchmarkBatch(b *testing.B, open func() (*lease.Store, error)) {
	const clients, size = 40_000, 32
	store, err := open()
	if err != nil {
		b.Fatal(err)
	}
	s := testServer(b, Options{Wire: newBatches(), Leases: store, Table: strangers("10.0.0.1", "10.0.255.254")})
	batch := newBatch(s)
	next := 0
	at := func(i int, p *packet) {
		p.mac = fmt.Sprintf("52:54:00:%02x:%02x:%02x", (next+i)>>16&0xff, (next+i)>>8&0xff, (next+i)&0xff)
		p.giaddr = "10.0.255.255"
		batch.in[i] = wire.Datagram{Payload: p.opt(55, 1, 3, 6, 12, 15, 28).bytes(), Peer: sender}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range size {
			at(i, discover())
		}
		b.StartTimer()
		out := batch.answerKept(size)
		b.StopTimer()
		var offers []netip.Addr
		for _, d := range out {
			offers = append(offers, netip.AddrFrom4([4]byte(d.Payload[16:20])))
		}
		for i := range size {
			at(i, asks().opt(50, offers[i].AsSlice()...).addr(54, ours))
		}
		next = (next + size) % clients
		b.StartTimer()
		batch.answerKept(size)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/DORA")
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
}

// answerKept is answer on a wire that takes everything, with the commit.
func (b *batch) answerKept(n int) (out []wire.Datagram) {
	w := b.s.options.Wire.(*batches)
	b.answer(n, testTime)
	b.s.committed()
	for len(w.out) > 0 {
		out = append(out, <-w.out...)
	}
	return out
}

// TestPacketsGather: those that come in a moment after a commit share the next one; who
// asks alone is answered at once, and offers wait for nothing.
func TestPacketsGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := lease.Open(filepath.Join(t.TempDir(), "leases"), lease.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := newBatches()
		s := testServer(t, Options{Wire: w, Leases: store, Table: strangers("10.0.1.1", "10.0.1.99")})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Serve(ctx) }()
		ask := func(p *packet) wire.Datagram {
			w.in <- []wire.Datagram{{Payload: p.bytes(), Peer: sender}}
			return (<-w.out)[0]
		}
		began := time.Now()
		const clients = 20
		for n := range clients {
			ask(discover().from(client(n)))
			time.Sleep(time.Millisecond) // in virtual time
			ask(asks().from(client(n)).addr(50, fmt.Sprintf("10.0.1.%d", n+1)).addr(54, ours))
			if took, want := time.Since(began), time.Duration(n)*gather+time.Millisecond; took != want {
				t.Errorf("client %d had its address after %s, want %s", n+1, took, want)
			}
		}
		if st := store.Stats(); st.Commits != clients {
			t.Errorf("%+v", st)
		}
		stop()
		if err := errors.Join(<-ended, store.Close()); err != nil {
			t.Error(err)
		}
	})
}
