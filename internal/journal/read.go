package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/rackreach/rackreach/internal/rack"
)

// Read implements Log. The newest events come from memory, older ones from disk,
// each checked again. Errors: a *Damaged, one of the file system; of a store that
// was closed also *InUse, when another process writes to it by now.
func (s *Store) Read(from uint64, limit int) ([]rack.Event, error) {
	from = max(from, 1)
	s.mu.Lock()
	last, closed := s.last, s.closed
	if from > last || limit <= 0 {
		s.mu.Unlock()
		return nil, nil
	}
	if first := last - uint64(len(s.tail)) + 1; from >= first {
		start := from - first
		out := append([]rack.Event(nil), s.tail[start:min(uint64(len(s.tail)), start+uint64(limit))]...)
		s.mu.Unlock()
		return out, nil
	}
	s.mu.Unlock()
	if !closed {
		out, err := s.readOpen(from, last, limit)
		if !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
			return out, err
		}
	}
	return s.readClosed(from, last, limit)
}

// reading collects the events of one Read.
type reading struct {
	file  string
	next  uint64 // the sequence that comes next
	last  uint64 // the last one wanted
	limit int
	out   []rack.Event
}

func (r *reading) done() bool { return r.next > r.last || len(r.out) == r.limit }

func (r *reading) take(key, value []byte) error {
	rec, err := openRecord(key, value)
	switch {
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("read event %d of %s: %w", r.next, r.file, err)
	case err != nil:
		return &Damaged{File: r.file, Seq: r.next, Why: fmt.Sprintf("event %d cannot be read: %v", r.next, err), err: err}
	case rec.event.Seq != r.next:
		return &Damaged{File: r.file, Seq: r.next, Why: fmt.Sprintf("event %d is missing", r.next)}
	}
	r.out, r.next = append(r.out, rec.event), r.next+1
	return nil
}

// readOpen reads through bbolt, which keeps pages in place that a reader sees.
func (s *Store) readOpen(from, last uint64, limit int) ([]rack.Event, error) {
	r := &reading{file: filepath.Join(s.dir, dbFile), next: from, last: last, limit: limit}
	err := guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket([]byte(eventsBucket)).Cursor()
			for key, value := c.Seek(keyOf(from)); !r.done(); key, value = c.Next() {
				if key == nil {
					return &Damaged{File: r.file, Seq: r.next, Why: fmt.Sprintf("event %d is missing", r.next)}
				}
				if err := r.take(key, value); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	return r.out, nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough was read")

// readClosed reads what a follower has not seen yet from a store that was closed.
func (s *Store) readClosed(from, last uint64, limit int) ([]rack.Event, error) {
	<-s.stopped
	r := &reading{file: filepath.Join(s.dir, dbFile), next: from, last: last, limit: limit}
	unlock, err := lockToRead(s.dir, DefaultLockWait)
	if err != nil {
		return nil, err
	}
	err = readFile(r.file, from, func(key, value []byte) error {
		if r.done() {
			return errEnough
		}
		return r.take(key, value)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, errors.Join(fmt.Errorf("read the closed journal: %w", err), unlock())
	}
	return r.out, unlock()
}

// Wait implements Log.
func (s *Store) Wait(ctx context.Context, from uint64) error {
	for {
		ended := false
		select {
		case <-s.stopped: // nothing can come any more
			ended = true
		default:
		}
		s.mu.Lock()
		last, grown, closed := s.last, s.grown, s.closed
		s.mu.Unlock()
		switch {
		case last >= max(from, 1):
			return nil
		case ended:
			return ErrClosed
		case closed:
			grown = s.stopped
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
