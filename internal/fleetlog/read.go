package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/messages"
)

// Entry is one message of the log: a claim, or events of one rack.
type Entry struct {
	Position uint64 // in the log
	Rack     string
	Epoch    uint64
	Journal  string // of a claim; empty for events
	Events   []*messages.Event
}

// entry reads a message.
func entry(subject string, h nats.Header, body []byte, place uint64) (Entry, error) {
	e := Entry{Position: place, Rack: strings.TrimPrefix(subject, eventsSubject(""))}
	head, err := headOf(h)
	if err != nil {
		return e, fmt.Errorf("read message %d of the log: %w", place, err)
	}
	e.Epoch = head.Epoch
	if h.Get(headerFirst) == "" {
		e.Journal = head.Journal
		return e, nil
	}
	var b messages.EventBatch
	if err := proto.Unmarshal(body, &b); err != nil {
		return e, fmt.Errorf("read message %d of the log: %w", place, err)
	}
	e.Events = b.GetEvents()
	return e, nil
}

// Last is the place of the newest message; 0: there is none.
func (l *Log) Last(ctx context.Context) (uint64, error) {
	info, err := l.events.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask the log for its end: %w", err)
	}
	return info.State.LastSeq, nil
}

// followBatch bounds how many messages Follow hands over at once.
const followBatch = 256

// Follow calls fn with what stands in the log behind a place, of all racks, in
// order, each once, and with what comes, until ctx ends; that is an error, as is
// one of fn or of the log.
func (l *Log) Follow(ctx context.Context, after uint64, fn func([]Entry) error) error {
	return follow(ctx, l.events, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1},
		func(m jetstream.Msg) (Entry, error) {
			meta, err := m.Metadata()
			if err != nil {
				return Entry{}, fmt.Errorf("read the log: %w", err)
			}
			return entry(m.Subject(), m.Headers(), m.Data(), meta.Sequence.Stream)
		}, fn)
}

// follow reads a stream and hands it over in batches, as large as they come.
func follow[T any](ctx context.Context, s jetstream.Stream, c jetstream.OrderedConsumerConfig, read func(jetstream.Msg) (T, error), fn func([]T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	consumer, err := s.OrderedConsumer(ctx, c)
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	ready := make(chan T, 2*followBatch)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		x, err := read(m)
		if err != nil {
			cancel(err)
			return
		}
		select {
		case ready <- x:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(4*followBatch))
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	defer func() {
		cancel(nil) // a callback that waits goes on
		consuming.Stop()
		<-consuming.Closed()
	}()
	for {
		var out []T
		select {
		case x := <-ready:
			out = append(out, x)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for more := true; more && len(out) < followBatch; {
			select {
			case x := <-ready:
				out = append(out, x)
			default:
				more = false
			}
		}
		if err := fn(out); err != nil {
			return err
		}
	}
}

// Read is at most limit events of a rack from a sequence on, in order. What was
// read in order before is found at once.
func (l *Log) Read(ctx context.Context, rack string, from uint64, limit int) ([]*messages.Event, error) {
	if err := checkRack(rack); err != nil {
		return nil, err
	}
	from = max(from, 1)
	place := l.hints.find(rack, from)
	var out []*messages.Event
	for len(out) < limit {
		m, err := l.events.GetMsg(ctx, place, jetstream.WithGetMsgSubject(eventsSubject(rack)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the log of rack %s: %w", rack, err)
		}
		place = m.Sequence + 1
		last, err := strconv.ParseUint(m.Header.Get(headerLast), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the log of rack %s, message %d: %w", rack, m.Sequence, err)
		}
		if last < from || m.Header.Get(headerFirst) == "" {
			continue
		}
		e, err := entry(m.Subject, m.Header, m.Data, m.Sequence)
		if err != nil {
			return nil, err
		}
		for _, x := range e.Events {
			if x.GetSeq() >= from && len(out) < limit {
				out = append(out, x)
			}
		}
		if len(out) == limit && out[limit-1].GetSeq() < last {
			place = m.Sequence // the rest of it is read next
		}
	}
	if n := len(out); n > 0 {
		l.hints.put(rack, out[n-1].GetSeq()+1, place)
	}
	return out, nil
}

// hints remember where readers stopped.
type hints struct {
	mu sync.Mutex
	at map[hint]uint64
}

type hint struct {
	rack string
	from uint64
}

// maxHints bounds them; when there are more, all are forgotten.
const maxHints = 8192

func (h *hints) find(rack string, from uint64) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.at[hint{rack, from}], 1)
}

func (h *hints) put(rack string, from, place uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.at) >= maxHints {
		clear(h.at)
	}
	h.at[hint{rack, from}] = place
}
