package tftp

import (
	"context"
	"sync/atomic"
	"time"
)

// place is one of the transfers that go on at a time.
type place struct {
	since time.Time
	end   context.CancelCauseFunc
	heard atomic.Bool // the client has acknowledged something: its address is its own
	waits atomic.Bool // what was sent last was not acknowledged in its time
}

// note takes in how the transfer stands.
func (x *place) note(t *transfer) {
	x.heard.Store(t.heardOf)
	x.waits.Store(t.resends > 0)
}

// reset reports whether a request of its client is that of a machine that was started
// anew.
func (x *place) reset() bool { return x.heard.Load() && x.waits.Load() }
