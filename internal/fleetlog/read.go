package fleetlog

import (
	"context"
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

// Entry is one message of the log: a claim, or events of one rack.
type Entry struct {
	Position uint64 // in the log
	Rack     string
	Epoch    uint64
	Journal  string // of a claim; empty for events
	Events   []*messages.Event
	Bytes    int       // of the events
	Time     time.Time // when the log took it, by its server's clock
}

// entry reads a message.
func entry(subject string, h nats.Header, body []byte, place uint64, at time.Time) (Entry, error) {
	e := Entry{Position: place, Rack: strings.TrimPrefix(subject, eventsSubject("")), Time: at}
	head, err := headOf(h)
	if err != nil {
		return e, fmt.Errorf("read message %d of the log: %w: %w", place, ErrDamaged, err)
	}
	e.Epoch = head.Epoch
	if h.Get(headerFirst) == "" {
		e.Journal = head.Journal
		return e, nil
	}
	var b messages.EventBatch
	if err := proto.Unmarshal(body, &b); err != nil {
		return e, fmt.Errorf("read message %d of the log: %w: %w", place, ErrDamaged, err)
	}
	e.Events, e.Bytes = b.GetEvents(), len(body)
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

// Read is at most limit events of a rack from a sequence on, in order. What was
// read in order before is found at once, the rest by halving the log. Errors:
// ErrDamaged when an event is not there though a newer one is.
func (l *Log) Read(ctx context.Context, rack string, from uint64, limit int) ([]*messages.Event, error) {
	if err := checkRack(rack); err != nil {
		return nil, err
	}
	from = max(from, 1)
	place, err := l.find(ctx, rack, from)
	if err != nil {
		return nil, err
	}
	var out []*messages.Event
	for next := from; len(out) < limit; {
		m, last, err := l.next(ctx, rack, place)
		if err != nil {
			return nil, err
		}
		if m == nil {
			break
		}
		place = m.Sequence + 1
		if last < from || m.Header.Get(headerFirst) == "" {
			continue
		}
		e, err := entry(m.Subject, m.Header, m.Data, m.Sequence, m.Time)
		if err != nil {
			return nil, err
		}
		for _, x := range e.Events {
			if x.GetSeq() < from || len(out) == limit {
				continue
			}
			if x.GetSeq() != next {
				return nil, fmt.Errorf("read the log of rack %s, message %d: %w: event %d stands where event %d is due", rack, m.Sequence, ErrDamaged, x.GetSeq(), next)
			}
			out, next = append(out, x), next+1
		}
		if next <= last {
			place = m.Sequence // the rest of it is read next
		}
	}
	if n := len(out); n > 0 {
		l.hints.put(rack, out[n-1].GetSeq()+1, place)
	}
	return out, nil
}

// next is the first message of a rack from a place on, and the newest event up to
// there; nil: there is none.
func (l *Log) next(ctx context.Context, rack string, place uint64) (*jetstream.RawStreamMsg, uint64, error) {
	m, err := l.events.GetMsg(ctx, place, jetstream.WithGetMsgSubject(eventsSubject(rack)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the log of rack %s: %w", rack, err)
	}
	last, err := strconv.ParseUint(m.Header.Get(headerLast), 10, 64)
	if err != nil {
		return nil, 0, fmt.Errorf("read the log of rack %s, message %d: %w: %w", rack, m.Sequence, ErrDamaged, err)
	}
	return m, last, nil
}

// find is a place from which on the events of a rack from a sequence on stand.
func (l *Log) find(ctx context.Context, rack string, from uint64) (uint64, error) {
	if place := l.hints.find(rack, from); place > 1 || from == 1 {
		return place, nil
	}
	end, err := l.Last(ctx)
	if err != nil {
		return 0, err
	}
	// All before low is older; all from high on is not, or not of the rack.
	low, high := uint64(1), end+1
	for low < high {
		middle := low + (high-low)/2
		m, last, err := l.next(ctx, rack, middle)
		switch {
		case err != nil:
			return 0, err
		case m != nil && last < from:
			low = m.Sequence + 1
		default:
			high = middle
		}
	}
	return low, nil
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
