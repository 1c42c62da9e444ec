package lease

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The file does not grow with renewals, and nothing is lost while it is cleared.
func TestFileStaysBounded(t *testing.T) {
	const clients, rounds, batch = 500, 24, 50
	path := filepath.Join(t.TempDir(), "leases")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const few = 1024
	s.disk.least, s.disk.fewer = few, few
	now := time.Now()
	p := small(clients)
	for round := range rounds {
		when := now.Add(time.Duration(round) * time.Minute)
		for i := range clients {
			if round == 0 || i%3 == 0 { // most of them never renew
				bound(t, s, of(stranger(i), offered(t, s, stranger(i), p, none, when), when), when)
			}
			if i%batch == batch-1 {
				committed(t, s)
			}
		}
		if st := s.Stats(); st.Stored > max(few, 2*clients)+batch {
			t.Fatalf("round %d: %d leases stored for %d", round, st.Stored, clients)
		}
	}
	want := map[Lease]bool{}
	s.All(func(l Lease) { want[l] = true })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	n := 0
	s.All(func(l Lease) {
		n++
		if !want[l] {
			t.Errorf("not as it was: %+v", l)
		}
	})
	if n != clients || len(want) != clients {
		t.Errorf("%d leases, then %d, want %d", len(want), n, clients)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// broken makes every commit fail until the function that it returns is called.
func broken(t *testing.T, s *Store) (mend func()) {
	t.Helper()
	f := s.disk.file.f
	closed, err := os.Open(s.disk.path)
	if err == nil {
		err = closed.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.disk.file.f = closed
	return func() { s.disk.file.f = f }
}

// A new file whose place in its directory is not durable is not gone on with: nothing is
// acknowledged until another one is, which each commit tries.
func TestGoesOnWithAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	p := small(10)
	ask := func(i int) Lease {
		t.Helper()
		l := of(stranger(i), offered(t, s, stranger(i), p, none, now), now)
		bound(t, s, l, now)
		return l
	}
	renewals := func() {
		for range 9 {
			ask(0)
			committed(t, s)
		}
		s.disk.least, s.disk.fewer = 1, 1 // most of it is outdated: the next commit writes it anew
	}
	renewals()
	tries := 0
	s.disk.place = func(string) error { tries++; return errors.New("the directory is broken") }
	for n := range 3 {
		ask(1)
		if err := s.Commit(); err == nil || !strings.Contains(err.Error(), "the directory is broken") || !strings.Contains(err.Error(), "the next request tries again") || tries != n+1 {
			t.Fatalf("commit %d, after %d tries: %v", n+1, tries, err)
		}
	}
	if st := s.Stats(); st.Failed != 3 || st.Leases != 1 {
		t.Errorf("%+v", st)
	}
	s.disk.place = syncDir
	ask(1)
	committed(t, s)
	s.disk.least, s.disk.fewer = least, least
	ask(2)
	committed(t, s) // to the end of that file
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Leases != 3 {
		t.Errorf("%d leases are left", st.Leases)
	}
	renewals()
	s.disk.place = func(string) error { return errors.New("the directory is broken") }
	ask(3)
	if err := s.Commit(); err == nil {
		t.Error("it was acknowledged")
	}
	if err := s.Close(); err != nil { // gives the lock back
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil { // nothing to commit
		t.Error(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What could not be written never was: the store answers as before the batch, and
// the next batch tries again.
func TestFailedCommitChangesNothing(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "leases"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := small(9)
	one, two := stranger(1), slot("tor-1", "data")
	a := offered(t, s, one, p, none, t0)
	bound(t, s, of(one, a, t0), t0)
	committed(t, s)
	before, _ := s.At(a)

	mend := broken(t, s)
	later := t0.Add(time.Minute)
	bound(t, s, of(one, a, later), later) // a renewal
	l := of(two, offered(t, s, two, p, none, later), later)
	l.Hardware = mac(1) // takes the stranger's back
	bound(t, s, l, later)
	if x, _ := s.At(a); x.State != Released {
		t.Fatalf("%+v", x)
	}
	err = s.Commit()
	if err == nil || !strings.Contains(err.Error(), "make room on the disk") || !strings.Contains(err.Error(), s.disk.path) {
		t.Fatalf("commit: %v", err)
	}
	if x, _ := s.At(a); x != before {
		t.Errorf("got  %+v\nwant %+v", x, before)
	}
	if _, ok := s.At(l.Address); ok {
		t.Error("a lease that is not durable is there")
	}
	if got, known := s.Of(two, p, later); got != l.Address || !known {
		t.Errorf("the offer is gone: %s", got)
	}
	if got, known := s.Of(one, p, later); got != a || !known {
		t.Errorf("the stranger's: %s %v", got, known)
	}
	if s.Changed() || s.Stats().Failed != 1 {
		t.Errorf("%+v", s.Stats())
	}
	mend()
	bound(t, s, l, later)
	committed(t, s)
	if x, _ := s.At(a); x.State != Released {
		t.Errorf("%+v", x)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Who had what before a failed batch has it again, also what the batch did not touch.
func TestFailedCommitKeepsMemories(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "leases"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := small(2)
	g, h := stranger(1), stranger(2)
	z := offered(t, s, g, p, none, t0)
	bound(t, s, of(g, z, t0), t0)
	s.Release(g, z, t0)
	committed(t, s)
	x := offered(t, s, h, p, none, t0)
	bound(t, s, of(h, x, t0), t0)
	s.Decline(of(h, x, t0), t0)
	committed(t, s)
	y := offered(t, s, h, p, none, t0) // what g had: nothing else is left
	if y != z {
		t.Fatalf("offered %s", y)
	}
	mend := broken(t, s)
	bound(t, s, of(h, y, t0), t0)
	if s.Commit() == nil {
		t.Fatal("committed")
	}
	s.Withdraw(h)
	if a, known := s.Of(g, p, t0); a != z || !known {
		t.Errorf("what it had is forgotten: %s %v", a, known)
	}
	if l, _ := s.At(x); l.State != Declined || l.Holder != h {
		t.Errorf("%+v", l)
	}
	mend()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A record that failed leaves bytes behind the last one that counts, longer than the
// next one is.
func TestGoesOnOverAFailedRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	x := s.disk.file
	next, last := x.next, x.last
	var long []byte
	for i := range 50 {
		l := of(stranger(i), small(99).First, now)
		l.State = Bound
		long = appendLease(long, &l)
	}
	if err := x.append(long); err != nil { // written, not synced
		t.Fatal(err)
	}
	x.next, x.last = next, last
	for i := range 3 {
		bound(t, s, of(stranger(i), offered(t, s, stranger(i), small(9), none, now), now), now)
		committed(t, s)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	leases := 0
	if err := readFile(b, func(Lease) { leases++ }); err != nil || leases != 3 {
		t.Errorf("%d leases: %v", leases, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzLeases: whatever the bytes, no panic; what is read is written the same way.
func FuzzLeases(f *testing.F) {
	for _, l := range []Lease{of(stranger(1), ip("10.0.1.1"), t0), of(slot("tor-1", "data"), ip("10.0.1.2"), t0)} {
		l.State = Bound
		f.Add(appendLease(nil, &l))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var again []byte
		if err := readLeases(body, 7, func(l Lease) { again = appendLease(again, &l) }); err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
		if string(again) != string(body) {
			t.Fatalf("read % x, written again % x", body, again)
		}
	})
}

// Of what a holder has and had, the lease that is bound counts after a restart, then
// the one that ended last, in whatever order they are read.
func TestNewestAfterARestart(t *testing.T) {
	for _, x := range []struct {
		name string
		a, b Lease
	}{
		{"bound", Lease{State: Bound, Ends: t0}, Lease{State: Released, Ends: t0.Add(time.Hour)}},
		{"ended last", Lease{State: Released, Ends: t0.Add(time.Hour)}, Lease{State: Released, Ends: t0}},
		{"not declined", Lease{State: Released, Ends: t0}, Lease{State: Declined, Ends: t0.Add(time.Hour)}},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.a.Address, x.b.Address, x.a.Holder, x.b.Holder = ip("10.0.1.1"), ip("10.0.1.2"), stranger(1), stranger(1)
			for range 32 { // maps have no order
				s := Memory(Options{})
				s.restore(x.a)
				s.restore(x.b)
				s.index(t0.Add(-time.Hour))
				if got := s.byHolder[stranger(1)].Address; got != x.a.Address {
					t.Fatalf("%s counts", got)
				}
			}
		})
	}
}

// Every commit is synced, and so is all that the file grows by.
func TestEveryCommitIsSynced(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "leases"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	p := small(9)
	for i := range 9 {
		bound(t, s, of(stranger(i), offered(t, s, stranger(i), p, none, now), now), now)
		committed(t, s)
		if st := s.Stats(); st.Syncs != st.Commits || st.Commits != uint64(i+1) {
			t.Errorf("%+v", st)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Nothing more can be acknowledged when the file is closed.
	bound(t, s, of(stranger(0), p.First, now), now)
	if err := s.Commit(); err == nil {
		t.Error("committed to a closed file")
	}
}
