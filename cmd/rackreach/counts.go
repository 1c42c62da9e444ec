package main

import "sync"

// forever is a count that never runs out.
const forever = -1

// counts are numbers that go down, safe for concurrent use.
type counts[K comparable] struct {
	mu   sync.Mutex
	left map[K]int
}

func newCounts[K comparable]() *counts[K] { return &counts[K]{left: map[K]int{}} }

func (c *counts[K]) set(k K, n int) { c.left[k] = n }

// take uses one up and reports whether there was one.
func (c *counts[K]) take(k K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.left[k]
	if n > 0 {
		c.left[k] = n - 1
	}
	return n != 0
}
