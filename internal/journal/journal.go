// Package journal is the log of a rack's events, the truth of its run.
//
// Usage: whoever decides an event appends it, and only then applies it, acts
// and lets others know. Append gives each event its sequence and returns when
// the event is as durable as the log makes it. A Tail hands out every event
// from a sequence on, in order, once; it is how the rest of a process learns
// what happened, so that nobody acts on what was not journalled.
//
// Concurrency: all methods may be called from any goroutine.
package journal

import (
	"context"
	"errors"

	"github.com/rackreach/rackreach/internal/rack"
)

// ErrClosed is returned by a log that was closed.
var ErrClosed = errors.New("journal is closed")

// Log is an append-only list of events.
type Log interface {
	// Append journals events in their order, all or none, and returns them with
	// Seq and Time set. After an error nothing may be acted on: the process must
	// end and resume from what is durable. Errors: ErrClosed, a full or broken
	// disk, an event that cannot be written as it is (text that is not UTF-8, too large).
	Append(events ...rack.Event) ([]rack.Event, error)
	// Read returns at most limit events with a sequence of at least from.
	Read(from uint64, limit int) ([]rack.Event, error)
	// Wait returns when an event with a sequence of at least from exists, with
	// the context's error, or ErrClosed.
	Wait(ctx context.Context, from uint64) error
	// Close ends the log; waiting readers get ErrClosed once they have read all.
	Close() error
}

// tailBatch bounds how many events a Tail hands over at once.
const tailBatch = 256

// Tail calls fn with batches of events, from the sequence from on, in order,
// until the context ends or the log is closed and read to its end; both are nil.
// An error of fn or of the log ends it and is returned.
func Tail(ctx context.Context, log Log, from uint64, fn func([]rack.Event) error) error {
	for {
		err := log.Wait(ctx, from)
		if err != nil && (ctx.Err() != nil || errors.Is(err, ErrClosed)) {
			return nil
		}
		if err != nil {
			return err
		}
		events, err := log.Read(from, tailBatch)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			continue
		}
		from = events[len(events)-1].Seq + 1
		if err := fn(events); err != nil {
			return err
		}
	}
}
