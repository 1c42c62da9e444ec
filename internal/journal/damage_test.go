package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/rackreach/rackreach/internal/rack"
)

// written is a journal of n events, appended one by one, that was closed.
func written(t testing.TB, n int) (dir string, file []byte, events []rack.Event) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir, Options{Run: "run-1"})
	for i := range n {
		got, err := s.Append(event(i))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, got...)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, dbFile))
	if err != nil {
		t.Fatal(err)
	}
	return dir, file, events
}

// inUse is the part of a file that the database uses.
func inUse(t testing.TB, file []byte) []byte {
	t.Helper()
	f, err := openPages(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return file[:int(f.high)*f.pageSize]
}

// judge opens a changed file: a *Damaged that leaves it alone, or all events.
// Then it salvages: what comes out is a prefix of the truth.
func judge(t *testing.T, what string, at int, file []byte, want []rack.Event) (damaged bool, salvaged Report) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, dbFile)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{Rack: "r1"})
	if err == nil {
		got, err := s.Read(1, 1e6)
		if err := errors.Join(err, s.Close()); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s at %d: opened, with %d events of %d, %v", what, at, len(got), len(want), err)
		}
		return false, Report{}
	}
	var d *Damaged
	if !errors.As(err, &d) || !strings.Contains(err.Error(), "rackreach journal salvage "+dir) {
		t.Fatalf("%s at %d: %v", what, at, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, file) {
		t.Fatalf("%s at %d: opening changed the file (%v)", what, at, err)
	}
	out := filepath.Join(dir, "out")
	r, err := Salvage(dir, out)
	if err != nil {
		if r.Events == 0 {
			return true, r
		}
		t.Fatalf("%s at %d: salvage: %v", what, at, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, file) {
		t.Fatalf("%s at %d: salvaging changed the file (%v)", what, at, err)
	}
	fresh := open(t, out, Options{})
	got, err := fresh.Read(1, 1e6)
	if err != nil || uint64(len(got)) != r.Events || len(got) > len(want) {
		t.Fatalf("%s at %d: salvaged %d, read %d, %v", what, at, r.Events, len(got), err)
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("%s at %d: salvaged %+v, not %+v", what, at, got[i], want[i])
		}
	}
	if m := fresh.Meta(); m.Rack != "r1" || m.Salvaged != r.Events || m.SalvagedFrom != dir {
		t.Fatalf("%s at %d: %+v", what, at, m)
	}
	if err := fresh.Close(); err != nil {
		t.Fatal(err)
	}
	return true, r
}

func TestAnyFlippedByte(t *testing.T) {
	_, file, want := written(t, 120)
	used := inUse(t, file)
	caught, all := 0, 0
	var kept uint64
	for at := 0; at < len(used); at += 149 {
		flipped := bytes.Clone(file)
		flipped[at] ^= 0x55
		damaged, r := judge(t, "flipped byte", at, flipped, want)
		if damaged {
			caught, kept = caught+1, kept+r.Events
		}
		all++
	}
	t.Logf("%d of %d flipped bytes mattered; salvage kept %d of %d events on average", caught, all, kept/uint64(max(caught, 1)), len(want))
	if caught == 0 {
		t.Error("nothing was ever caught")
	}
}

// TestAnyFlippedByteOfAHeader: without a check of both, bbolt would go back by
// one transaction in silence.
func TestAnyFlippedByteOfAHeader(t *testing.T) {
	_, file, want := written(t, 20)
	for at := range headerSize {
		for page := range 2 {
			flipped := bytes.Clone(file)
			where := page*os.Getpagesize() + pageHeader + at
			flipped[where] ^= 1
			if damaged, r := judge(t, "flipped header", where, flipped, want); !damaged || r.Events != uint64(len(want)) {
				t.Errorf("byte %d: damaged %v, %d events salvaged of %d", where, damaged, r.Events, len(want))
			}
		}
	}
}

func TestZeroedPages(t *testing.T) {
	_, file, want := written(t, 120)
	size := os.Getpagesize()
	caught := 0
	for at := 0; at < len(inUse(t, file)); at += size {
		zeroed := bytes.Clone(file)
		clear(zeroed[at : at+size])
		if damaged, _ := judge(t, "zeroed page", at, zeroed, want); damaged {
			caught++
		}
	}
	if caught < 4 { // two headers, the list of free pages, the root
		t.Errorf("only %d pages mattered", caught)
	}
}

func TestTruncatedFile(t *testing.T) {
	_, file, want := written(t, 120)
	used := len(inUse(t, file))
	for at := 1; at < used; at += 1777 {
		if damaged, _ := judge(t, "cut off", at, file[:at], want); !damaged {
			t.Errorf("cut off at %d: opened", at)
		}
	}
	if damaged, _ := judge(t, "empty", 0, nil, want); !damaged {
		t.Error("an empty file was opened")
	}
	if damaged, _ := judge(t, "no journal", 0, bytes.Repeat([]byte("not a journal\n"), 5000), want); !damaged {
		t.Error("a text was opened")
	}
}

// edit changes a journal through bbolt, so that only our own checks can tell.
func edit(t *testing.T, file []byte, fn func(tx *bbolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edited")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := openDB(path, DefaultLockWait)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
	edited, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return edited
}

func TestEditedJournal(t *testing.T) {
	_, file, _ := written(t, 30)
	events := func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket([]byte(eventsBucket)) }
	for name, c := range map[string]struct {
		fn  func(tx *bbolt.Tx) error
		seq uint64
		why string
	}{
		"a record was removed":      {func(tx *bbolt.Tx) error { return events(tx).Delete(keyOf(10)) }, 10, "event 10 is missing"},
		"the last one was removed":  {func(tx *bbolt.Tx) error { return events(tx).Delete(keyOf(30)) }, 30, "newest events are missing"},
		"the first one was removed": {func(tx *bbolt.Tx) error { return events(tx).Delete(keyOf(1)) }, 1, "event 1 is missing"},
		"two were exchanged": {func(tx *bbolt.Tx) error {
			a, b := bytes.Clone(events(tx).Get(keyOf(10))), bytes.Clone(events(tx).Get(keyOf(11)))
			return errors.Join(events(tx).Put(keyOf(10), b), events(tx).Put(keyOf(11), a))
		}, 10, "its key says 10"},
		"one was rewritten with its checksum": {func(tx *bbolt.Tx) error {
			payload, _, err := encode(event(99))
			if err != nil {
				return err
			}
			old, err := openRecord(keyOf(10), events(tx).Get(keyOf(10)))
			if err != nil {
				return err
			}
			sealed, err := sealRecord(old.prev, payload, 10, old.event.Time)
			return errors.Join(err, events(tx).Put(keyOf(10), sealed))
		}, 11, "chain of hashes"},
		"a bucket was added":         {func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("more")); return err }, 1, "no journal has"},
		"the meta data were removed": {func(tx *bbolt.Tx) error { return tx.Bucket([]byte(journalBucket)).Delete([]byte(metaKey)) }, 31, "meta data are missing"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, dbFile), edit(t, file, c.fn), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{Rack: "r1"})
		var d *Damaged
		if !errors.As(err, &d) || d.Seq != c.seq || !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: %v", name, err)
		}
		r, err := Salvage(dir, filepath.Join(dir, "out"))
		if name == "one was rewritten with its checksum" && (err != nil || r.Events != 10 || r.Loose != 20) {
			t.Errorf("salvage took what is not linked: %+v %v", r, err)
		}
	}
}

// TestUsedPageSaidToBeFree: bbolt would open it and write over events.
func TestUsedPageSaidToBeFree(t *testing.T) {
	_, file, want := written(t, 30)
	f, err := openPages(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.page(f.header.freelist)
	if err != nil || p.count == 0 {
		t.Fatalf("%d free pages, %v", p.count, err)
	}
	order.PutUint64(file[int(p.id)*f.pageSize+pageHeader:], f.root)
	if damaged, r := judge(t, "free and used", int(p.id), file, want); !damaged || r.Events != 30 {
		t.Errorf("damaged %v, %+v", damaged, r)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	_, file, _ := written(t, 3)
	newer := func(b []byte) []byte {
		b = bytes.Clone(b[:len(b)-crcSize])
		b[0] = 2
		sealed := seal(b[1:])
		sealed[0] = 2
		body := sealed[:len(sealed)-crcSize]
		return binary.BigEndian.AppendUint32(body, crcOf(body))
	}
	for name, fn := range map[string]func(tx *bbolt.Tx) error{
		"record": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(eventsBucket))
			return b.Put(keyOf(2), newer(b.Get(keyOf(2))))
		},
		"file": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(journalBucket))
			return b.Put([]byte(metaKey), newer(b.Get([]byte(metaKey))))
		},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, dbFile), edit(t, file, fn), 0o600); err != nil {
			t.Fatal(err)
		}
		var d *Damaged
		if _, err := Open(dir, Options{Rack: "r1"}); !errors.Is(err, ErrNewer) || errors.As(err, &d) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSalvageSaysWhatIsLoose: an event in the middle is lost; what comes after it
// is told, and is not taken for proven.
func TestSalvageSaysWhatIsLoose(t *testing.T) {
	_, file, want := written(t, 400)
	f, err := openPages(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	var element []byte // event 200 as it stands in a page: the key, then the value
	edit(t, file, func(tx *bbolt.Tx) error {
		element = slices.Concat(keyOf(200), tx.Bucket([]byte(eventsBucket)).Get(keyOf(200)))
		return nil
	})
	if bytes.Count(file, element) == 0 {
		t.Fatal("event 200 is not in the file")
	}
	file = bytes.ReplaceAll(file, element, make([]byte, len(element))) // every copy
	damaged, r := judge(t, "lost event", int(f.high), file, want)
	if !damaged || r.Events != 199 || r.Loose != 200 || r.LooseIn != [2]uint64{201, 400} || r.Meta.Run != "run-1" {
		t.Errorf("damaged %v, %+v", damaged, r)
	}
}

func TestSalvageIntoADirectoryInUse(t *testing.T) {
	dir, _, _ := written(t, 1)
	if _, err := Salvage(dir, dir); err == nil {
		t.Error("it wrote over the damaged journal")
	}
	if r, err := Salvage(dir, filepath.Join(t.TempDir(), "out")); err != nil || r.Events != 1 || r.Damage != nil {
		t.Errorf("a sound journal is copied: %+v %v", r, err)
	}
}
