package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// batch is how many events are handed on at once, at most.
const batch = 256

// Backend is a rack whose journal is at hand. Its methods may be called from any
// goroutine.
type Backend interface {
	// NewRun is the state of the rack before the first event of its journal.
	NewRun() *rack.Run
	// Log is the rack's journal.
	Log() journal.Log
	// Plan is what its run carries out, as JSON.
	Plan() []byte
	// Driven reports whether an agent drives the rack at this moment.
	Driven() bool
	// Speed is how many times faster than real hardware the devices are.
	Speed() float64
	// Transferred is how many bytes of its image a device was sent, and of how many.
	Transferred(device string) (sent, size int64)
	// Order journals an order. Errors: a *rack.Refusal; any other means that it
	// is not known to be obeyed.
	Order(ctx context.Context, o rack.Order) ([]rack.Event, error)
}

// Journalled makes a Rack of a Backend.
func Journalled(b Backend) Rack { return &journalled{backend: b, run: b.NewRun()} }

type journalled struct {
	backend Backend

	mu   sync.Mutex
	run  *rack.Run // up to last
	last uint64
	at   time.Time
}

// State implements Rack: it brings the run up to the end of the journal.
func (j *journalled) State(context.Context) (*messages.Rack, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		events, err := j.backend.Log().Read(j.last+1, batch)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			j.run.Apply(e)
			j.last, j.at = e.Seq, e.Time
		}
		if len(events) == 0 {
			break
		}
	}
	m := messages.FromRun(j.run, j.backend.Transferred)
	m.Driven, m.Speed, m.LastSeq = j.backend.Driven(), j.backend.Speed(), j.last
	if j.last > 0 {
		m.LastTime = timestamppb.New(j.at)
	}
	return m, nil
}

// Plan implements Rack.
func (j *journalled) Plan(context.Context) ([]byte, error) { return j.backend.Plan(), nil }

// Order implements Rack.
func (j *journalled) Order(ctx context.Context, o rack.Order) ([]*messages.Event, error) {
	events, err := j.backend.Order(ctx, o)
	return fromEvents(events), err
}

// Events implements Rack.
func (j *journalled) Events(ctx context.Context, from uint64, follow bool, fn func([]*messages.Event) error) error {
	log := j.backend.Log()
	for {
		over := ctx.Err() != nil // before the last look at the journal
		events, err := log.Read(from, batch)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			from = events[len(events)-1].Seq + 1
			if err := fn(fromEvents(events)); err != nil {
				return err
			}
			continue
		}
		if over || !follow {
			return nil
		}
		if err := log.Wait(ctx, from); errors.Is(err, journal.ErrClosed) {
			follow = false
		}
	}
}

func fromEvents(events []rack.Event) []*messages.Event {
	var out []*messages.Event
	for _, e := range events {
		out = append(out, messages.FromEvent(e))
	}
	return out
}
