package blob

import (
	"cmp"
	"slices"
)

// Pin keeps blobs from making room, whether they are here yet or not, until the
// same owner pins others; none: nothing is pinned by it any more.
func (s *Store) Pin(owner string, blobs []Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(blobs) == 0 {
		delete(s.pins, owner)
		return
	}
	s.pins[owner] = slices.Clone(blobs)
}

// reserve makes room for a blob of so many bytes, of which some are still to be
// written, and books it. Whoever has it calls owe as it writes, and release at the
// end. Error: *Full.
func (s *Store) reserve(size, missing int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Limit > 0 {
		if err := s.evict(size); err != nil {
			return err
		}
	}
	if f := free(s.dir); f >= 0 && f-s.owed.Load() < missing {
		return &Full{Dir: s.dir, Need: missing, Free: max(0, f-s.owed.Load())}
	}
	s.booked += size
	s.owe(missing)
	return nil
}

// owe says that so many bytes more are to be written.
func (s *Store) owe(n int64) { s.owed.Add(n) }

// release gives back what reserve booked and what was not written of it.
func (s *Store) release(size, missing int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.booked -= size
	s.owe(-missing)
}

// evict makes room under the limit: first beginnings that nobody goes on with,
// then what was not used for the longest time.
func (s *Store) evict(need int64) error {
	fits := func() bool { return s.total+s.booked+need <= s.o.Limit }
	for d := range s.begun {
		if fits() {
			return nil
		}
		if err := s.drop(d); err != nil {
			return err
		}
	}
	kept := map[Digest]bool{}
	for _, p := range s.pins {
		for _, d := range p {
			kept[d] = true
		}
	}
	var old []Digest
	for d := range s.held {
		if !kept[d] {
			old = append(old, d)
		}
	}
	slices.SortFunc(old, func(a, b Digest) int { return cmp.Compare(s.held[a].used, s.held[b].used) })
	for _, d := range old {
		if fits() {
			return nil
		}
		if err := s.remove(d); err != nil {
			return err
		}
	}
	if !fits() {
		return &Full{Dir: s.dir, Need: need, Free: -1, Limit: s.o.Limit}
	}
	return nil
}
