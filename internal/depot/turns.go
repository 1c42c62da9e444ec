package depot

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// errTooMany says that too many wait.
var errTooMany = errors.New("too many are waiting")

// turns shares a number of places out among agents, fairly: agents take turns, and
// each agent's own requests come in their order.
type turns struct {
	most, perAgent, waitMost int

	mu      sync.Mutex
	active  int                        // places that are taken
	taken   map[string]int             // by agent; no zeros
	queues  map[string][]chan struct{} // who waits, by agent; none is empty
	order   []string                   // agents that wait, the next one first
	waiting int                        // in all queues
}

func newTurns(most, perAgent, waitMost int) *turns {
	return &turns{most: most, perAgent: perAgent, waitMost: waitMost, taken: map[string]int{}, queues: map[string][]chan struct{}{}}
}

// enter waits for a place. Errors: errTooMany, that of ctx.
func (t *turns) enter(ctx context.Context, agent string) error {
	t.mu.Lock()
	if t.active < t.most && t.taken[agent] < t.perAgent && len(t.queues[agent]) == 0 {
		t.take(agent)
		t.mu.Unlock()
		return nil
	}
	if t.waiting == t.waitMost || len(t.queues[agent]) == waitMostOfOne {
		t.mu.Unlock()
		return errTooMany
	}
	mine := make(chan struct{})
	if len(t.queues[agent]) == 0 {
		t.order = append(t.order, agent)
	}
	t.queues[agent] = append(t.queues[agent], mine)
	t.waiting++
	t.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.queues[agent], mine)
	if i < 0 { // it got a place at the same moment
		t.free(agent)
		return ctx.Err()
	}
	t.dequeue(agent, i)
	return ctx.Err()
}

// leave gives a place back.
func (t *turns) leave(agent string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free(agent)
}

func (t *turns) take(agent string) {
	t.active++
	t.taken[agent]++
}

func (t *turns) free(agent string) {
	t.active--
	if t.taken[agent]--; t.taken[agent] == 0 {
		delete(t.taken, agent)
	}
	t.next()
}

// next gives free places to those whose turn it is.
func (t *turns) next() {
	for i := 0; i < len(t.order) && t.active < t.most; {
		agent := t.order[i]
		if t.taken[agent] >= t.perAgent {
			i++
			continue
		}
		close(t.queues[agent][0])
		t.take(agent)
		t.order = append(slices.Delete(t.order, i, i+1), agent) // to the end, if more of its wait
		t.dequeue(agent, 0)
	}
}

// dequeue takes one that waits out of its queue.
func (t *turns) dequeue(agent string, i int) {
	t.waiting--
	if t.queues[agent] = slices.Delete(t.queues[agent], i, i+1); len(t.queues[agent]) == 0 {
		delete(t.queues, agent)
		t.order = slices.DeleteFunc(t.order, func(a string) bool { return a == agent })
	}
}

// stand is how many are served, and how many wait.
func (t *turns) stand() (active, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.active, t.waiting
}
