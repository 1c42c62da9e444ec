package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/rackreach/rackreach/internal/durable"
)

// Options are how a store is used.
type Options struct {
	// Limit is how many bytes it may hold, blobs and beginnings; 0: as many as the
	// disk takes. A file that was opened keeps its blocks until it is closed, also
	// when its blob has made room.
	Limit int64
	// Shared leaves files readable by everybody: a bundle is no secret. Otherwise
	// only their owner reads them.
	Shared bool
	// Wait is how long Open waits for another process to let go of the store; 0:
	// not at all.
	Wait time.Duration
}

// lockPoll is how often a lock that is held is tried again.
const lockPoll = 20 * time.Millisecond

// Store is a directory of blobs.
type Store struct {
	dir  string
	o    Options
	lock *flock.Flock

	mu      sync.Mutex
	held    map[Digest]*entry
	begun   map[Digest]int64    // size of beginnings that nobody is writing
	flights map[Digest]*flight  // pulls
	pins    map[string][]Digest // by owner
	clock   uint64              // counts uses
	total   int64               // bytes of held and begun
	booked  int64               // bytes of the blobs that are pulled; they are in neither of the above
	owed    atomic.Int64        // bytes that pulls have yet to write
}

// entry is a blob that is there.
type entry struct {
	size int64
	used uint64 // Store.clock when it was used last
}

// OpenStore opens the store in a directory, and makes it where there is none. What
// a killed process left half made goes away, but for beginnings. Errors: ErrInUse,
// wrapped; those of the file system.
func OpenStore(ctx context.Context, dir string, o Options) (_ *Store, err error) {
	s := &Store{dir: dir, o: o, held: map[Digest]*entry{}, begun: map[Digest]int64{}, flights: map[Digest]*flight{}, pins: map[string][]Digest{}}
	for _, d := range []string{s.blobs(), s.ingest()} {
		if err := os.MkdirAll(d, s.mode(0o755)); err != nil {
			return nil, fmt.Errorf("open the store of blobs: %w", err)
		}
	}
	s.lock = flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	if err := s.acquire(ctx); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := errors.Join(s.find(), s.tidy()); err != nil {
		return nil, errors.Join(fmt.Errorf("open the store of blobs: %w", err), s.lock.Close())
	}
	return s, nil
}

func (s *Store) acquire(ctx context.Context) error {
	ok, err := s.lock.TryLock() // at least once, however late it is
	if !ok && err == nil && s.o.Wait > 0 {
		ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
		defer cancel()
		ok, err = s.lock.TryLockContext(ctx, lockPoll)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), err == nil && !ok:
		return fmt.Errorf("%s: %w: wait until it is done, or give another directory", s.dir, ErrInUse)
	case err != nil:
		return fmt.Errorf("lock %s: %w", s.dir, err)
	}
	return nil
}

// Close lets other processes in. Files that were opened stay open.
func (s *Store) Close() error { return s.lock.Close() }

// Dir is the directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) blobs() string             { return filepath.Join(s.dir, "blobs", "sha256") }
func (s *Store) ingest() string            { return filepath.Join(s.dir, "ingest") }
func (s *Store) path(d Digest) string      { return filepath.Join(s.blobs(), d.Hex()) }
func (s *Store) beginning(d Digest) string { return filepath.Join(s.ingest(), d.Hex()) }

// mode is a mode for everybody, or what is left of it for the owner.
func (s *Store) mode(m fs.FileMode) fs.FileMode {
	if s.o.Shared {
		return m
	}
	return m & 0o700
}

// find learns which blobs there are; the order of their last use is that of their
// times of access.
func (s *Store) find() error {
	entries, err := os.ReadDir(s.blobs())
	if err != nil {
		return err
	}
	type blob struct {
		d Digest
		i fs.FileInfo
	}
	var all []blob
	for _, e := range entries {
		d, err := ParseDigest(algorithm + e.Name())
		if err != nil || !e.Type().IsRegular() {
			continue // not ours
		}
		i, err := e.Info()
		if err != nil {
			return err
		}
		all = append(all, blob{d, i})
	}
	slices.SortFunc(all, func(a, b blob) int { return accessed(a.i).Compare(accessed(b.i)) })
	for _, b := range all {
		s.clock++
		s.held[b.d] = &entry{b.i.Size(), s.clock}
		s.total += b.i.Size()
	}
	return nil
}

// tidy removes what cannot be gone on with, and learns of the rest.
func (s *Store) tidy() error {
	entries, err := os.ReadDir(s.ingest())
	if err != nil {
		return err
	}
	for _, e := range entries {
		d, bad := ParseDigest(algorithm + e.Name())
		i, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case strings.HasPrefix(e.Name(), newPrefix), bad == nil && s.held[d] != nil:
			if err := os.Remove(filepath.Join(s.ingest(), e.Name())); err != nil {
				return err
			}
		case bad == nil && e.Type().IsRegular():
			s.begun[d] = i.Size()
			s.total += i.Size()
		}
	}
	return nil
}

// Open opens a blob; whoever calls closes it. Error: ErrNone, wrapped.
func (s *Store) Open(d Digest) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.held[d]
	if !ok {
		return nil, fmt.Errorf("%s: %w", d, ErrNone)
	}
	f, err := os.Open(s.path(d))
	switch {
	case errors.Is(err, fs.ErrNotExist): // somebody has removed it by hand
		s.forget(d)
		return nil, fmt.Errorf("%s: %w", d, ErrNone)
	case err != nil:
		return nil, err
	}
	s.clock++
	e.used = s.clock
	if s.o.Limit > 0 {
		// The order after a restart is a matter of taste. Its other time stays: who has
		// checked a blob knows by it that nobody has changed it.
		_ = os.Chtimes(s.path(d), time.Now(), time.Time{})
	}
	return f, nil
}

// Size is how large a blob is, in bytes. Error: ErrNone, wrapped.
func (s *Store) Size(d Digest) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.held[d]; ok {
		return e.size, nil
	}
	return 0, fmt.Errorf("%s: %w", d, ErrNone)
}

// All lists the blobs, sorted.
func (s *Store) All() []Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Digest, 0, len(s.held))
	for d := range s.held {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

// Used is how many bytes the store holds, beginnings included.
func (s *Store) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Remove removes a blob; one that is not there is no error.
func (s *Store) Remove(d Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(d)
}

func (s *Store) remove(d Digest) error {
	if err := os.Remove(s.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.forget(d)
	return nil
}

func (s *Store) forget(d Digest) {
	if e, ok := s.held[d]; ok {
		s.total -= e.size
		delete(s.held, d)
	}
}

// Clear removes the beginnings of blobs that nobody is writing.
func (s *Store) Clear() (removed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, n := range s.begun {
		if err := s.drop(d); err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// drop removes a beginning.
func (s *Store) drop(d Digest) error {
	if err := os.Remove(s.beginning(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.total -= s.begun[d]
	delete(s.begun, d)
	return nil
}

// publish gives a file that is whole and checked its name.
func (s *Store) publish(from string, d Digest, size int64) error {
	if err := os.Chmod(from, s.mode(0o444)); err != nil {
		return err
	}
	if err := os.Rename(from, s.path(d)); err != nil {
		return err
	}
	if err := durable.SyncDir(s.blobs()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	if e, twice := s.held[d]; twice {
		e.used = s.clock
		return nil
	}
	s.held[d] = &entry{size, s.clock}
	s.total += size
	return nil
}
