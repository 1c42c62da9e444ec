package coordinator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/fleetlog"
)

// How coordinators tell each other that they live.
const (
	presentEvery = 5 * time.Second
	presentFor   = 3 * presentEvery // whoever said nothing for so long is taken for lost
	lostAfter    = time.Hour        // and is forgotten then
)

// Rhythm of writing what agents say.
const (
	sightPause = 200 * time.Millisecond // between two writes of one agent, at least
	sightLimit = 5 * time.Second        // of one write
	sightAgain = 2 * time.Second        // after one that failed
)

// Keys of the table.
const (
	rackKey        = "rack."        // and its name: what is known of its agent
	coordinatorKey = "coordinator." // and its id: written again and again by one that lives
)

// sightings are the agents of the fleet as the coordinators of a cluster tell each other
// of them, in a table: where each is connected, what it said of itself, and when it was
// heard of last. The one that it is connected to writes, when that changes, and else
// slowly. What it wrote counts as a connection for as long as it lives: it says so in the
// same table, and times are compared by the clock of the log's servers.
type sightings struct {
	table *fleetlog.Table
	alone bool   // there are no other coordinators
	self  string // id of this life of this coordinator
	told  func(*actors.AgentSeen)
	log   *slog.Logger

	mu     sync.Mutex
	dirty  map[string]*actors.Sighting // to be written; nil: to be removed
	more   chan struct{}               // holds one while there are some
	of     map[string]*sighting
	alive  map[string]time.Time // when each coordinator said so last
	judged bool                 // all that the table held was told
}

// sighting is what the table holds of one agent.
type sighting struct {
	At string // id of the coordinator that it is connected to, or was
	actors.Sighting
	tells bool // that it is connected, as the actors were told
}

func newSightings(t *fleetlog.Table, alone bool, told func(*actors.AgentSeen), log *slog.Logger) *sightings {
	return &sightings{table: t, alone: alone, self: rand.Text(), told: told, log: log, dirty: map[string]*actors.Sighting{}, more: make(chan struct{}, 1),
		of: map[string]*sighting{}, alive: map[string]time.Time{}}
}

// saw takes in what an agent that is connected here says, or that it has gone, as
// actors.FleetOptions has it. Of a rack that is to be removed, that its agent has gone,
// since it was cut off, is of no importance.
func (s *sightings) saw(rack string, x actors.Sighting) {
	s.mu.Lock()
	if old, ok := s.dirty[rack]; !ok || old != nil || x.Connected {
		s.dirty[rack] = &x
	}
	s.mu.Unlock()
	s.wake()
}

// revoked lets go of a rack whose certificates are worth nothing any more.
func (s *sightings) revoked(rack string) {
	s.mu.Lock()
	s.dirty[rack] = nil
	s.mu.Unlock()
	s.wake()
}

// again takes back what could not be written, unless there is news that counts.
func (s *sightings) again(rack string, x *actors.Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer, ok := s.dirty[rack]; !ok || x == nil && newer != nil && !newer.Connected {
		s.dirty[rack] = x
	}
}

// wake has what is dirty written.
func (s *sightings) wake() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// heard is when the agent of a rack that writes in an epoch was heard of last; zero:
// never.
func (s *sightings) heard(rack string, epoch uint64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.of[rack]; x != nil && x.Epoch == epoch {
		return x.Heard
	}
	return time.Time{}
}

// keep writes what is to be written until ctx ends.
func (s *sightings) keep(ctx context.Context) error {
	for failed := false; ; {
		select {
		case <-s.more:
		case <-ctx.Done():
			return nil
		}
		s.mu.Lock()
		all := s.dirty
		s.dirty = map[string]*actors.Sighting{}
		s.mu.Unlock()
		pause := sightPause
		for rack, x := range all {
			err := s.keepOne(ctx, rack, x)
			if err == nil || ctx.Err() != nil {
				continue
			}
			if !failed { // one word of a log that is away is enough
				s.log.Warn("what agents say could not be kept; other coordinators are told later", "rack", rack, "error", err)
			}
			pause, failed = sightAgain, true
			s.again(rack, x)
		}
		if failed = pause == sightAgain; failed {
			s.wake()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// keepOne writes what is known of one agent. That it has gone is of no importance when
// it has come to another coordinator meanwhile.
func (s *sightings) keepOne(ctx context.Context, rack string, x *actors.Sighting) error {
	ctx, cancel := context.WithTimeout(ctx, sightLimit)
	defer cancel()
	if x == nil {
		return s.table.Delete(ctx, rackKey+rack)
	}
	b, err := json.Marshal(sighting{At: s.self, Sighting: *x})
	if err != nil {
		return err
	}
	if x.Connected {
		return s.table.Put(ctx, rackKey+rack, b)
	}
	old, revision, err := s.table.Get(ctx, rackKey+rack)
	if errors.Is(err, fleetlog.ErrNone) {
		return nil // it was removed
	}
	if err != nil {
		return err
	}
	var now sighting
	if err := json.Unmarshal(old, &now); err == nil && now.At != s.self {
		return nil
	}
	if _, err = s.table.Update(ctx, rackKey+rack, b, revision); errors.Is(err, fleetlog.ErrConflict) {
		return nil
	}
	return err
}

// present says that this coordinator lives, until ctx ends, which it says too.
func (s *sightings) present(ctx context.Context) error {
	if s.alone {
		return nil
	}
	ticker := time.NewTicker(presentEvery)
	defer ticker.Stop()
	for failed := false; ; {
		select {
		case <-ticker.C:
			err := s.sayPresent(ctx)
			if err != nil && ctx.Err() == nil && !failed {
				s.log.Warn("the other coordinators could not be told that this one lives; it is tried again", "error", err)
			}
			failed = err != nil
			for _, id := range s.lost() {
				_ = s.table.Delete(ctx, coordinatorKey+id) // else the next time
			}
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), sightLimit)
			defer cancel()
			_ = s.table.Delete(leaving, coordinatorKey+s.self) // else they find out by themselves
			return nil
		}
	}
}

func (s *sightings) sayPresent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sightLimit)
	defer cancel()
	return s.table.Put(ctx, coordinatorKey+s.self, []byte("1"))
}

// watch follows the table until ctx ends, which is an error. read is called once, when
// what was there was told.
func (s *sightings) watch(ctx context.Context, read func()) error {
	if !s.alone {
		if err := s.sayPresent(ctx); err != nil { // so that it is known what time it is
			return fmt.Errorf("tell the other coordinators that this one lives: %w", err)
		}
	}
	first := true
	return s.table.WatchEntries(ctx, ">", func(e fleetlog.TableEntry) error {
		if rack, ok := strings.CutPrefix(e.Key, rackKey); ok {
			s.see(rack, e.Value, !first)
		} else if id, ok := strings.CutPrefix(e.Key, coordinatorKey); ok {
			s.lives(id, e)
			if !first {
				s.judge()
			}
		}
		return nil
	}, func() {
		first = false
		s.judge()
		read()
	})
}

// see takes in what the table holds of an agent.
func (s *sightings) see(rack string, value []byte, tell bool) {
	var x sighting
	if value != nil {
		if err := json.Unmarshal(value, &x); err != nil { // its coordinator says it again
			s.log.Warn("what another coordinator says of an agent cannot be read", "rack", rack, "error", err)
			return
		}
	}
	s.mu.Lock()
	if value == nil {
		delete(s.of, rack)
	} else {
		x.tells = s.connected(&x)
		s.of[rack] = &x
	}
	s.mu.Unlock()
	if !tell {
		return
	}
	if value == nil {
		s.told(&actors.AgentSeen{Rack: rack})
		return
	}
	s.tell(rack, x)
}

func (s *sightings) tell(rack string, x sighting) {
	x.Sighting.Connected = x.tells
	s.told(&actors.AgentSeen{Rack: rack, Sighting: &x.Sighting, Own: x.At == s.self})
}

// lives takes in that a coordinator lives, or has ended.
func (s *sightings) lives(id string, e fleetlog.TableEntry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alive[id] = e.Time; e.Value == nil {
		delete(s.alive, id)
	}
}

// connected reports whether an agent is connected to another coordinator that lives.
// What time it is says what this one wrote last itself.
func (s *sightings) connected(x *sighting) bool {
	at, ok := s.alive[x.At]
	return x.Connected && !s.alone && x.At != s.self && ok && s.alive[s.self].Sub(at) < presentFor
}

// lost are the coordinators that have ended without a word long ago.
func (s *sightings) lost() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, at := range s.alive {
		if s.alive[s.self].Sub(at) > lostAfter {
			out = append(out, id)
		}
	}
	return out
}

// judge tells of all agents whose connection is another one than was told, since the
// coordinator that has it came, or went. The first time it tells of all.
func (s *sightings) judge() {
	s.mu.Lock()
	changed := map[string]sighting{}
	for rack, x := range s.of {
		if is := s.connected(x); is != x.tells || !s.judged {
			x.tells = is
			changed[rack] = *x
		}
	}
	s.judged = true
	s.mu.Unlock()
	for rack, x := range changed {
		s.tell(rack, x)
	}
}
