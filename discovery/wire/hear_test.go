package wire_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/rackreach/rackreach/discovery/wire"
)

// script is frames and errors in an order.
type script struct {
	says   []any
	closed atomic.Int32
}

func (s *script) Read() ([]byte, error) {
	if len(s.says) == 0 || s.closed.Load() > 0 {
		return nil, net.ErrClosed
	}
	x := s.says[0]
	s.says = s.says[1:]
	if err, ok := x.(error); ok {
		return nil, err
	}
	return []byte(x.(string)), nil
}

func (s *script) Close() error { s.closed.Add(1); return nil }

func TestHear(t *testing.T) {
	down := errors.New("the network is down")
	for _, c := range []struct {
		name string
		says []any
		want []string
		err  error
	}{
		{"frames", []any{"a", "b"}, []string{"a", "b"}, net.ErrClosed},
		{"goes on after an error", []any{"a", down, "b"}, []string{"a", "b"}, net.ErrClosed},
		{"gives up", append(slices.Repeat([]any{down}, 15), append([]any{"a"}, append(slices.Repeat([]any{down}, 16), "b")...)...), []string{"a"}, down},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{says: c.says}
			var got []string
			err := wire.Hear(t.Context(), s, func(f []byte) { got = append(got, string(f)) })
			if !errors.Is(err, c.err) || !slices.Equal(got, c.want) || s.closed.Load() != 1 {
				t.Errorf("%q %v, closed %d times", got, err, s.closed.Load())
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{says: []any{"a", "b"}}
	if err := wire.Hear(ctx, s, func([]byte) { cancel() }); err != nil || s.closed.Load() != 1 {
		t.Errorf("%v, closed %d times", err, s.closed.Load())
	}
}
