package rackagent

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/state"
)

// Siblings are the agents of the other racks of a fleet, by the addresses that they
// answer DHCP from (option 54), as a coordinator said last. That is kept: an agent that
// is started while its coordinator is away knows them too. A nil one is empty.
type Siblings struct {
	dir state.Dir
	log *slog.Logger

	telling sync.Mutex
	of      atomic.Pointer[map[netip.Addr]struct{}]
}

// openSiblings reads those that are kept. What cannot be read counts for none, and is
// written anew at the coordinator's next word: who is unknown is an alarm.
func openSiblings(dir state.Dir, log *slog.Logger) *Siblings {
	s := &Siblings{dir: dir, log: log}
	ids, err := dir.ReadSiblings()
	if err != nil {
		log.Warn("which agents of other racks may be on the segment is not known until the coordinator says so again", "error", err)
	}
	s.set(bus.ServerIDs(ids, bus.MaxSiblings))
	return s
}

func (s *Siblings) set(ids []netip.Addr) {
	of := make(map[netip.Addr]struct{}, len(ids))
	for _, a := range ids {
		of[a] = struct{}{}
	}
	s.of.Store(&of)
}

// Tell takes in the word of a coordinator: all of them, by their server ids. It counts
// at once, also when it cannot be kept.
func (s *Siblings) Tell(texts []string) {
	ids := bus.ServerIDs(texts, bus.MaxSiblings)
	if n := len(texts); len(ids) < n {
		s.log.Warn("of the server ids that the coordinator says agents of other racks have, some are none or too many", "said", n, "taken", len(ids))
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	if slices.Equal(ids, s.all()) {
		return
	}
	s.set(ids)
	kept := make([]string, 0, len(ids))
	for _, a := range ids {
		kept = append(kept, a.String())
	}
	if err := s.dir.WriteSiblings(kept); err != nil {
		s.log.Warn("which agents of other racks may be on the segment could not be kept; an agent that is started again asks the coordinator", "error", err)
	}
}

// all are the siblings in order.
func (s *Siblings) all() []netip.Addr {
	return slices.SortedFunc(maps.Keys(*s.of.Load()), netip.Addr.Compare)
}

// Has reports whether a sibling has an address.
func (s *Siblings) Has(a netip.Addr) bool {
	if s == nil {
		return false
	}
	_, ok := (*s.of.Load())[a]
	return ok
}

// Any reports whether there are siblings.
func (s *Siblings) Any() bool { return s != nil && len(*s.of.Load()) > 0 }
