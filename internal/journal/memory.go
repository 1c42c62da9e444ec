package journal

import (
	"context"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Memory is a Log that lives as long as its process: for demo runs and tests.
type Memory struct {
	mu     sync.Mutex
	events []rack.Event
	grown  chan struct{} // closed and replaced at every append
	closed bool
}

var _ Log = (*Memory)(nil)

// NewMemory is an empty log. Sequences start at 1.
func NewMemory() *Memory { return &Memory{grown: make(chan struct{})} }

// Loaded is a log that holds events as they were read, from the first on.
func Loaded(events []rack.Event) *Memory {
	m := NewMemory()
	m.events = events
	return m
}

// Append implements Log.
func (m *Memory) Append(events ...rack.Event) ([]rack.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	now := time.Now()
	out := make([]rack.Event, len(events))
	for i, e := range events {
		e.Seq, e.Time = uint64(len(m.events)+1), now
		m.events = append(m.events, e)
		out[i] = e
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return out, nil
}

// Read implements Log.
func (m *Memory) Read(from uint64, limit int) ([]rack.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := int(max(from, 1)) - 1
	if first >= len(m.events) {
		return nil, nil
	}
	last := min(first+limit, len(m.events))
	out := make([]rack.Event, last-first)
	copy(out, m.events[first:last])
	return out, nil
}

// Wait implements Log.
func (m *Memory) Wait(ctx context.Context, from uint64) error {
	for {
		m.mu.Lock()
		n, grown, closed := uint64(len(m.events)), m.grown, m.closed
		m.mu.Unlock()
		switch {
		case n >= max(from, 1):
			return nil
		case closed:
			return ErrClosed
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close implements Log.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.grown)
		m.grown = make(chan struct{})
	}
	return nil
}
