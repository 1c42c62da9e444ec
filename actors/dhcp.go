package actors

import (
	"context"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/messages"
)

// DHCPServer is a DHCP service that runs until its context ends, or returns why
// it cannot go on. It hands everything it sees to the function it was built with.
type DHCPServer interface {
	Serve(ctx context.Context) error
}

// NewDHCPServer opens the wire and builds a server on it. It is called once per
// incarnation of the DHCPActor, so that a restart opens the wire anew.
type NewDHCPServer func(seen func(*messages.DeviceSeen)) (DHCPServer, error)

// dhcpActor owns the DHCP service of an agent and publishes what it sees on the
// event stream. Packets are answered on the server's own goroutine, from the
// boot table; none passes through this mailbox. When the server ends, the actor
// fails, and Agent's strategy restarts it.
type dhcpActor struct {
	open NewDHCPServer
	stop context.CancelFunc
	done chan struct{}
}

// served says that the server of this incarnation ended on its own.
type served struct{ err error }

func (a *dhcpActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		a.start(c)
	case *served:
		panic(fmt.Errorf("DHCP service ended: %w", m.err))
	case *actor.Stopping, *actor.Restarting:
		a.end()
	}
}

func (a *dhcpActor) start(c actor.Context) {
	system, self := c.ActorSystem(), c.Self()
	server, err := a.open(func(seen *messages.DeviceSeen) { system.EventStream.Publish(seen) })
	if err != nil {
		panic(fmt.Errorf("open DHCP service: %w", err))
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop, a.done = stop, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		if err := serve(ctx, server); err != nil && ctx.Err() == nil {
			system.Root.Send(self, &served{err})
		}
	}(a.done)
}

// serve turns a panic of the server into its error, so that it ends this actor
// and not the process.
func serve(ctx context.Context, s DHCPServer) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("crashed: %.200v", r)
		}
	}()
	if err = s.Serve(ctx); err == nil && ctx.Err() == nil {
		err = fmt.Errorf("it returned without an error")
	}
	return err
}

// end stops the server and waits until its goroutine is gone.
func (a *dhcpActor) end() {
	if a.stop != nil {
		a.stop()
		<-a.done
		a.stop = nil
	}
}
