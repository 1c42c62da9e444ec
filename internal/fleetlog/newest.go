package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Newest is the newest message of a rack. Position and Time name it: neither
// another log nor one that came out of a backup has the same message there.
type Newest struct {
	Position uint64
	Time     time.Time // when the log took it, by its server's clock
	Head
}

// asks bounds the questions that are put to the log at once.
const asks = 8

// Newest is the newest message of every rack.
func (l *Log) Newest(ctx context.Context) (map[string]Newest, error) {
	info, err := l.events.Info(ctx, jetstream.WithSubjectFilter(eventsSubject("*")))
	if err != nil {
		return nil, fmt.Errorf("ask the log for its racks: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[string]Newest{}
	slots := make(chan struct{}, asks)
	for subject := range info.State.Subjects {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			rack := strings.TrimPrefix(subject, eventsSubject(""))
			n, err := l.newest(ctx, rack)
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			out[rack] = n
			mu.Unlock()
		})
	}
	wg.Wait()
	return out, context.Cause(ctx)
}

func (l *Log) newest(ctx context.Context, rack string) (Newest, error) {
	m, err := l.events.GetLastMsgForSubject(ctx, eventsSubject(rack))
	if err != nil {
		return Newest{}, fmt.Errorf("read the log of rack %s: %w", rack, err)
	}
	h, err := headOf(m.Header)
	if err != nil {
		return Newest{}, fmt.Errorf("read the log of rack %s, message %d: %w: %w", rack, m.Sequence, ErrDamaged, err)
	}
	return Newest{m.Sequence, m.Time, h}, nil
}

// Has reports whether the log has a message of a rack at a position that it took at
// that time: then all that it held before that message stands before it still.
func (l *Log) Has(ctx context.Context, rack string, position uint64, at time.Time) (bool, error) {
	m, err := l.events.GetMsg(ctx, position)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read message %d of the log: %w", position, err)
	}
	return m.Subject == eventsSubject(rack) && m.Time.Equal(at), nil
}

// First is the position of the first message of a rack; 0: there is none.
func (l *Log) First(ctx context.Context, rack string) (uint64, error) {
	m, _, err := l.next(ctx, rack, 1)
	if m == nil {
		return 0, err
	}
	return m.Sequence, nil
}
