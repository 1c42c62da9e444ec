package coordinator

import "sync/atomic"

// position is how far the log was followed.
type position struct {
	at   atomic.Uint64
	told atomic.Bool
}

// reached notes a place in the log, and reports once that the end was reached
// which the log had when the coordinator started.
func (p *position) reached(at, end uint64) bool {
	p.at.Store(at)
	return at >= end && p.told.CompareAndSwap(false, true)
}
