package lease

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// The file does not grow with renewals, and nothing is lost while it is cleared.
func TestFileStaysBounded(t *testing.T) {
	const clients, rounds, batch = 500, 24, 50
	path := filepath.Join(t.TempDir(), "leases.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.disk.db.NoSync = true // what is tested is the content
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
		if st := s.Stats(); st.Stored > 2*clients+batch {
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
	db, path := s.disk.db, s.disk.path
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.disk.db = db
	}
}

// What could not be written never was: the store answers as before the batch, and
// the next batch tries again.
func TestFailedCommitChangesNothing(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "leases.db"), Options{})
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
	s, err := Open(filepath.Join(t.TempDir(), "leases.db"), Options{})
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

// Every flipped byte is either found or harmless: no lease is read that was not
// written.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases.db")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[Lease]bool{}
	now := time.Now()
	for i := range 40 {
		l := of(stranger(i), offered(t, s, stranger(i), small(40), none, now), now)
		bound(t, s, l, now)
		committed(t, s)
		l, _ = s.At(l.Address)
		want[l] = true
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := 0; at < len(whole); at += 997 {
		b := append([]byte(nil), whole...)
		b[at] ^= 0x41
		damaged := filepath.Join(dir, "damaged.db")
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(damaged, Options{})
		if err != nil {
			found++
			if !errors.Is(err, ErrDamaged) && !strings.Contains(err.Error(), "newer") {
				t.Errorf("byte %d: %v", at, err)
			}
			continue
		}
		s.All(func(l Lease) {
			if !want[l] {
				t.Errorf("byte %d: %+v was never written", at, l)
			}
		})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found == 0 {
		t.Error("no damage was found: this test looks in the wrong place")
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("no database: %v", err)
	}
	for _, length := range []int{0, 1, 4096, 8192, 12288, len(whole) / 2} { // cut off
		if err := os.WriteFile(path, whole[:length], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, Options{})
		if err == nil { // what was cut off held nothing that counts
			if got := s.Stats().Leases; got != len(want) {
				t.Errorf("%d bytes: %d leases of %d", length, got, len(want))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

func TestNewerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		_, err = tx.CreateBucket(recordBucket)
		return errors.Join(err, b.Put(versionKey, []byte{version + 1}))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "newer rackreach") {
		t.Errorf("%v", err)
	}
}

// FuzzRecord: whatever the bytes, no panic; what is read is written the same way.
func FuzzRecord(f *testing.F) {
	for _, l := range []Lease{of(stranger(1), ip("10.0.1.1"), t0), of(slot("tor-1", "data"), ip("10.0.1.2"), t0)} {
		l.State = Bound
		f.Add(appendLease(nil, &l), uint64(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, seq uint64) {
		var again []byte
		if err := readRecord(seal(append([]byte(nil), body...), seq), seq, func(l Lease) { again = appendLease(again, &l) }); err != nil {
			if !errors.Is(err, errRecord) {
				t.Fatal(err)
			}
			return
		}
		if string(again) != string(body) {
			t.Fatalf("read % x, written again % x", body, again)
		}
		if err := readRecord(body, seq, func(Lease) {}); err == nil && len(body) > 4 {
			t.Skip() // a checksum by chance
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

// Stats counts two syncs of the disk a commit, which is true as long as bbolt is not
// told to leave any out.
func TestEveryCommitIsSynced(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "leases.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.disk.db.NoSync || s.disk.db.NoGrowSync || s.disk.db.NoFreelistSync {
		t.Error("what is acknowledged may be lost by a power cut")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
