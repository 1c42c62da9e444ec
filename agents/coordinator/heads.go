package coordinator

import (
	"context"
	"sync"
)

// heads are the racks that the coordinator knows, and the newest event of each in
// the log. Readers wait here, so that a slow one holds up no actor.
type heads struct {
	mu    sync.Mutex
	seqs  map[string]uint64
	grown map[string]chan struct{} // closed and removed when the rack has more; made by whoever waits
}

func newHeads() *heads { return &heads{seqs: map[string]uint64{}, grown: map[string]chan struct{}{}} }

// meet makes a rack known.
func (h *heads) meet(rack string) { h.grew(rack, 0) }

// grew says that the log has the events of a rack up to a sequence.
func (h *heads) grew(rack string, seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq <= h.seqs[rack] && seq > 0 {
		return
	}
	h.seqs[rack] = max(seq, h.seqs[rack])
	if ch := h.grown[rack]; ch != nil && seq > 0 {
		close(ch)
		delete(h.grown, rack)
	}
}

// wait returns when an event with a sequence of at least from is in the log, or
// with the context's error.
func (h *heads) wait(ctx context.Context, rack string, from uint64) error {
	for {
		h.mu.Lock()
		if h.seqs[rack] >= from {
			h.mu.Unlock()
			return nil
		}
		ch := h.grown[rack]
		if ch == nil {
			ch = make(chan struct{})
			h.grown[rack] = ch
		}
		h.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *heads) knows(rack string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.seqs[rack]
	return ok
}

func (h *heads) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for name := range h.seqs {
		out = append(out, name)
	}
	return sorted(out)
}
