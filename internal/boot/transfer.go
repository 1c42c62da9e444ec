package boot

import (
	"cmp"
	"slices"
	"sync"
)

// span is a range of bytes, [from, to).
type span struct{ from, to int64 }

// transfer is what was handed out of one image for one ticket, whatever the
// connections, retries and ranges.
//
// Invariant: spans are sorted, disjoint, not adjacent, and within the size;
// served is the sum of their lengths.
type transfer struct {
	size  int64
	whole func() // called once, when every byte was served at least once
	told  told   // what its receiver said

	flights flights // to its device, of this ticket

	mu      sync.Mutex
	spans   []span
	served  int64
	done    bool
	resumed bool // what the device holds from an earlier life of the agent is not counted yet
}

func newTransfer(size int64, whole func()) *transfer {
	return &transfer{size: size, whole: whole}
}

// progress is the number of different bytes served so far.
func (t *transfer) progress() (served, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.served, t.size
}

// delivered reports whether every byte was served at least once.
func (t *transfer) delivered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// settle makes the transfer whole without a word: that was said in an earlier
// life of the agent.
func (t *transfer) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spans, t.served, t.done = []span{{0, t.size}}, t.size, true
}

// resume takes note of where a device asks to go on. The first time, in a
// transfer that an earlier life of the agent began, it holds what comes before.
func (t *transfer) resume(from int64) {
	t.mu.Lock()
	first := t.resumed
	t.resumed = false
	t.mu.Unlock()
	if first && from < t.size {
		t.add(span{0, from})
	}
}

// add notes that the bytes of s were served.
func (t *transfer) add(s span) {
	if t.join(s) {
		t.whole()
	}
}

// join unites s with what is known, and reports whether that made it whole.
func (t *transfer) join(s span) bool {
	s.from, s.to = max(s.from, 0), min(s.to, t.size)
	if s.from >= s.to {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// The spans that s touches or overlaps are [i, j).
	i, _ := slices.BinarySearchFunc(t.spans, s.from, func(x span, from int64) int { return cmp.Compare(x.to, from) })
	j := i
	for ; j < len(t.spans) && t.spans[j].from <= s.to; j++ {
		s.from, s.to = min(s.from, t.spans[j].from), max(s.to, t.spans[j].to)
		t.served -= t.spans[j].to - t.spans[j].from
	}
	if i == j && len(t.spans) >= maxSpans {
		return false
	}
	t.spans = slices.Replace(t.spans, i, j, s)
	t.served += s.to - s.from
	if t.done || t.served < t.size {
		return false
	}
	t.done = true
	return true
}
