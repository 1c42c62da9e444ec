package fleetlog

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of following.
const (
	followBatch   = 256 // messages that fn gets at once
	followRequest = 512 // messages that are asked for at once
	followRead    = 2   // batches that are read and wait for fn
)

// FollowOption is a wish of who follows.
type FollowOption func(*following)

type following struct{ caughtUp func() }

// CaughtUp has fn called once, when all that stood in the log when Follow began
// was handed over. It is called between two batches.
func CaughtUp(fn func()) FollowOption {
	return func(f *following) { f.caughtUp = fn }
}

// Follow calls fn with what stands in the log behind a place, of all racks, in
// order, each once, and with what comes, until ctx ends; that is an error, as is
// one of fn or of the log. Messages are decoded on all processors, ahead of fn.
// Errors: ErrDamaged when a message cannot be read or is not there.
func (l *Log) Follow(ctx context.Context, after uint64, fn func([]Entry) error, options ...FollowOption) error {
	var f following
	for _, o := range options {
		o(&f)
	}
	end := after
	if f.caughtUp != nil {
		last, err := l.Last(ctx)
		if err != nil {
			return err
		}
		if end = last; end <= after {
			f.caughtUp()
			f.caughtUp = nil
		}
	}
	place := after
	return follow(ctx, l.events, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1},
		func(m jetstream.Msg) (Entry, error) {
			meta, err := m.Metadata()
			if err != nil {
				return Entry{}, fmt.Errorf("read the log: %w", err)
			}
			return entry(m.Subject(), m.Headers(), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		}, func(entries []Entry) error {
			// Nothing deletes a message: the server left out one that it cannot read.
			for _, e := range entries {
				if place++; e.Position != place {
					return fmt.Errorf("follow the log: %w: message %d is not there, message %d comes in its place: restore the log from a copy", ErrDamaged, place, e.Position)
				}
			}
			if err := fn(entries); err != nil {
				return err
			}
			if f.caughtUp != nil && place >= end {
				f.caughtUp()
				f.caughtUp = nil
			}
			return nil
		})
}

// follow reads a stream and hands it over in batches, as large as they come.
func follow[T any](ctx context.Context, s jetstream.Stream, c jetstream.OrderedConsumerConfig, read func(jetstream.Msg) (T, error), fn func([]T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	consumer, err := s.OrderedConsumer(ctx, c)
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	arrived := make(chan jetstream.Msg, followRequest)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case arrived <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(followRequest))
	if err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	ready := make(chan []T, followRead)
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			batch, err := readBatch(gatherMessages(ctx, arrived), read)
			if err != nil {
				cancel(err)
			}
			select {
			case ready <- batch:
			case <-ctx.Done():
				return
			}
		}
	})
	defer func() {
		cancel(nil) // a callback that waits goes on
		reader.Wait()
		consuming.Stop()
		<-consuming.Closed()
	}()
	for {
		select {
		case batch := <-ready:
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := fn(batch); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// gatherMessages waits for a message and takes those that are there behind it.
func gatherMessages(ctx context.Context, arrived <-chan jetstream.Msg) (out []jetstream.Msg) {
	select {
	case m := <-arrived:
		out = append(out, m)
	case <-ctx.Done():
		return nil
	}
	for len(out) < followBatch {
		select {
		case m := <-arrived:
			out = append(out, m)
		default:
			return out
		}
	}
	return out
}

// readBatch reads messages on all processors and keeps their order.
func readBatch[T any](messages []jetstream.Msg, read func(jetstream.Msg) (T, error)) ([]T, error) {
	out, errs := make([]T, len(messages)), make([]error, len(messages))
	workers := min(runtime.GOMAXPROCS(0), (len(messages)+15)/16)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(messages); i += workers {
				out[i], errs[i] = read(messages[i])
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return out[:i], err
		}
	}
	return out, nil
}
