package sim

import (
	"encoding/json"
	"sync"
	"testing"
	"time"
)

// journal is what happened, in order; tests wait for lines of it.
type journal[T any] struct {
	mu    sync.Mutex
	lines []T
	grown chan struct{}
}

func newJournal[T any]() *journal[T] { return &journal[T]{grown: make(chan struct{})} }

func (j *journal[T]) add(x T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, x)
	close(j.grown)
	j.grown = make(chan struct{})
}

func (j *journal[T]) all() []T {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]T(nil), j.lines...)
}

// wait returns the n-th line (from 1) that matches, once it is there.
func (j *journal[T]) wait(t *testing.T, what string, n int, match func(T) bool) T {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		j.mu.Lock()
		lines, grown := j.lines, j.grown
		j.mu.Unlock()
		seen := 0
		for _, l := range lines {
			if match(l) {
				if seen++; seen == n {
					return l
				}
			}
		}
		select {
		case <-grown:
		case <-deadline.C:
			t.Fatalf("no %s (%d of them) among %d lines: %v", what, n, len(lines), lines)
		}
	}
}

// recorder parses the simulator's record as it is written.
type recorder struct{ *journal[line] }

func (r recorder) Write(b []byte) (int, error) {
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return 0, err
	}
	r.add(l)
	return len(b), nil
}

func (r recorder) waitFor(t *testing.T, device, kind string, n int) line {
	t.Helper()
	return r.wait(t, device+" "+kind, n, func(l line) bool { return l.Device == device && l.Kind == kind })
}

func (r recorder) has(device, kind string) bool {
	for _, l := range r.all() {
		if l.Device == device && l.Kind == kind {
			return true
		}
	}
	return false
}

func (r recorder) seq(t *testing.T, device, kind string) int64 {
	t.Helper()
	return r.waitFor(t, device, kind, 1).Seq
}
