package coordinator

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/fleetlog"
)

// serversLimit bounds a write of the table, in front of which the agent waits.
const serversLimit = 2 * time.Second

// servers are the addresses that the agents of racks answer DHCP from, by rack, as each
// agent said of itself: its certificate says of which rack it is. All coordinators of a
// cluster share them, and they stay while an agent is away, since its devices are
// answered on. Those of a rack whose certificates are revoked go.
type servers struct {
	table *fleetlog.Table
	log   *slog.Logger

	mu      sync.Mutex
	of      map[string][]string
	turn    map[string]uint64 // by rack, how often its certificates were revoked here
	gone    []string          // racks that are to be removed from the table
	version uint64            // 0: the table was not read yet
	more    chan struct{}     // holds one while there are some

	claims  []claim // in the order of their ids: all agents of a fleet ask for them at once
	claimed uint64  // version of those
}

// claim is one address, and the rack whose agent answers from it.
type claim struct{ id, rack string }

func newServers(t *fleetlog.Table, log *slog.Logger) *servers {
	return &servers{table: t, log: log, of: map[string][]string{}, turn: map[string]uint64{}, more: make(chan struct{}, 1)}
}

// watch follows the table until ctx ends, which is an error.
func (s *servers) watch(ctx context.Context) error {
	return s.table.WatchKeys(ctx, ">", func(rack string, value []byte, _ uint64) error {
		var texts []string
		if value != nil {
			if err := json.Unmarshal(value, &texts); err != nil { // its agent says it again
				s.log.Warn("where an agent answers DHCP from cannot be read; its siblings take it for a stranger", "rack", rack, "error", err)
			}
		}
		s.set(rack, bounded(texts))
		return nil
	}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.version++
	})
}

// set takes in what is known of a rack; none: nothing is any more.
func (s *servers) set(rack string, ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(ids, s.of[rack]) {
		return
	}
	if s.of[rack] = ids; len(ids) == 0 {
		delete(s.of, rack)
	}
	if s.version > 0 {
		s.version++
	}
}

// bounded are the server ids of one agent.
func bounded(texts []string) (out []string) {
	for _, a := range bus.ServerIDs(texts, bus.MaxServerIDs) {
		out = append(out, a.String())
	}
	return out
}

// word is what one connection of an agent says.
type word struct {
	s    *servers
	rack string
	turn uint64
	at   time.Time // of the last change
}

// connected begins the word of an agent that has just connected.
func (s *servers) connected(rack string) *word {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &word{s: s, rack: rack, turn: s.turn[rack]}
}

// say keeps what an agent says of itself, durably; nothing, or what cannot be, changes
// nothing. It says it again with its next heartbeat: what cannot be kept now, or changes
// too often, is kept then.
func (w *word) say(texts []string) {
	ids := bounded(texts)
	w.s.mu.Lock()
	idle := len(ids) == 0 || slices.Equal(ids, w.s.of[w.rack]) || w.turn != w.s.turn[w.rack] || time.Since(w.at) < bus.HeartbeatEvery/2
	w.s.mu.Unlock()
	if idle {
		return
	}
	w.at = time.Now()
	b, err := json.Marshal(ids)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), serversLimit)
		defer cancel()
		err = w.s.table.Put(ctx, w.rack, b)
	}
	if err != nil {
		w.s.log.Warn("where an agent answers DHCP from could not be kept; its siblings are told later", "rack", w.rack, "error", err)
		return
	}
	w.s.log.Info("an agent answers DHCP from other addresses than before", "rack", w.rack, "addresses", ids)
	w.s.set(w.rack, ids)
}

// besides are those of all racks but one, and their version, as bus.DoorOptions has it.
func (s *servers) besides(rack string, known uint64) (out []string, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == known {
		return nil, known
	}
	if s.claimed != s.version {
		s.claims, s.claimed = s.claims[:0], s.version
		for name, ids := range s.of {
			for _, id := range ids {
				s.claims = append(s.claims, claim{id, name})
			}
		}
		slices.SortFunc(s.claims, func(a, b claim) int { return strings.Compare(a.id, b.id) })
	}
	for _, c := range s.claims {
		if c.rack != rack {
			out = append(out, c.id)
		}
	}
	out = slices.Compact(out)
	return out[:min(len(out), bus.MaxSiblings)], s.version
}

// revoked lets go of a rack whose certificates are worth nothing any more, and of what
// connections say that are open yet. It does not block.
func (s *servers) revoked(rack string) {
	s.mu.Lock()
	s.turn[rack]++
	s.gone = append(s.gone, rack)
	s.mu.Unlock()
	s.set(rack, nil)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// remove removes those from the table that were revoked, until ctx ends.
func (s *servers) remove(ctx context.Context) error {
	for {
		select {
		case <-s.more:
		case <-ctx.Done():
			return nil
		}
		s.mu.Lock()
		gone := s.gone
		s.gone = nil
		s.mu.Unlock()
		for _, rack := range gone {
			if err := s.table.Delete(ctx, rack); err != nil && ctx.Err() == nil {
				s.log.Warn("where the agent of a revoked rack answered DHCP from could not be removed", "rack", rack, "error", err)
			}
		}
	}
}
