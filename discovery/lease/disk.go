package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

const (
	// lockWait is how long Open waits for another process that has the file.
	lockWait = 2 * time.Second
	// least is how many leases the file holds before it is written anew without those
	// that are outdated, which keeps clients waiting: some 10 MiB. A file that is opened
	// is written anew in any case.
	least = 1 << 17
	// renewed is how many leases one record takes when a file is written anew.
	renewed = 4096
)

// ErrDamaged says that a lease file is not what was written. It is wrapped with
// what to do.
var ErrDamaged = errors.New("the lease file is damaged")

// disk is the file of a store. Who has the store's lock of writing uses it; what Stats
// tells of is changed under the other lock besides.
type disk struct {
	path   string
	lock   *flock.Flock
	file   *file // nil once it is closed, or not known which one it is
	stored int   // leases in all records
	least  int   // that it holds when it is written anew
	fewer  int   // least, or more after that failed
	sync   func(*os.File) error
	place  func(dir string) error // makes a rename in a directory durable
	buf    []byte
	closed bool

	commits, failed uint64
	syncs           atomic.Uint64
}

// record is what a commit writes.
type record struct {
	leases []byte   // that changed
	count  int      // how many they are
	all    [][]byte // of the store, in several records; empty unless the file is to be written anew
	total  int
}

// Open opens the lease file, or creates it. An old file is read and checked as a
// whole, and what counts of it is written to a new file that takes its place. Errors:
// another process has it, ErrDamaged, one of the file system; each says what to do.
func Open(path string, o Options) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of the lease file: %w; give a state directory that can be written", err)
	}
	s := Memory(o)
	s.disk = &disk{path: path, lock: flock.New(path + ".lock"), least: least, sync: o.Sync, place: syncDir}
	if o.Sync == nil {
		s.disk.sync = datasync
	}
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
		s.disk.stored = len(s.byAddr)
		if err = s.disk.renew(s.all()); err != nil {
			err = fmt.Errorf("write %s anew: %w; make room on the disk, or give a state directory that can be written", path, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.disk.lock.Close())
	}
	s.disk.syncs.Store(0)
	return s, nil
}

// read takes over what an old file holds; without one there is nothing to do.
func (s *Store) read(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	switch err := readFile(b, s.restore); {
	case errors.Is(err, errRecord):
		return fmt.Errorf("%w: %s: %w; move it away and start again: pre-determined addresses stay as they are, but an address of a pool may be given out "+
			"again while its lease runs, so start an hour later or give another pool", ErrDamaged, path, err)
	case err != nil:
		return fmt.Errorf("read %s: %w", path, err)
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
// order of the records says nothing, since a file that was written anew has none.
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

// renew writes a new file of records, puts it into place, and goes on with it. After
// an error the disk goes on with the file that it had, if it can be told that this one
// is the file.
func (d *disk) renew(records [][]byte) (err error) {
	fresh := d.path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an earlier start left: %w", err)
	}
	f, err := create(fresh, d)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close(false))
		}
	}()
	for _, leases := range records {
		if err := f.append(leases); err != nil {
			return err
		}
	}
	if err := f.sync(); err != nil {
		return err
	}
	if err := os.Rename(fresh, d.path); err != nil {
		return err
	}
	if d.file != nil {
		_ = d.file.close(false) // nobody reads it any more
	}
	if err := d.place(filepath.Dir(d.path)); err != nil {
		d.file = nil // which file a power cut leaves is not known: the next commit writes another
		return err
	}
	d.file, d.fewer = f, d.least
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
	Syncs   uint64 // of the disk: one for each commit, and those with which the file grows or is written anew
	Failed  uint64 // commits that are not durable; nothing of them was acknowledged
	Leases  int    // remembered, whatever became of them
	Stored  int    // in the file, outdated ones included
}

// Stats may be called at any time.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Leases: len(s.byAddr)}
	if d := s.disk; d != nil {
		out.Commits, out.Syncs, out.Failed, out.Stored = d.commits, d.syncs.Load(), d.failed, d.stored
	}
	return out
}

// Close closes the file. What was not committed is forgotten.
func (s *Store) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.disk == nil || s.disk.closed {
		return nil
	}
	var err error
	if s.disk.closed = true; s.disk.file != nil {
		err = s.disk.file.close(true)
	}
	s.disk.file = nil
	if err := errors.Join(err, s.disk.lock.Close()); err != nil {
		return fmt.Errorf("close %s: %w", s.disk.path, err)
	}
	return nil
}

// record is what the store has to commit. Most of what the file holds may be outdated
// by then: the file is written anew, with everything that the store has. So it is where
// which file counts is not known.
func (d *disk) record(s *Store) record {
	r := record{leases: appendLeases(d.buf[:0], s.leaving), count: len(s.leaving), total: len(s.byAddr)}
	d.buf = r.leases
	if d.file == nil || d.stored+r.count >= max(d.fewer, 2*r.total) {
		r.all = s.all()
	}
	return r
}

// all is every lease of the store.
func (s *Store) all() (records [][]byte) {
	entries := slices.Collect(maps.Values(s.byAddr))
	for some := range slices.Chunk(entries, renewed) {
		records = append(records, appendLeases(nil, some))
	}
	return records
}

func appendLeases(b []byte, entries []*entry) []byte {
	for _, e := range entries {
		b = appendLease(b, &e.Lease)
	}
	return b
}

// commit makes a record durable and returns how many leases the file holds then. When
// the file cannot be written anew, which is no reason to give up, that is tried again
// once it holds twice as much; where there is no file that can be gone on with, by the
// next commit.
func (d *disk) commit(r record) (stored int, err error) {
	if d.closed {
		return 0, os.ErrClosed
	}
	if len(r.all) > 0 {
		if err = d.renew(r.all); err == nil {
			return r.total, nil
		}
		d.fewer = 2 * (d.stored + r.count)
	}
	if d.file == nil {
		return 0, cmp.Or(err, os.ErrClosed)
	}
	return d.stored + r.count, d.file.commit(r.leases)
}
