package journal

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of writing.
const (
	queueLen  = 1024 // calls of Append that wait; further ones wait to be queued
	groupSize = 4096 // events that one commit takes, more only from one call
	// maxAppend is how many events one Append takes.
	maxAppend = 4096
)

// ErrBroken says that a journal could not be written; it is in the first such
// error and in every one after it.
var ErrBroken = errors.New("the journal cannot be written")

// request is one call of Append.
type request struct {
	payloads [][]byte     // encoded, without sequence and time
	events   []rack.Event // as they will be read back; with sequence and time once done
	done     chan error   // holds one
}

// Append implements Log. All callers that wait while a commit is under way share
// the next one; a lone caller waits for nobody. An event that would not read back
// as it is, or is too large, is refused before anything is written. Errors:
// ErrClosed, an event's own, or ErrBroken with the first write error of this store.
func (s *Store) Append(events ...rack.Event) ([]rack.Event, error) {
	if len(events) > maxAppend {
		return nil, fmt.Errorf("journal %d events at once: at most %d", len(events), maxAppend)
	}
	r := &request{payloads: make([][]byte, len(events)), events: make([]rack.Event, len(events)), done: make(chan error, 1)}
	for i, e := range events {
		var err error
		if r.payloads[i], r.events[i], err = encode(e); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	closed, broken := s.closed, s.broken
	s.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case broken != nil:
		return nil, broken
	case len(events) == 0:
		return nil, nil
	}
	select {
	case s.queue <- r:
	case <-s.stop:
		return nil, ErrClosed
	}
	select {
	case err := <-r.done:
		return r.result(events, err)
	case <-s.stopped:
	}
	select { // the committer ended; did it get to this one?
	case err := <-r.done:
		return r.result(events, err)
	default:
		return nil, ErrClosed
	}
}

// result is the caller's own events with what the journal gave them.
func (r *request) result(events []rack.Event, err error) ([]rack.Event, error) {
	if err != nil {
		return nil, err
	}
	out := make([]rack.Event, len(events))
	for i, e := range events {
		e.Seq, e.Time = r.events[i].Seq, r.events[i].Time
		out[i] = e
	}
	return out, nil
}

// commitAll is the committer: the one goroutine that writes. It ends with Close.
func (s *Store) commitAll() {
	defer close(s.stopped)
	for {
		select {
		case <-s.stop:
			return
		case r := <-s.queue:
			group := s.gather(r)
			err := s.commit(group)
			for _, r := range group {
				r.done <- err
			}
			if s.hook != nil {
				s.hook()
			}
		}
	}
}

// gather takes along what else is queued. The callers of the last commit are
// runnable by now; yielding once lets them queue their next events, which
// fills the groups and costs a lone caller nothing to speak of.
func (s *Store) gather(first *request) []*request {
	runtime.Gosched()
	group, events := []*request{first}, len(first.events)
	for events < groupSize {
		select {
		case r := <-s.queue:
			group, events = append(group, r), events+len(r.events)
		default:
			return group
		}
	}
	return group
}

// commit makes a group durable, all of it or nothing.
func (s *Store) commit(group []*request) error {
	s.mu.Lock()
	broken := s.broken
	s.mu.Unlock()
	if broken != nil {
		return broken
	}
	now := time.Now().UTC().Round(0)
	if now.Before(s.lastTime) {
		now = s.lastTime
	}
	next := s.head
	err := guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) (err error) {
			next, err = put(tx, next, now, group)
			return err
		})
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.broken = fmt.Errorf("%w (in %s): %w. Nothing more is written to it; make room on the disk or repair it, then start again: the run goes on where it was", ErrBroken, s.dir, err)
		return s.broken
	}
	s.head, s.lastTime, s.last = next, now, next.seq
	for _, r := range group {
		for _, e := range r.events {
			s.remember(e)
		}
	}
	close(s.grown)
	s.grown = make(chan struct{})
	return nil
}

// put writes a group into a transaction and returns the new end of the chain.
func put(tx *bbolt.Tx, end head, at time.Time, group []*request) (head, error) {
	events := tx.Bucket([]byte(eventsBucket))
	events.FillPercent = 1 // keys only grow: full pages need no room
	for _, r := range group {
		for i, payload := range r.payloads {
			e := &r.events[i]
			e.Seq, e.Time = end.seq+1, at
			sealed, err := sealRecord(end.hash, payload, e.Seq, e.Time)
			if err != nil {
				return end, err
			}
			if err := events.Put(keyOf(e.Seq), sealed); err != nil {
				return end, err
			}
			end = head{seq: e.Seq, hash: hashOf(sealed)}
		}
	}
	return end, tx.Bucket([]byte(journalBucket)).Put([]byte(headKey), end.seal())
}

// remember puts an event into the tail. The caller holds mu, or the only reference.
func (s *Store) remember(e rack.Event) {
	if len(s.tail) >= 2*tailCache {
		s.tail = append(make([]rack.Event, 0, 2*tailCache), s.tail[len(s.tail)-tailCache+1:]...)
	}
	s.tail = append(s.tail, e)
}
