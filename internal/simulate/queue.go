package simulate

import (
	"container/heap"
	"time"
)

// timed is something that will happen.
type timed struct {
	at time.Duration
	n  uint64 // what was put in first happens first
	do func()
}

// queue is virtual time: what will happen, by time and then by order of entry.
// The clock moves when something is taken out, and never back.
type queue struct {
	now   time.Duration
	n     uint64
	items items
}

// after lets something happen once d has passed; d below zero counts as zero.
func (q *queue) after(d time.Duration, do func()) {
	q.n++
	heap.Push(&q.items, timed{q.now + max(d, 0), q.n, do})
}

// next moves the clock to the next thing and lets it happen; false when there
// is none, or none before the limit.
func (q *queue) next(limit time.Duration) bool {
	if len(q.items) == 0 || q.items[0].at > limit {
		return false
	}
	t, ok := heap.Pop(&q.items).(timed)
	if !ok {
		return false
	}
	q.now = t.at
	t.do()
	return true
}

type items []timed

func (i items) Len() int { return len(i) }
func (i items) Less(a, b int) bool {
	return i[a].at < i[b].at || (i[a].at == i[b].at && i[a].n < i[b].n)
}
func (i items) Swap(a, b int) { i[a], i[b] = i[b], i[a] }
func (i *items) Push(x any) {
	if t, ok := x.(timed); ok {
		*i = append(*i, t)
	}
}
func (i *items) Pop() any {
	last := len(*i) - 1
	t := (*i)[last]
	(*i)[last] = timed{}
	*i = (*i)[:last]
	return t
}
