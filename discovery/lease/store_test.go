package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	t0   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	none netip.Addr
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// small is a pool of n addresses from 10.0.1.1 on.
func small(n int) Pool { return Pool{ip("10.0.1.1"), address(number(ip("10.0.1.1")) + uint32(n) - 1)} }

func mac(n int) Hardware { return Hardware{2, 0, 0, 0, byte(n >> 8), byte(n)} }

func stranger(n int) Holder { return Holder{Hardware: mac(n)} }

func slot(name, end string) Holder { return Holder{Slot: name, End: end} }

// of is a lease of an hour out of a pool.
func of(h Holder, a netip.Addr, now time.Time) Lease {
	hw := h.Hardware
	if h.Slot != "" {
		hw = mac(999)
	}
	return Lease{Address: a, Holder: h, Hardware: hw, Stage: rack.StageOS, Pool: true, Ends: now.Add(time.Hour)}
}

func offered(t *testing.T, s *Store, h Holder, p Pool, asked netip.Addr, now time.Time) netip.Addr {
	t.Helper()
	a, err := s.Offer(h, p, asked, now)
	if err != nil {
		t.Fatalf("offer to %s: %v", h, err)
	}
	return a
}

func bound(t *testing.T, s *Store, l Lease, now time.Time) {
	t.Helper()
	if err := s.Bind(l, now); err != nil {
		t.Fatalf("bind %s to %s: %v", l.Address, l.Holder, err)
	}
}

func committed(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestOfferIsKeptForWhomItWasMade(t *testing.T) {
	s, p := Memory(Options{}), small(2)
	a := offered(t, s, stranger(1), p, none, t0)
	if again := offered(t, s, stranger(1), p, ip("10.0.1.2"), t0.Add(time.Second)); again != a {
		t.Errorf("asked again: %s, then %s", a, again)
	}
	b := offered(t, s, stranger(2), p, a, t0)
	if b == a {
		t.Error("two clients were offered one address")
	}
	if _, err := s.Offer(stranger(3), p, none, t0); !errors.Is(err, ErrExhausted) {
		t.Errorf("a third client: %v", err)
	}
	if err := s.Bind(of(stranger(3), a, t0), t0); !errors.Is(err, ErrTaken) {
		t.Errorf("bind what another was offered: %v", err)
	}
	// Both holds end; an offer that was asked for again in its second half does not.
	later := t0.Add(DefaultOfferHold * 3 / 4)
	offered(t, s, stranger(1), p, none, later)
	later = t0.Add(DefaultOfferHold + time.Second)
	if c := offered(t, s, stranger(3), p, none, later); c != b {
		t.Errorf("after the hold: %s, want %s", c, b)
	}
	if _, known := s.Of(stranger(2), p, later); known {
		t.Error("an offer that lapsed is remembered")
	}
}

func TestAskedForAddress(t *testing.T) {
	s, p := Memory(Options{}), small(9)
	if a := offered(t, s, stranger(1), p, ip("10.0.1.7"), t0); a != ip("10.0.1.7") {
		t.Errorf("free and asked for, but got %s", a)
	}
	if a := offered(t, s, stranger(2), p, ip("10.9.9.9"), t0); a != ip("10.0.1.1") {
		t.Errorf("asked for one of another network, got %s", a)
	}
	bound(t, s, of(stranger(1), ip("10.0.1.7"), t0), t0)
	over := t0.Add(2 * time.Hour)
	if a := offered(t, s, stranger(3), p, ip("10.0.1.7"), over); a == ip("10.0.1.7") {
		t.Error("an ended lease went to whoever asked for it, before those that nobody had")
	}
}

func TestEndedLeasesAreReusedLast(t *testing.T) {
	s, p := Memory(Options{}), small(4)
	for i := range 3 { // the second one ends first, the third never
		a := offered(t, s, stranger(i), p, none, t0)
		l := of(stranger(i), a, t0)
		l.Ends = t0.Add([]time.Duration{2 * time.Hour, time.Hour, 1000 * time.Hour}[i])
		bound(t, s, l, t0)
	}
	late := t0.Add(3 * time.Hour)
	for i, want := range []string{"10.0.1.4", "10.0.1.2", "10.0.1.1"} {
		if a := offered(t, s, stranger(10+i), p, none, late); a != ip(want) {
			t.Errorf("client %d: %s, want %s", i, a, want)
		}
	}
	if _, err := s.Offer(stranger(20), p, none, late); !errors.Is(err, ErrExhausted) {
		t.Errorf("with all taken: %v", err)
	}
	// A lease that ended and was offered to another is not its old holder's any more.
	if a, known := s.Of(stranger(1), p, late); !known || a.IsValid() {
		t.Errorf("the old holder: %s %v", a, known)
	}
	bound(t, s, of(stranger(11), ip("10.0.1.2"), late), late)
	if _, known := s.Of(stranger(1), p, late); known {
		t.Error("the old holder is remembered although another has its address")
	}
	if err := s.Bind(of(stranger(1), ip("10.0.1.2"), late), late); !errors.Is(err, ErrTaken) {
		t.Errorf("the old holder binds it: %v", err)
	}
}

func TestHolderFindsItsAddressAgain(t *testing.T) {
	s, p := Memory(Options{}), small(9)
	a := offered(t, s, stranger(1), p, ip("10.0.1.5"), t0)
	bound(t, s, of(stranger(1), a, t0), t0)
	if s.Release(stranger(2), a, t0) || !s.Release(stranger(1), a, t0.Add(time.Minute)) || s.Release(stranger(1), a, t0) || s.Release(stranger(2), a, t0) {
		t.Error("Release does not tell whose it is")
	}
	if l, _ := s.At(a); l.State != Released || !l.Ends.Equal(t0.Add(time.Minute)) || l.Holder != stranger(1) {
		t.Errorf("%+v", l)
	}
	for _, when := range []time.Duration{time.Minute, 100 * time.Hour} {
		if got, known := s.Of(stranger(1), p, t0.Add(when)); got != a || !known {
			t.Errorf("after %s: %s %v", when, got, known)
		}
		if got := offered(t, s, stranger(1), p, none, t0.Add(when)); got != a {
			t.Errorf("after %s: offered %s", when, got)
		}
	}
}

func TestDeclined(t *testing.T) {
	s, p := Memory(Options{}), small(2)
	a := offered(t, s, stranger(1), p, none, t0)
	if s.Decline(of(stranger(2), a, t0), t0) || s.Decline(of(stranger(2), ip("10.0.1.2"), t0), t0) {
		t.Error("anybody can decline what is not theirs")
	}
	if !s.Decline(of(stranger(1), a, t0), t0) {
		t.Error("its own offer")
	}
	b := offered(t, s, stranger(1), p, a, t0)
	if b == a {
		t.Error("offered again at once")
	}
	bound(t, s, of(stranger(1), b, t0), t0)
	if err := s.Bind(of(stranger(1), a, t0), t0); !errors.Is(err, ErrTaken) {
		t.Errorf("a withheld address: %v", err)
	}
	if _, err := s.Offer(stranger(2), p, none, t0.Add(DefaultDeclineHold-time.Second)); !errors.Is(err, ErrExhausted) {
		t.Errorf("within the hold: %v", err)
	}
	if got := offered(t, s, stranger(2), p, none, t0.Add(DefaultDeclineHold)); got != a {
		t.Errorf("after the hold: %s", got)
	}
	bound(t, s, of(stranger(2), a, t0.Add(DefaultDeclineHold)), t0.Add(DefaultDeclineHold))
}

// A pre-determined address is its slot's, whoever had it; one that was declined
// stays with its slot, and the store says so.
func TestPreDetermined(t *testing.T) {
	s, p := Memory(Options{}), small(9)
	a := offered(t, s, stranger(1), p, none, t0)
	bound(t, s, of(stranger(1), a, t0), t0)
	l := of(slot("tor-1", "management"), a, t0)
	l.Pool = false
	bound(t, s, l, t0)
	if _, known := s.Of(stranger(1), p, t0); known {
		t.Error("the stranger keeps the address")
	}
	if !s.Decline(l, t0) {
		t.Error("declined")
	}
	if l, _ := s.At(a); l.State != Declined || l.Pool {
		t.Errorf("%+v", l)
	}
	bound(t, s, l, t0)
	if l, _ := s.At(a); l.State != Bound {
		t.Errorf("%+v", l)
	}
}

// One machine, three client identifiers, one address: the store never sees them.
// What it had before it was bound to a slot is taken back.
func TestOneMachineOneAddress(t *testing.T) {
	s, p := Memory(Options{}), small(9)
	at := func(l Lease) Lease { got, _ := s.At(l.Address); return got }
	before := of(stranger(7), offered(t, s, stranger(7), p, none, t0), t0)
	bound(t, s, before, t0)
	onie := of(slot("tor-1", "data"), offered(t, s, slot("tor-1", "data"), p, none, t0), t0)
	onie.Hardware, onie.Stage = mac(7), rack.StageONIE
	bound(t, s, onie, t0)
	if at(before).State != Released {
		t.Error("a machine that was a stranger keeps that address beside its slot's")
	}
	bmc := of(slot("tor-1", "bmc"), offered(t, s, slot("tor-1", "bmc"), p, none, t0), t0)
	bmc.Stage = rack.StageBMC
	bound(t, s, bmc, t0)
	if at(onie).State != Bound {
		t.Error("a BMC took the installer's address back")
	}
	fixed := of(slot("tor-1", "console"), ip("192.168.100.77"), t0)
	fixed.Pool, fixed.Stage = false, rack.StageONIE
	bound(t, s, fixed, t0)
	nos := of(slot("tor-1", "management"), ip("192.168.100.2"), t0)
	nos.Pool, nos.Stage = false, rack.StageNOS
	bound(t, s, nos, t0.Add(time.Minute))
	if l := at(onie); l.State != Released || !l.Ends.Equal(t0.Add(time.Minute)) {
		t.Errorf("the installer's lease: %+v", l)
	}
	if at(bmc).State != Bound || at(fixed).State != Bound {
		t.Error("the BMC's lease or a pre-determined one went with it")
	}
	// Another pool, another address: the first one is free.
	other := Pool{ip("10.0.2.1"), ip("10.0.2.9")}
	moved := of(slot("tor-1", "bmc"), offered(t, s, slot("tor-1", "bmc"), other, none, t0), t0)
	bound(t, s, moved, t0)
	if at(bmc).State != Released || at(moved).State != Bound {
		t.Error("a holder has two addresses")
	}
}

func TestNeverGivenOut(t *testing.T) {
	s, p := Memory(Options{}), small(2)
	s.Except(ip("10.0.1.1"), netip.Addr{})
	if a := offered(t, s, stranger(1), p, ip("10.0.1.1"), t0); a != ip("10.0.1.2") {
		t.Errorf("got %s", a)
	}
	if err := s.Bind(of(stranger(2), ip("10.0.1.1"), t0), t0); !errors.Is(err, ErrTaken) {
		t.Errorf("bind: %v", err)
	}
}

func TestBounds(t *testing.T) {
	s := Memory(Options{MaxLeases: 2})
	p := small(9)
	bound(t, s, of(stranger(1), offered(t, s, stranger(1), p, none, t0), t0), t0)
	committed(t, s)
	a := offered(t, s, stranger(2), p, none, t0)
	if _, err := s.Offer(stranger(3), p, none, t0); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	bound(t, s, of(stranger(2), a, t0), t0)
	if err := s.Bind(of(stranger(3), ip("10.0.1.9"), t0), t0); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if s.Decline(Lease{Address: ip("10.0.1.9"), Holder: slot("x", "")}, t0) {
		t.Error("a declined one too many")
	}
	if s.Release(stranger(1), netip.Addr{}, t0) || s.Decline(Lease{}, t0) || s.Bind(Lease{Address: ip("::1")}, t0) == nil {
		t.Error("no IPv4 address is somebody's")
	}
	if _, ok := s.At(netip.Addr{}); ok {
		t.Error("no address has a lease")
	}
	for _, bad := range []Pool{{}, {ip("10.0.0.2"), ip("10.0.0.1")}, {ip("10.0.0.0"), ip("10.1.0.0")}, {ip("::1"), ip("::2")}} {
		if _, err := s.Offer(stranger(1), bad, none, t0); bad.IsValid() || bad.Size() != 0 || !errors.Is(err, ErrExhausted) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for i := range maxPools + 1 {
		base := ip(fmt.Sprintf("10.1.%d.1", i))
		_, err := s.Offer(stranger(1), Pool{base, base}, none, t0)
		if i == maxPools && !errors.Is(err, ErrExhausted) {
			t.Errorf("pool %d: %v", i, err)
		}
	}
	if w := (Pool{ip("10.0.0.0"), ip("10.0.255.255")}); !w.IsValid() || w.Size() != MaxPool || !w.Contains(ip("10.0.9.9")) || w.Contains(ip("10.1.0.0")) {
		t.Error(w)
	}
}

// A client that asks and turns away without end uses no memory up.
func TestNoGrowth(t *testing.T) {
	s, p := Memory(Options{}), small(4)
	for i := range 10_000 {
		a := offered(t, s, stranger(1), p, ip("10.0.1.3"), t0.Add(time.Duration(i)*time.Second))
		s.Withdraw(stranger(1))
		_ = a
	}
	pl := s.pools[p]
	if len(pl.freed) > p.Size() || len(s.lapsing) > 200 {
		t.Errorf("%d freed, %d lapsing", len(pl.freed), len(s.lapsing))
	}
	for i := range 10_000 {
		now := t0.Add(time.Duration(i) * time.Minute)
		bound(t, s, of(stranger(1), offered(t, s, stranger(1), p, none, now), now), now)
		committed(t, s)
	}
	if len(pl.ended) > 3*p.Size()+2*maxPools || len(s.offers) > 1 || len(s.undo) != 0 {
		t.Errorf("%d ends, %d offers, %d changes", len(pl.ended), len(s.offers), len(s.undo))
	}
}

func TestDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "leases")
	open := func() *Store {
		t.Helper()
		s, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	now := time.Now()
	p := small(9)
	s := open()
	l := of(slot("server-01", "management"), offered(t, s, slot("server-01", "management"), p, none, now), now)
	l.Via = rack.Port{Device: "mgmt-1", Name: "45"}
	bound(t, s, l, now)
	bound(t, s, of(stranger(5), offered(t, s, stranger(5), p, none, now), now), now)
	if !s.Changed() {
		t.Error("nothing to commit")
	}
	committed(t, s)
	committed(t, s) // nothing changed: no commit
	if st := s.Stats(); st.Commits != 1 || st.Syncs != 1 || st.Leases != 2 || st.Stored != 2 || s.Changed() {
		t.Errorf("%+v", st)
	}
	bound(t, s, of(stranger(6), offered(t, s, stranger(6), p, none, now), now), now) // never committed
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err == nil {
		t.Error("committed after Close")
	}

	s = open()
	got, ok := s.At(l.Address)
	l.State, l.Ends = Bound, l.Ends.UTC().Truncate(time.Second)
	if !ok || got != l {
		t.Errorf("got  %+v\nwant %+v", got, l)
	}
	if _, ok := s.At(ip("10.0.1.3")); ok {
		t.Error("what was not committed is there")
	}
	if a := offered(t, s, stranger(5), p, none, now); a != ip("10.0.1.2") {
		t.Errorf("another address after a restart: %s", a)
	}
	if a := offered(t, s, stranger(9), p, none, now); a != ip("10.0.1.3") {
		t.Errorf("a new client: %s", a)
	}
	if _, err := Open(path, Options{}); err == nil {
		t.Error("two processes have the file")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOldLeasesAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-memory - 2*time.Hour)
	bound(t, s, of(stranger(1), ip("10.0.1.1"), long), long)
	bound(t, s, of(stranger(2), ip("10.0.1.2"), time.Now()), time.Now())
	committed(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	n := 0
	s.All(func(Lease) { n++ })
	if n != 1 {
		t.Errorf("%d leases", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
