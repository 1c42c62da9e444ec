package boot

import (
	"context"
	"sync"
	"time"
)

// flights are the bodies that are on their way to the device of a ticket.
type flights struct {
	mu     sync.Mutex
	n      int
	landed chan struct{} // closed when there are none any more; nil: nobody waits
}

// begin counts one in. land is called when what it proves was told.
func (f *flights) begin() (land func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.n--; f.n == 0 && f.landed != nil {
			close(f.landed)
			f.landed = nil
		}
	}
}

// wait returns when there are none, or when ctx or the limit is over. A device that has
// all that it wants says so on a connection of its own, and may be quicker than the look
// at the queue of the one that it got it by: what it has is told before what it says.
func (f *flights) wait(ctx context.Context, limit time.Duration) {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return
	}
	if f.landed == nil {
		f.landed = make(chan struct{})
	}
	landed := f.landed
	f.mu.Unlock()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-landed:
	case <-late.C:
	case <-ctx.Done():
	}
}
