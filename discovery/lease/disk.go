package lease

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

const (
	// lockWait is how long Open waits for another process that has the file.
	lockWait = 2 * time.Second
	// version of the file's layout.
	version = 1
	// least is how many leases the file holds before outdated ones are cleared away.
	least = 256
	// renewed is how many leases one commit takes when a file is written anew.
	renewed = 4096
	// leastFile is the least size of a database, its two meta pages. An empty file
	// would be begun anew by bbolt, which cannot: it only reads.
	leastFile = 2 * 4096
	// cleared is how many old records one commit clears away at most.
	cleared = 4
)

var (
	metaBucket   = []byte("meta")
	recordBucket = []byte("records")
	versionKey   = []byte("version")
)

// ErrDamaged says that a lease file is not what was written. It is wrapped with
// what to do.
var ErrDamaged = errors.New("the lease file is damaged")

// disk is the file of a store. It is used under the store's lock.
type disk struct {
	path   string
	lock   *flock.Flock
	db     *bbolt.DB // nil once it is closed
	last   uint64    // number of the newest record
	live   []record  // what the file holds, oldest first
	stored int       // leases in all records
	buf    []byte

	commits, failed uint64
}

// record is one value of the file.
type record struct {
	number  uint64
	entries []*entry // as written; those that were written again since are outdated
}

// Open opens the lease file, or creates it. An old file is read and checked as a
// whole, and what counts of it is written to a new file that takes its place: bbolt
// panics on a damaged page, and trusts a damaged list of free pages. Errors:
// another process has it, ErrDamaged, one of the file system; each says what to do.
func Open(path string, o Options) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of the lease file: %w; give a state directory that can be written", err)
	}
	s := Memory(o)
	s.disk = &disk{path: path, lock: flock.New(path + ".lock")}
	ctx, stop := context.WithTimeout(context.Background(), lockWait)
	defer stop()
	switch ok, err := s.disk.lock.TryLockContext(ctx, lockWait/20); {
	case errors.Is(err, context.DeadlineExceeded), err == nil && !ok:
		return nil, fmt.Errorf("open %s: another process uses it; end the other agent of this rack first", path)
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	err := s.read(path)
	if err == nil {
		err = s.renew(path)
	}
	if err != nil {
		return nil, errors.Join(err, s.disk.lock.Close())
	}
	return s, nil
}

// read takes over what an old file holds; without one there is nothing to do.
func (s *Store) read(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var db *bbolt.DB
	err = guard(func() (err error) {
		if info != nil && info.Size() < leastFile {
			return fmt.Errorf("%w: it has only %d bytes", errRecord, info.Size())
		}
		if db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, ReadOnly: true}); err != nil {
			return err
		}
		return db.View(s.load)
	})
	if db != nil {
		err = errors.Join(err, guard(db.Close))
	}
	for _, damage := range []error{errRecord, errGuard, bberrors.ErrInvalid, bberrors.ErrChecksum, bberrors.ErrVersionMismatch} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w: %s: %w; move it away and start again: pre-determined addresses stay as they are, but an address of a pool may be given out "+
				"again while its lease runs, so start an hour later or give another pool", ErrDamaged, path, err)
		}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// load reads every record of a file.
func (s *Store) load(tx *bbolt.Tx) error {
	meta, records := tx.Bucket(metaBucket), tx.Bucket(recordBucket)
	if meta == nil || records == nil {
		return fmt.Errorf("%w: it is not a lease file", errRecord)
	}
	if v := meta.Get(versionKey); len(v) != 1 || v[0] != version {
		return fmt.Errorf("it was written by a newer rackreach: use that one, or move the file away")
	}
	last := uint64(0)
	err := records.ForEach(func(k, v []byte) error {
		if len(k) != 8 {
			return fmt.Errorf("%w: its key has %d bytes", errRecord, len(k))
		}
		n := binary.BigEndian.Uint64(k)
		if n <= last { // a damaged page may lead round in a circle
			return fmt.Errorf("%w: number %d comes after %d", errRecord, n, last)
		}
		last = n
		return readRecord(v, n, s.restore)
	})
	if err != nil {
		return err
	}
	s.index(time.Now().Add(-memory))
	return nil
}

// restore takes over a lease as a record has it.
func (s *Store) restore(l Lease) {
	e := s.byAddr[number(l.Address)]
	if e == nil {
		e = &entry{}
		s.byAddr[number(l.Address)] = e
	}
	e.Lease = l
}

// index builds the other indexes and forgets what ended long ago. Of several
// leases of one holder the bound one counts, then the one that ended last: the
// order of the records says nothing, since old ones are moved to the end.
func (s *Store) index(forget time.Time) {
	for n, e := range s.byAddr {
		if e.Ends.Before(forget) {
			delete(s.byAddr, n)
			continue
		}
		newest := s.byHolder[e.Holder]
		s.own(e)
		if newest != nil && (newest.State < e.State || newest.State == e.State && newest.Ends.After(e.Ends)) {
			s.byHolder[e.Holder] = newest
		}
	}
}

// renew writes a new file that holds what the store does, and puts it into place.
func (s *Store) renew(path string) error {
	d, fresh := s.disk, path+".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an earlier start left: %w", err)
	}
	db, err := bbolt.Open(fresh, 0o600, &bbolt.Options{Timeout: lockWait})
	if err != nil {
		return fmt.Errorf("create %s: %w; make room on the disk, or give a state directory that can be written", fresh, err)
	}
	d.db = db
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		_, err = tx.CreateBucket(recordBucket)
		return errors.Join(err, meta.Put(versionKey, []byte{version}))
	})
	all := make([]*entry, 0, len(s.byAddr))
	for _, e := range s.byAddr {
		all = append(all, e)
	}
	for some := range slices.Chunk(all, renewed) {
		if err == nil {
			err = d.commit(some, len(all))
		}
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	d.commits = 0
	if err != nil {
		return errors.Join(fmt.Errorf("write %s anew: %w; make room on the disk, or give a state directory that can be written", path, err), db.Close())
	}
	return nil
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Stats is what a store has done since it was opened.
type Stats struct {
	Commits uint64 // that are durable
	Syncs   uint64 // of the disk, for these: bbolt syncs a commit's pages, then its meta page
	Failed  uint64 // commits that are not durable; nothing of them was acknowledged
	Leases  int    // remembered, whatever became of them
	Stored  int    // in the file, outdated ones included
}

// syncsPerCommit: bbolt's Tx.write and Tx.writeMeta call fdatasync once each.
const syncsPerCommit = 2

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Leases: len(s.byAddr)}
	if d := s.disk; d != nil {
		out.Commits, out.Failed, out.Stored = d.commits, d.failed, d.stored
		out.Syncs = syncsPerCommit * d.commits
	}
	return out
}

// Close closes the file. What was not committed is forgotten.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk == nil || s.disk.db == nil {
		return nil
	}
	db := s.disk.db
	s.disk.db = nil
	if err := errors.Join(guard(db.Close), s.disk.lock.Close()); err != nil {
		return fmt.Errorf("close %s: %w", s.disk.path, err)
	}
	return nil
}

// commit writes the leases that changed as one record, and clears away old ones.
// live is how many leases there are.
func (d *disk) commit(dirty []*entry, live int) error {
	if d.db == nil {
		return os.ErrClosed
	}
	next := d.last + 1
	old, moved := d.outdated(len(dirty), live)
	entries := append(append(make([]*entry, 0, len(dirty)+len(moved)), dirty...), moved...)
	d.buf = d.buf[:0]
	for _, e := range entries {
		d.buf = appendLease(d.buf, &e.Lease)
	}
	d.buf = seal(d.buf, next)
	err := guard(func() error {
		return d.db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket(recordBucket)
			b.FillPercent = 1 // keys only grow: full pages need no room
			for _, r := range d.live[:old] {
				if err := b.Delete(key(r.number)); err != nil {
					return err
				}
			}
			return b.Put(key(next), d.buf)
		})
	})
	if err != nil {
		d.failed++
		return err
	}
	d.commits++
	for _, e := range entries {
		e.record = next
	}
	for i, r := range d.live[:old] {
		d.stored -= len(r.entries)
		d.live[i] = record{}
	}
	d.live = append(d.live[old:], record{next, entries})
	d.last, d.stored = next, d.stored+len(entries)
	return nil
}

// outdated is how many of the oldest records are cleared away by the next commit,
// and the leases of them that count still. Nothing is, unless more than half of
// what the file holds is outdated: then clearing a record away frees more, on
// average, than it moves.
func (d *disk) outdated(adding, live int) (n int, moved []*entry) {
	stored := d.stored + adding
	for _, r := range d.live[:min(len(d.live), cleared)] {
		if stored <= least || stored <= 2*live {
			break
		}
		stored -= len(r.entries)
		for _, e := range r.entries {
			if e.record == r.number && !e.dirty {
				moved = append(moved, e)
				stored++
			}
		}
		n++
	}
	return n, moved
}

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// errGuard says that bbolt gave up on what the file holds.
var errGuard = errors.New("the database failed")

// guard turns what bbolt does about a damaged page, a panic or a memory fault,
// into an error.
func guard(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errGuard, p)
		}
	}()
	return f()
}
