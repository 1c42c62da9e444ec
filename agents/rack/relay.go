package rackagent

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/rackreach/rackreach/internal/api"
)

// relay hands the connections of one listener to servers that follow each other.
type relay struct {
	l     net.Listener
	conns chan net.Conn
	ended chan struct{} // closed when the listener has
	err   error         // why; nil: it was closed
}

func newRelay(l net.Listener) *relay {
	r := &relay{l: l, conns: make(chan net.Conn), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					r.err = err
				}
				return
			}
			r.conns <- c // close empties it
		}
	}()
	return r
}

// close closes the listener, and what nobody took of it.
func (r *relay) close() error {
	err := r.l.Close()
	for {
		select {
		case c := <-r.conns:
			err = errors.Join(err, c.Close())
		case <-r.ended:
			return err
		}
	}
}

// turn is the listener of one of the servers.
type turn struct {
	relay *relay
	over  chan struct{}
	once  sync.Once
}

var _ net.Listener = (*turn)(nil)

// Accept implements net.Listener.
func (t *turn) Accept() (net.Conn, error) {
	select {
	case <-t.over:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-t.relay.conns:
		return c, nil
	case <-t.over:
		return nil, net.ErrClosed
	case <-t.relay.ended:
		return nil, errors.Join(net.ErrClosed, t.relay.err)
	}
}

// Close implements net.Listener: the next server may take its turn.
func (t *turn) Close() error {
	t.once.Do(func() { close(t.over) })
	return nil
}

// Addr implements net.Listener.
func (t *turn) Addr() net.Addr { return t.relay.l.Addr() }

// serve serves the API of a rack until ctx ends, and closes the listener. A
// service knows the devices of its rack from its beginning: there is a new one
// when a plan names them. Streams last as long as a service does; that is, from
// a plan on, over every end of a run.
func serve(ctx context.Context, l net.Listener, k *Keeper) (err error) {
	r := newRelay(l)
	defer func() { err = errors.Join(err, r.close()) }()
	for ctx.Err() == nil {
		named := k.named()
		until, stop := context.WithCancel(ctx)
		go func() {
			select {
			case <-named:
				stop()
			case <-until.Done():
			}
		}()
		err := api.New(k).Serve(until, &turn{relay: r, over: make(chan struct{})})
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}
