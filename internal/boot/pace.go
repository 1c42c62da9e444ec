package boot

import (
	"net"
	"slices"
	"sync"
	"time"
)

// Bandwidth bounds what images, kernels, initramfs and what else an operating system's
// own installer loads take of the network, in bytes a second; 0: no bound. Boot loaders,
// jobs and reports are small and do not count.
type Bandwidth struct {
	Rack   int64 // of all devices together
	Device int64 // of each of them, whatever the number of its connections
}

const (
	// paceSlack is how much earlier than it is due a chunk may go, so that a timer
	// that fires late costs no throughput: in any time a bound is passed by
	// that much and by one chunk at most.
	paceSlack = 5 * time.Millisecond
	// paceSteps is how many chunks a second the smaller bound is cut into, at most:
	// a device waits for its turn that often.
	paceSteps = 16
	// leastChunk keeps a small bound from costing more calls than bytes, in bytes.
	leastChunk = 4 << 10
)

// pace shares a line out among devices. Devices take turns, a chunk each; the
// connections of one share its turns. Nil: there is no bound, and the kernel
// shares the line out among connections.
//
// Invariants: who is in order has somebody in its queue, and the other way round.
type pace struct {
	Bandwidth
	chunk int64 // bytes that go at once

	mu     sync.Mutex
	line   time.Time            // until then the rack's line carries what was let through
	lines  map[string]time.Time // likewise by device
	queues map[string][]*turn
	order  []string // devices that wait, the next one first
	timer  *time.Timer
}

// turn is a chunk that waits.
type turn struct {
	bytes int64
	comes chan struct{} // closed when it may go
}

func newPace(b Bandwidth) *pace {
	if b.Rack <= 0 && b.Device <= 0 {
		return nil
	}
	least := b.Rack
	if least <= 0 || b.Device > 0 && b.Device < least {
		least = b.Device
	}
	return &pace{Bandwidth: b, chunk: min(max(least/paceSteps, leastChunk), chunkSize), lines: map[string]time.Time{}, queues: map[string][]*turn{}}
}

// step is how many bytes may be asked for at once.
func (p *pace) step() int64 {
	if p == nil {
		return chunkSize
	}
	return p.chunk
}

// wait returns when so many bytes may go to a device, or with net.ErrClosed when
// gone is closed.
func (p *pace) wait(device string, bytes int64, gone <-chan struct{}) error {
	if p == nil {
		return nil
	}
	mine := &turn{bytes, make(chan struct{})}
	p.mu.Lock()
	if len(p.queues[device]) == 0 {
		p.order = append(p.order, device)
	}
	p.queues[device] = append(p.queues[device], mine)
	p.grant()
	p.mu.Unlock()
	select {
	case <-mine.comes:
		return nil
	case <-gone:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queues[device], mine); i >= 0 {
		p.dequeue(device, i)
	}
	return net.ErrClosed
}

// grant lets through what may go now, and sees to it that it is called again when
// the next may.
func (p *pace) grant() {
	now := time.Now()
	for len(p.order) > 0 {
		next, i := time.Time{}, -1
		for k, d := range p.order {
			free := p.line
			if p.lines[d].After(free) {
				free = p.lines[d]
			}
			free = free.Add(-paceSlack)
			if !free.After(now) {
				i = k
				break
			}
			if next.IsZero() || free.Before(next) {
				next = free
			}
		}
		if i < 0 {
			p.arm(next.Sub(now))
			return
		}
		d := p.order[i]
		mine := p.queues[d][0]
		p.line = carried(p.line, now, mine.bytes, p.Rack)
		p.lines[d] = carried(p.lines[d], now, mine.bytes, p.Device)
		close(mine.comes)
		p.order = append(slices.Delete(p.order, i, i+1), d) // to the end, if more of it waits
		p.dequeue(d, 0)
	}
}

// carried is until when a line is taken that gets so many bytes more.
func carried(until, now time.Time, bytes, rate int64) time.Time {
	if rate <= 0 {
		return time.Time{}
	}
	if until.Before(now) {
		until = now
	}
	return until.Add(time.Duration(float64(bytes) / float64(rate) * float64(time.Second)))
}

// arm has grant called after a while.
func (p *pace) arm(after time.Duration) {
	if p.timer != nil {
		p.timer.Reset(after)
		return
	}
	p.timer = time.AfterFunc(after, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.grant()
	})
}

// dequeue takes one that waits out of its queue.
func (p *pace) dequeue(device string, i int) {
	if p.queues[device] = slices.Delete(p.queues[device], i, i+1); len(p.queues[device]) == 0 {
		delete(p.queues, device)
		p.order = slices.DeleteFunc(p.order, func(d string) bool { return d == device })
	}
}
