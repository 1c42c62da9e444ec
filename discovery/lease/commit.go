package lease

import (
	"fmt"
	"slices"
)

// Durable reports whether a Commit syncs the disk.
func (s *Store) Durable() bool { return s.disk != nil }

// Changed reports whether there is anything to commit.
func (s *Store) Changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.dirty) > 0
}

// Commit makes the changes that were made before it durable, all of them or none. The
// store may be used and changed meanwhile: what is changed then is for the next Commit.
// On an error all changes since the last Commit that went well are undone, also those
// that were made meanwhile, since they rest on the others, and the next Commit tries
// again; the error says what to do.
func (s *Store) Commit() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	r, changes := s.begin()
	if changes == 0 {
		return nil
	}
	stored, err := 0, error(nil)
	if s.disk != nil {
		stored, err = s.disk.commit(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.disk.failed++
		s.rollback()
		return fmt.Errorf("leases are not written to %s, so no address is acknowledged: %w; make room on the disk or repair it: the next request tries again", s.disk.path, err)
	case s.disk != nil:
		s.disk.commits, s.disk.stored = s.disk.commits+1, stored
	}
	s.kept(changes)
	return nil
}

// begin takes what there is to commit: as it is written, and how many changes it is.
func (s *Store) begin() (r record, changes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.dirty {
		e.dirty = false
	}
	s.leaving, s.dirty = s.dirty, s.leaving[:0]
	if s.disk != nil && len(s.leaving) > 0 {
		r = s.disk.record(s)
	}
	return r, len(s.undo)
}

// kept forgets how to undo the changes that are durable by now.
func (s *Store) kept(changes int) {
	for i, e := range s.leaving {
		if o := s.offered[number(e.Address)]; o != nil && o.holder == e.Holder {
			s.forget(o) // it is a lease now
		}
		s.leaving[i] = nil
	}
	s.undo = slices.Delete(s.undo, 0, changes)
}

// rollback makes the store what it was at the last Commit that went well. Offers stay.
func (s *Store) rollback() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		c := s.undo[i]
		s.disown(c.e)
		if c.before.State == 0 {
			delete(s.byAddr, number(c.e.Address))
		} else {
			c.e.Lease = c.before
			s.own(c.e)
			s.ends(c.e)
		}
		s.newest(c.after, c.newest[1])
		if c.before.State != 0 {
			s.newest(c.before.Holder, c.newest[0])
		}
	}
	for _, e := range s.dirty {
		e.dirty = false
	}
	clear(s.dirty)
	clear(s.leaving)
	clear(s.undo)
	s.dirty, s.undo = s.dirty[:0], s.undo[:0]
}
