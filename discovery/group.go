package discovery

import (
	"slices"
	"time"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

const (
	// gather is how long the disk is left alone between two commits: requests that
	// come meanwhile share the next one. Who asks alone does not notice. Without it the
	// disk is synced for every other packet, which costs more CPU than all the rest.
	gather = 10 * time.Millisecond
	// mostWaiting is how many acknowledgements wait for a commit, at most, before no more
	// packets are read.
	mostWaiting = 1024
	// ackSize is how many acknowledgements leave by themselves, without answers to leave
	// with, and ackPause what is between them: while packets come, most of a group leaves
	// with the answers to these.
	ackSize  = 24
	ackPause = 3 * time.Millisecond
)

// group is acknowledgements whose leases become durable in one commit.
type group struct {
	results []Result
	space   []byte // of their answers
	taken   int    // of results: they have left
}

// take takes up to n acknowledgements, which leave.
func (g *group) take(n int) []Result {
	from := g.taken
	g.taken += min(n, len(g.results)-from)
	return g.results[from:g.taken]
}

// add takes over a result. Its answer is copied: the batch uses its room again.
func (g *group) add(r Result) {
	from := len(g.space)
	g.space = append(g.space, r.Reply.Payload...)
	r.Reply.Payload = slices.Clip(g.space[from:])
	g.results = append(g.results, r)
}

func (g *group) reset() {
	clear(g.results)
	g.results, g.space, g.taken = g.results[:0], g.space[:0], 0
}

// gathered sees to it that what a batch changed is committed, and waits while too many
// acknowledgements do. Leases in memory are committed at once.
func (s *Server) gathered() {
	if !s.leases.Durable() {
		s.commit()
		s.deliver(0)
		return
	}
	if s.pending() {
		s.turn.Broadcast()
	}
	for len(s.waiting.results) > mostWaiting-batchSize && !s.ended {
		s.turn.Wait()
	}
}

// pending reports whether there is anything to commit, or to send since it is durable.
func (s *Server) pending() bool { return len(s.waiting.results) > 0 || s.leases.Changed() }

// keep makes leases durable, group by group, beside the loop. It returns once the loop
// has ended and nothing waits any more.
func (s *Server) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for !s.pending() {
			if s.ended {
				return
			}
			s.turn.Wait()
		}
		s.commit()
		s.deliver(ackPause)
		s.rest(gather - time.Since(s.synced))
	}
}

// deliver sends the acknowledgements of the group that was committed, some by some with a
// pause between them, until all have left; others take some along meanwhile.
func (s *Server) deliver(pause time.Duration) {
	s.settled = true
	for some := s.leaving.take(ackSize); len(some) > 0; some = s.leaving.take(ackSize) {
		wait := s.send(some)
		if s.leaving.taken < len(s.leaving.results) {
			wait = max(wait, pause)
		}
		s.rest(wait)
	}
	s.settled = false
	s.leaving.reset()
}

// along are acknowledgements that leave with the answers to n packets: more than the
// packets ask for, half of which are requests when all is well, so that a group has left
// before the next one is durable; and not many more, so that no answer is one of a burst.
func (s *Server) along(n int) []Result {
	if !s.settled {
		return nil
	}
	return s.leaving.take(1 + n*3/5)
}

// rest lets others have their turn, at least for a time.
func (s *Server) rest(t time.Duration) {
	s.mu.Unlock()
	s.options.Sleep(t)
	s.mu.Lock()
}

// commit makes the leases of the waiting group durable; others have their turn meanwhile.
// When it fails, no acknowledgement that rests on one of them leaves (RFC 2131 section
// 4.3.1), and none that was decided meanwhile.
func (s *Server) commit() {
	s.leaving, s.waiting = s.waiting, s.leaving
	s.turn.Broadcast()
	s.mu.Unlock()
	err := s.leases.Commit()
	s.mu.Lock()
	s.synced = time.Now()
	if err != nil {
		if !s.failing {
			s.options.OnTrouble(err)
		}
		s.leaving.results = append(s.leaving.results, s.waiting.results...)
		s.waiting.reset()
		for i := range s.leaving.results {
			s.leaving.results[i].unacknowledge()
		}
		clear(s.repeats) // they were not acknowledged
	}
	s.failing = err != nil
}

// unacknowledge takes an answer back whose lease is not durable.
func (r *Result) unacknowledge() {
	r.Outcome, r.Reply, r.Truncated = StoreFailed, wire.Datagram{}, false
	r.Seen.Address = ""
	r.Seen.Observation.Address, r.Seen.Observation.Proves = "", rack.NoEvidence
}
