package tftp

import "time"

// transfer is one file on its way to one client: a state machine that knows
// neither clock nor socket. Its owner says what happened and when; the answer says
// what is to be sent, and until when to wait.
//
// Invariants: acked <= sent <= acked+window, sent <= blocks; while the OACK is not
// acknowledged sent is 0.
type transfer struct {
	agreed
	blocks int64 // of the file, at least 1: the last one is shorter than the others
	until  time.Time
	// heardOf: the client has acknowledged something. Until then it is waited for up to
	// unheard, whatever time-out it asked for: nobody may be there at all.
	heardOf bool
	unheard time.Time

	oack        bool  // the OACK waits for its acknowledgement
	acked, sent int64 // blocks, counted from 1 without rolling over

	resends int           // in a row
	first   time.Time     // when what is awaited was sent first; zero: it was sent again
	due     time.Time     // when it is sent again
	path    time.Duration // what an acknowledgement takes; 0: not known yet
	wait    time.Duration // the next wait

	// deaf: a further acknowledgement of acked is no word of a loss. heard: there was
	// one since the last headway.
	deaf, heard bool
}

// how is how a transfer stands.
type how int

const (
	goesOn how = iota
	whole      // the client has acknowledged the last block
	silent     // it acknowledges nothing any more
	late       // it took too long
)

// step is what is to be done next.
type step struct {
	oack     bool
	from, to int64 // blocks to send, [from, to); none when equal
	wake     time.Time
	how      how
}

// newTransfer is a transfer of size bytes. With oack, the client has to
// acknowledge the options first.
func newTransfer(a agreed, size int64, oack bool, now time.Time) *transfer {
	t := &transfer{agreed: a, blocks: size/int64(a.block) + 1, until: now.Add(totalLimit), oack: oack}
	t.wait = t.calm()
	return t
}

// calm is the first wait for an acknowledgement.
func (t *transfer) calm() time.Duration {
	switch {
	case t.timeout > 0:
		return t.timeout // RFC 2349
	case t.path == 0:
		return firstWait
	}
	return min(max(4*t.path, leastWait), firstWait)
}

// begin is the first step.
func (t *transfer) begin(now time.Time) step {
	t.unheard = now.Add(unheardLimit)
	return t.next(now)
}

// acknowledged takes the acknowledgement of a block number.
func (t *transfer) acknowledged(number uint16, now time.Time) step {
	if t.oack {
		if number != 0 {
			return t.idle(now)
		}
		t.oack = false
		t.headway(now)
		return t.next(now)
	}
	ahead := int64(number - uint16(t.acked)) // rolls over
	switch {
	case ahead > t.sent-t.acked: // of another transfer, or of long ago
		return t.idle(now)
	case ahead == 0:
		return t.again(now)
	}
	gap := t.acked+ahead < t.sent
	t.acked += ahead
	t.headway(now)
	if t.acked == t.blocks {
		return step{how: whole}
	}
	t.deaf, t.heard = gap || t.heard, false // blocks behind a gap bring echoes of this acknowledgement
	return t.next(now)
}

// again takes an acknowledgement that was taken before. With one block at a time
// it is an echo, and answered it would be doubled for the rest of the transfer
// (RFC 1123 §4.2.3.1). In a window it may say that the first block was lost
// (RFC 7440 §4); it is believed once, and not in two windows that follow each other,
// so that echoes die out.
func (t *transfer) again(now time.Time) step {
	believe := t.window > 1 && !t.deaf
	t.deaf, t.heard = true, true
	if !believe {
		return t.idle(now)
	}
	return t.repeat(now)
}

// repeat sends what was sent last.
func (t *transfer) repeat(now time.Time) step {
	s := t.next(now)
	t.first = time.Time{} // an acknowledgement would not say of which of the two it is
	return s
}

// expired takes that the wait is over.
func (t *transfer) expired(now time.Time) step {
	switch {
	case !now.Before(t.until):
		return step{how: late}
	case !t.heardOf && !now.Before(t.unheard):
		return step{how: silent}
	case now.Before(t.due):
		return t.idle(now)
	case t.resends == maxResends:
		return step{how: silent}
	}
	t.resends++
	if t.timeout == 0 {
		t.wait = min(2*t.wait, mostWait)
	}
	t.deaf = true
	return t.repeat(now)
}

// headway notes that the client has what was sent.
func (t *transfer) headway(now time.Time) {
	t.heardOf = true
	if !t.first.IsZero() {
		took := max(now.Sub(t.first), time.Microsecond)
		if t.path == 0 {
			t.path = took
		}
		t.path += (took - t.path) / 8 // RFC 6298 §2
	}
	t.resends = 0
	t.wait = t.calm()
}

// next sends the options, or the window after what is acknowledged.
func (t *transfer) next(now time.Time) step {
	t.first, t.due = now, now.Add(t.wait)
	if t.oack {
		s := t.idle(now)
		s.oack = true
		return s
	}
	t.sent = min(t.acked+int64(t.window), t.blocks)
	s := t.idle(now)
	s.from, s.to = t.acked+1, t.sent+1
	return s
}

// idle sends nothing.
func (t *transfer) idle(now time.Time) step {
	if !now.Before(t.until) {
		return step{how: late}
	}
	wake := t.due
	if t.until.Before(wake) {
		wake = t.until
	}
	if !t.heardOf && t.unheard.Before(wake) {
		wake = t.unheard
	}
	return step{wake: wake}
}
