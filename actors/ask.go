package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// ErrGone says that the actor that was asked has ended.
var ErrGone = errors.New("the actor that was asked has ended")

// Ask sends a message and waits for the answer until the context ends. It is
// for the edges (HTTP, CLI), never for use inside Receive. The library's own
// RequestFuture races between its reply and its time-out.
func Ask[T any](ctx context.Context, system *actor.ActorSystem, to *actor.PID, message any) (T, error) {
	var zero T
	answer := make(chan any, 1)
	type gone struct{}
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch m := c.Message().(type) {
		case *actor.Started:
			c.Watch(to) // what it had not read yet when it ended is lost without a word
		case *actor.Stopping:
			c.Unwatch(to)
		case *actor.Terminated:
			c.Send(c.Self(), gone{}) // behind an answer that it gave before
		case gone:
			select {
			case answer <- ErrGone:
			default:
			}
		case actor.SystemMessage, actor.AutoReceiveMessage:
		default:
			select {
			case answer <- m:
			default:
			}
		}
	}))
	defer system.Root.Stop(pid)
	system.Root.RequestWithCustomSender(to, message, pid)
	select {
	case m := <-answer:
		switch v := m.(type) {
		case T:
			return v, nil
		case error:
			return zero, v
		case *actor.DeadLetterResponse:
			return zero, ErrGone
		default:
			return zero, fmt.Errorf("asked for %T, got %T", zero, m)
		}
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}
