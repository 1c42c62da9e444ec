package fleetlog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/messages"
)

// Headers of a message. All but the first and the last are of the rack after it.
const (
	headerFirst   = "Rackreach-First" // sequence of its first event; none: the message is a claim
	headerEpoch   = "Rackreach-Epoch"
	headerJournal = "Rackreach-Journal"
	headerLast    = "Rackreach-Last"
	headerSum     = "Rackreach-Sum"
)

// maxTries bounds how often a write is tried again because others wrote meanwhile.
const maxTries = 8

// Head is where a rack stands in the log.
type Head struct {
	Epoch   uint64 // whose word it is; 0: no agent was ever heard of
	Journal string // of the agent that writes in this epoch
	Seq     uint64 // of the newest event; 0: none
	Sum     []byte // of that (messages.Sum)
}

// tail is the newest message of a rack, as far as this process knows.
type tail struct {
	mu    sync.Mutex
	known bool
	place uint64 // its place in the stream; 0: there is none
	Head
}

func eventsSubject(rack string) string { return "rackreach.events." + rack }

// checkRack refuses what cannot be a part of a subject.
func checkRack(rack string) error {
	if rack == "" || len(rack) > 128 || strings.ContainsAny(rack, ".*> \t\r\n") {
		return fmt.Errorf("%.80q is not the name of a rack", rack)
	}
	return nil
}

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
		return fmt.Errorf("read the log of rack %s, message %d: %w", rack, m.Sequence, err)
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
	out.Sum, err = hex.DecodeString(h.Get(headerSum))
	return out, err
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
	return t.Head, nil
}

// Claim takes the epoch behind that of after for the agent with a journal of that
// name. Errors: ErrFenced when the rack is not as after says any more.
func (l *Log) Claim(ctx context.Context, rack, journal string, after Head) (Head, error) {
	t, err := l.locked(rack)
	if err != nil {
		return Head{}, err
	}
	defer t.mu.Unlock()
	if err := l.refresh(ctx, rack, t); err != nil {
		return Head{}, err
	}
	if t.Epoch != after.Epoch || t.Journal != after.Journal {
		return Head{}, fmt.Errorf("claim rack %s behind epoch %d: %w: it is in epoch %d", rack, after.Epoch, ErrFenced, t.Epoch)
	}
	next := t.Head
	next.Epoch, next.Journal = t.Epoch+1, journal
	for range maxTries {
		err := l.publish(ctx, rack, t, next, 0, nil)
		switch {
		case err == nil, t.Epoch == next.Epoch && t.Journal == journal:
			return t.Head, nil
		case !errors.Is(err, errMoved):
			return Head{}, err
		case t.Epoch != after.Epoch:
			return Head{}, fmt.Errorf("claim rack %s behind epoch %d: %w: it is in epoch %d", rack, after.Epoch, ErrFenced, t.Epoch)
		}
		next.Seq, next.Sum = t.Seq, t.Sum // the agent that is to be fenced has written meanwhile
	}
	return Head{}, fmt.Errorf("claim rack %s: others write all the time: try again", rack)
}

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
			return t.Seq, fmt.Errorf("append to rack %s in epoch %d: %w: it is in epoch %d", rack, epoch, ErrFenced, t.Epoch)
		}
		if events, err = l.unknown(ctx, rack, t, events); err != nil || len(events) == 0 {
			return t.Seq, err
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
			tries = 0
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

// errMoved says that the newest message of the rack is another one; the tail was
// read anew.
var errMoved = errors.New("the log has moved on")

// publish writes one message behind the tail, which it becomes.
func (l *Log) publish(ctx context.Context, rack string, t *tail, next Head, first uint64, body []byte) error {
	m := nats.NewMsg(eventsSubject(rack))
	m.Data = body
	id := fmt.Sprintf("%s/%d/claim/%s", rack, next.Epoch, next.Journal)
	if first > 0 {
		id = fmt.Sprintf("%s/%d/%d-%d", rack, next.Epoch, first, next.Seq)
		m.Header.Set(headerFirst, strconv.FormatUint(first, 10))
	}
	m.Header.Set(headerEpoch, strconv.FormatUint(next.Epoch, 10))
	m.Header.Set(headerJournal, next.Journal)
	m.Header.Set(headerLast, strconv.FormatUint(next.Seq, 10))
	m.Header.Set(headerSum, hex.EncodeToString(next.Sum))
	ack, err := l.write(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectLastSequencePerSubject(t.place), jetstream.WithRetryAttempts(0))
	if err == nil && !ack.Duplicate {
		t.place, t.Head = ack.Sequence, next
		return nil
	}
	// The newest message decides, not the error: it may be this very one, whose
	// acknowledgement was lost. One server answers a retry with "wrong last
	// sequence", a cluster with "duplicate" (measured).
	moved := err == nil || isWrongSequence(err)
	t.known = false
	if !moved {
		return fmt.Errorf("write to the log of rack %s: %w", rack, err)
	}
	if err := l.settled(ctx, rack, t, ack); err != nil {
		return err
	}
	if t.Epoch == next.Epoch && t.Journal == next.Journal && t.Seq == next.Seq && bytes.Equal(t.Sum, next.Sum) {
		return nil
	}
	return errMoved
}

// settled reads the tail anew; of a duplicate, until a replica that answers holds it.
func (l *Log) settled(ctx context.Context, rack string, t *tail, ack *jetstream.PubAck) error {
	for {
		if err := l.refresh(ctx, rack, t); err != nil {
			return err
		}
		if ack == nil || t.place >= ack.Sequence {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func isWrongSequence(err error) bool {
	var e *jetstream.APIError
	return errors.As(err, &e) && e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
