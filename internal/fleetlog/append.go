package fleetlog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/messages"
)

// maxTries bounds how often a write is tried again because others wrote meanwhile.
const maxTries = 8

// Append makes events durable, in their order, and returns the newest event that
// is. Events that the log holds already are compared and left out. Errors:
// ErrFenced, ErrGap, ErrDiverged; any other means that some of them may be durable.
func (l *Log) Append(ctx context.Context, rack string, epoch uint64, events []*messages.Event) (uint64, error) {
	t, err := l.locked(rack)
	if err != nil {
		return 0, err
	}
	defer t.mu.Unlock()
	for tries := 0; ; tries++ {
		// Another coordinator may have written since: before these are refused, the
		// log itself is asked.
		if !t.known || t.Epoch != epoch || len(events) > 0 && events[0].GetSeq() > t.Seq+1 {
			if err := l.refresh(ctx, rack, t); err != nil {
				return 0, err
			}
		}
		if t.Epoch != epoch {
			return t.Seq, fmt.Errorf("append in epoch %d: %w", epoch, fenced(rack, t.Head))
		}
		if events, err = l.unknown(ctx, rack, t, events); err != nil {
			return t.Seq, err
		}
		if len(events) == 0 {
			return t.Seq, l.durable(ctx, rack, t)
		}
		n, body, err := batch(events)
		if err != nil {
			return t.Seq, err
		}
		sum, err := messages.Sum(events[n-1])
		if err != nil {
			return t.Seq, err
		}
		err = l.publish(ctx, rack, t, Head{Epoch: epoch, Journal: t.Journal, Seq: events[n-1].GetSeq(), Sum: sum}, events[0].GetSeq(), body)
		switch {
		case err == nil:
			events, tries = events[n:], 0
		case !errors.Is(err, errMoved):
			return t.Seq, err
		case tries >= maxTries:
			return t.Seq, fmt.Errorf("append to rack %s: others write all the time: %w", rack, err)
		}
	}
}

// unknown are those of the events that the log does not hold. The others must be
// the same as in the log.
func (l *Log) unknown(ctx context.Context, rack string, t *tail, events []*messages.Event) ([]*messages.Event, error) {
	for i, e := range events {
		if want := events[0].GetSeq() + uint64(i); e.GetSeq() != want {
			return nil, fmt.Errorf("append to rack %s: %w: event %d stands behind event %d", rack, ErrGap, e.GetSeq(), want-1)
		}
	}
	if len(events) == 0 {
		return nil, nil
	}
	if first := events[0].GetSeq(); first == 0 || first > t.Seq+1 {
		return nil, fmt.Errorf("append to rack %s: %w: event %d comes behind event %d", rack, ErrGap, first, t.Seq)
	}
	for len(events) > 0 && events[0].GetSeq() <= t.Seq {
		held, err := l.Read(ctx, rack, events[0].GetSeq(), min(len(events), maxBatch))
		if err != nil {
			return nil, err
		}
		if len(held) == 0 {
			return nil, fmt.Errorf("read the log of rack %s: event %d is not there, but it holds %d", rack, events[0].GetSeq(), t.Seq)
		}
		for _, h := range held {
			if len(events) == 0 || events[0].GetSeq() > t.Seq {
				break
			}
			a, errA := messages.Sum(h)
			b, errB := messages.Sum(events[0])
			if err := errors.Join(errA, errB); err != nil {
				return nil, err
			}
			if !bytes.Equal(a, b) {
				return nil, fmt.Errorf("append to rack %s: %w: event %d differs", rack, ErrDiverged, h.GetSeq())
			}
			events = events[1:]
		}
	}
	return events, nil
}

// batch is as many of the events as one message carries, and the message.
func batch(events []*messages.Event) (int, []byte, error) {
	n, size := 0, 0
	for n < len(events) && n < maxBatch {
		if size += proto.Size(events[n]) + 8; size > maxBytes && n > 0 {
			break
		}
		n++
	}
	b, err := proto.Marshal(&messages.EventBatch{Events: events[:n]})
	if err != nil {
		return 0, nil, fmt.Errorf("write events for the log: %w", err)
	}
	return n, b, nil
}

// durable makes sure that what could be read of a rack is on disk. An embedded
// server that could not write may still show what it wanted to; it writes an empty
// message first. (Of a cluster only what most servers hold can be read.)
func (l *Log) durable(ctx context.Context, rack string, t *tail) error {
	if l.server == nil || !l.committer.suspect.Load() || t.place == 0 {
		return nil
	}
	err := l.publish(ctx, rack, t, t.Head, t.Seq+1, nil)
	if errors.Is(err, errMoved) {
		return nil // another write came first, and succeeded
	}
	return err
}

// errMoved says that the newest message of the rack is another one; the tail was
// read anew.
var errMoved = errors.New("the log has moved on")

// publish writes one message behind the tail, which it becomes. It carries no
// message id: the condition on the newest message says all that one would, beyond
// the server's window too, and one server and a cluster answer a retry with an id
// differently (measured).
func (l *Log) publish(ctx context.Context, rack string, t *tail, next Head, first uint64, body []byte) error {
	m := nats.NewMsg(eventsSubject(rack))
	m.Data = body
	if first > 0 {
		m.Header.Set(headerFirst, strconv.FormatUint(first, 10))
	}
	m.Header.Set(headerEpoch, strconv.FormatUint(next.Epoch, 10))
	m.Header.Set(headerJournal, next.Journal)
	m.Header.Set(headerLast, strconv.FormatUint(next.Seq, 10))
	m.Header.Set(headerSum, hex.EncodeToString(next.Sum))
	m.Header.Set(headerClaimed, strconv.FormatInt(next.Claimed.UnixNano(), 10))
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	place, err := l.committer.write(ctx, m, t.place)
	if err == nil {
		t.place, t.Head = place, next
		return nil
	}
	before := t.place
	t.known = false
	if !isWrongSequence(err) {
		return fmt.Errorf("write to the log of rack %s: %w", rack, explained(err))
	}
	// The newest message decides, not the error: it may be this very one, whose
	// acknowledgement was lost.
	if err := l.moved(ctx, rack, t, before); err != nil {
		return err
	}
	if t.Epoch == next.Epoch && t.Journal == next.Journal && t.Seq == next.Seq && bytes.Equal(t.Sum, next.Sum) {
		return nil
	}
	return errMoved
}

// inFlight is how long a write of somebody else, which a cluster has not stored
// yet, is waited for before the log is asked again.
const inFlight = 10 * time.Millisecond

// moved reads the tail anew, until it is another one than before: a write that a
// cluster refuses because of one on its way comes before that one can be read.
func (l *Log) moved(ctx context.Context, rack string, t *tail, before uint64) error {
	for range maxTries {
		if err := l.refresh(ctx, rack, t); err != nil {
			return err
		}
		if t.place != before {
			return nil
		}
		select {
		case <-time.After(inFlight):
		case <-ctx.Done():
			t.known = false
			return fmt.Errorf("write to the log of rack %s: %w", rack, ctx.Err())
		}
	}
	return nil // it was dropped: the caller tries again
}
