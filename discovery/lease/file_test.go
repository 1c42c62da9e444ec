package lease

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every flipped byte is either found or harmless: no lease is read that was not
// written, and none is missing.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases")
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
	written := int(s.disk.file.next)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range written + 64 { // and what is behind the last lease
		b := append([]byte(nil), whole...)
		b[at] ^= 0x41
		leases := 0
		err := readFile(b, func(l Lease) {
			if leases++; !want[l] && at >= written {
				t.Errorf("byte %d: %+v was never written", at, l)
			}
		})
		switch {
		case at >= len(title) && at < written && !errors.Is(err, errRecord):
			t.Errorf("byte %d: %v", at, err)
		case at < len(title) && err == nil:
			t.Errorf("byte %d of the title: %v", at, err)
		case at >= written && (err != nil || leases != len(want)):
			t.Errorf("byte %d behind the leases: %d of %d, %v", at, leases, len(want), err)
		}
	}
	for name, b := range map[string][]byte{"no lease file": []byte(strings.Repeat("no database ", 4096)), "empty": {}, "a byte": whole[:1], "cut off": whole[:written], "cut in a record": whole[:written-20],
		"cut, and as large as a lease file": append(whole[:written-20:written-20], make([]byte, room)...)} {
		damaged := filepath.Join(dir, "damaged")
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(damaged, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(damaged); err != nil || len(b) == room {
			t.Errorf("%s: the damaged file was written over: %v", name, err)
		}
	}
}

// A crash may leave any part of the last record, in blocks of any order. It was never
// acknowledged: all before it is there, and what follows goes on.
func TestTornRecord(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "leases")
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const before, torn = 5, 30
	now := time.Now()
	p := small(before + torn)
	for i := range before {
		bound(t, s, of(stranger(i), offered(t, s, stranger(i), p, none, now), now), now)
		committed(t, s)
	}
	from := int(s.disk.file.next)
	for i := range torn {
		bound(t, s, of(stranger(before+i), offered(t, s, stranger(before+i), p, none, now), now), now)
	}
	committed(t, s)
	to := int(s.disk.file.next)
	whole, err := os.ReadFile(path) // not closed, as a crash leaves it
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		b := append([]byte(nil), whole...)
		block := rapid.SampledFrom([]int{1, 16, 64, 512}).Draw(r, "block")
		lost := 0
		for at := from; at < to; at += block {
			if rapid.Bool().Draw(r, "lost") {
				for i := at; i < min(at+block, to); i++ {
					lost += int(b[i])
					b[i] = 0
				}
			}
		}
		leases := 0
		if err := readFile(b, func(Lease) { leases++ }); err != nil {
			r.Fatal(err)
		}
		if want := before; lost > 0 && leases != want || lost == 0 && leases != want+torn {
			r.Fatalf("%d leases with %d lost", leases, lost)
		}
	})
	b := append(append(append([]byte(nil), whole[:from+40]...), make([]byte, to-from-40)...), whole[to:]...)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	bound(t, s, of(stranger(before), offered(t, s, stranger(before), p, none, now), now), now)
	committed(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, Options{}); err != nil || s.Stats().Leases != before+1 {
		t.Fatalf("%+v %v", s.Stats(), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNewerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	if err := os.WriteFile(path, []byte(anyTitle+"3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "newer rackreach") {
		t.Errorf("%v", err)
	}
}

// FuzzFile: whatever stands behind the title, no panic, and no lease that is not
// vouched for by a checksum.
func FuzzFile(f *testing.F) {
	l := of(stranger(1), ip("10.0.1.1"), t0)
	l.State = Bound
	leases := appendLease(nil, &l)
	record := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, 1), uint32(len(leases)))
	record = binary.BigEndian.AppendUint32(append(record, leases...), sum(leases, 1))
	f.Add(record)
	f.Add(record[:20])
	f.Add(append(append([]byte(nil), record[:30]...), record...))
	f.Fuzz(func(t *testing.T, behind []byte) {
		b := append([]byte(title), behind...)
		b = append(b, make([]byte, room-len(b)%room)...)
		n := 0
		if err := readFile(b, func(Lease) { n++ }); err != nil && !errors.Is(err, errRecord) {
			t.Fatal(err)
		}
		if _, whole := recordAt(b[len(title):], 1); n > 0 && !whole {
			t.Fatalf("%d leases without a whole record", n)
		}
	})
}
