package coordinator

import (
	"context"
	"errors"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/messages"
)

// attachment is one connection of an agent.
type attachment struct {
	*actors.Line
	c    *Coordinator
	rack string
	word *word // where it answers DHCP from
}

// attach tells the actors of a connection.
func (c *Coordinator) attach(rack string, hello *messages.Hello, epoch uint64) bus.Attachment {
	a := &attachment{actors.NewLine(), c, rack, c.servers.connected(rack)}
	a.word.say(hello.GetServerIds())
	c.heads.meet(rack)
	c.system.Root.Send(c.fleet, &actors.AgentAttached{Rack: rack, Hello: hello, Epoch: epoch, Line: a.Line})
	return a
}

// Heard implements bus.Attachment.
func (a *attachment) Heard(h *messages.Heartbeat) {
	a.word.say(h.GetServerIds())
	a.c.system.Root.Send(a.c.fleet, &actors.AgentHeard{Rack: a.rack, Line: a.Line, Heartbeat: h})
}

// Detach implements bus.Attachment.
func (a *attachment) Detach() {
	a.c.system.Root.Send(a.c.fleet, &actors.AgentDetached{Rack: a.rack, Line: a.Line})
}

// record is the log as the door to the agents sees it.
type record struct{ log *fleetlog.Log }

// Head implements bus.Log.
func (r record) Head(ctx context.Context, rack string) (bus.Head, error) {
	h, err := r.log.Head(ctx, rack)
	return bus.Head{Epoch: h.Epoch, Journal: h.Journal, Seq: h.Seq, Sum: h.Sum}, told(err)
}

// Claim implements bus.Log.
func (r record) Claim(ctx context.Context, rack, journal string, after bus.Head) (bus.Head, error) {
	h, err := r.log.Claim(ctx, rack, journal, fleetlog.Head{Epoch: after.Epoch, Journal: after.Journal, Seq: after.Seq, Sum: after.Sum})
	return bus.Head{Epoch: h.Epoch, Journal: h.Journal, Seq: h.Seq, Sum: h.Sum}, told(err)
}

// Append implements bus.Log.
func (r record) Append(ctx context.Context, rack string, epoch uint64, events []*messages.Event) (uint64, error) {
	seq, err := r.log.Append(ctx, rack, epoch, events)
	return seq, told(err)
}

// Read implements bus.Log.
func (r record) Read(ctx context.Context, rack string, from uint64, limit int) ([]*messages.Event, error) {
	return r.log.Read(ctx, rack, from, limit)
}

// told puts an error of the log into the words of the bus.
func told(err error) error {
	for ours, theirs := range map[error]error{fleetlog.ErrFenced: bus.ErrFenced, fleetlog.ErrGap: bus.ErrGap, fleetlog.ErrDiverged: bus.ErrDiverged} {
		if errors.Is(err, ours) {
			return errors.Join(theirs, err)
		}
	}
	return err
}
