package fleetlog

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of a message. All but the first and the last are of the rack after it.
const (
	headerFirst   = "Rackreach-First" // sequence of its first event; none: the message is a claim
	headerEpoch   = "Rackreach-Epoch"
	headerJournal = "Rackreach-Journal"
	headerLast    = "Rackreach-Last"
	headerSum     = "Rackreach-Sum"
	headerClaimed = "Rackreach-Claimed" // when the epoch was, in nanoseconds of Unix time
)

// Head is where a rack stands in the log.
type Head struct {
	Epoch   uint64    // whose word it is; 0: no agent was ever heard of
	Journal string    // of the agent that writes in this epoch
	Seq     uint64    // of the newest event; 0: none
	Sum     []byte    // of that (messages.Sum)
	Claimed time.Time // when the epoch was; zero with Epoch
}

// tail is the newest message of a rack, as far as this process knows.
type tail struct {
	mu    sync.Mutex
	known bool
	place uint64 // its place in the stream; 0: there is none
	Head
}

func eventsSubject(rack string) string { return "rackreach.events." + rack }

// locked is the tail of a rack, which only the caller uses until it unlocks it.
func (l *Log) locked(rack string) (*tail, error) {
	if err := checkRack(rack); err != nil {
		return nil, err
	}
	l.mu.Lock()
	t := l.tails[rack]
	if t == nil {
		t = &tail{}
		l.tails[rack] = t
	}
	l.mu.Unlock()
	t.mu.Lock()
	return t, nil
}

// refresh reads where a rack stands.
func (l *Log) refresh(ctx context.Context, rack string, t *tail) error {
	m, err := l.events.GetLastMsgForSubject(ctx, eventsSubject(rack))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		t.known, t.place, t.Head = true, 0, Head{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the log of rack %s: %w", rack, err)
	}
	h, err := headOf(m.Header)
	if err != nil {
		return fmt.Errorf("read the log of rack %s, message %d: %w: %w", rack, m.Sequence, ErrDamaged, err)
	}
	t.known, t.place, t.Head = true, m.Sequence, h
	return nil
}

func headOf(h nats.Header) (out Head, err error) {
	out.Journal = h.Get(headerJournal)
	if out.Epoch, err = strconv.ParseUint(h.Get(headerEpoch), 10, 64); err != nil {
		return Head{}, fmt.Errorf("its epoch: %w", err)
	}
	if out.Seq, err = strconv.ParseUint(h.Get(headerLast), 10, 64); err != nil {
		return Head{}, fmt.Errorf("its last event: %w", err)
	}
	if at := h.Get(headerClaimed); at != "" {
		n, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return Head{}, fmt.Errorf("when its epoch was claimed: %w", err)
		}
		out.Claimed = time.Unix(0, n).UTC()
	}
	if out.Sum, err = hex.DecodeString(h.Get(headerSum)); err != nil {
		return Head{}, fmt.Errorf("its sum: %w", err)
	}
	return out, nil
}

// Head is where a rack stands.
func (l *Log) Head(ctx context.Context, rack string) (Head, error) {
	t, err := l.locked(rack)
	if err != nil {
		return Head{}, err
	}
	defer t.mu.Unlock()
	if err := l.refresh(ctx, rack, t); err != nil {
		return Head{}, err
	}
	if err := l.durable(ctx, rack, t); err != nil {
		return Head{}, err
	}
	return t.Head, nil
}

// Claim takes the epoch behind that of after for the agent with a journal of that
// name. A claim that is made again by the same journal changes nothing. Errors:
// ErrFenced when the epoch is not that of after any more.
func (l *Log) Claim(ctx context.Context, rack, journal string, after Head) (Head, error) {
	t, err := l.locked(rack)
	if err != nil {
		return Head{}, err
	}
	defer t.mu.Unlock()
	if err := l.refresh(ctx, rack, t); err != nil {
		return Head{}, err
	}
	if t.Epoch == after.Epoch+1 && t.Journal == journal {
		return t.Head, nil // the acknowledgement of this very claim was lost
	}
	if t.Epoch != after.Epoch || t.Journal != after.Journal {
		return Head{}, fmt.Errorf("claim behind epoch %d: %w", after.Epoch, fenced(rack, t.Head))
	}
	next := t.Head
	next.Epoch, next.Journal, next.Claimed = t.Epoch+1, journal, time.Now().UTC()
	for range maxTries {
		err := l.publish(ctx, rack, t, next, 0, nil)
		switch {
		case err == nil, t.Epoch == next.Epoch && t.Journal == journal:
			return t.Head, nil
		case !errors.Is(err, errMoved):
			return Head{}, err
		case t.Epoch != after.Epoch:
			return Head{}, fmt.Errorf("claim behind epoch %d: %w", after.Epoch, fenced(rack, t.Head))
		}
		next.Seq, next.Sum = t.Seq, t.Sum // the agent that is to be fenced has written meanwhile
	}
	return Head{}, fmt.Errorf("claim rack %s: others write all the time: try again", rack)
}
