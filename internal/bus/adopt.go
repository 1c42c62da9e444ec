package bus

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Adopt implements the BusService: it claims the next epoch, and hands over what
// the log holds up to that.
func (d *Door) Adopt(ctx context.Context, q *connect.Request[messages.AdoptRequest], stream *connect.ServerStream[messages.AdoptResponse]) error {
	name, err := d.who(ctx, q.Msg.GetRack())
	if err != nil {
		return err
	}
	if err := checkName("journal", q.Msg.GetJournal()); err != nil {
		return err
	}
	head, err := d.o.Log.Head(ctx, name)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	if head.Epoch == 0 {
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("rack %s has no agent that could be lost: start this one without --adopt", name))
	}
	connected, err := d.o.Connected(ctx, name)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	if connected && !q.Msg.GetForce() {
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the agent of rack %s lives: it is connected at this moment (epoch %d, journal %s): stop it, or write --force if it must be replaced", name, head.Epoch, head.Journal))
	}
	if q.Msg.GetLook() {
		return d.lost(ctx, name, head, stream)
	}
	head, err = d.o.Log.Claim(ctx, name, q.Msg.GetJournal(), head)
	if errors.Is(err, ErrFenced) {
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("somebody else has adopted rack %s at this moment: %w", name, err))
	}
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	d.o.Logger.Warn("a rack was adopted by a new agent", "rack", name, "epoch", head.Epoch, "journal", head.Journal)
	d.o.Kick(name, errors.New("a new agent has adopted the rack"))
	plan, err := d.o.Plan(ctx, name)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	m := &messages.AdoptResponse{Epoch: head.Epoch, Plan: plan, LastSeq: head.Seq}
	for next := uint64(1); ; {
		if next <= head.Seq {
			if m.Events, err = d.o.Log.Read(ctx, name, next, maxBatch); err != nil {
				return connect.NewError(connect.CodeUnavailable, err)
			}
			if len(m.Events) == 0 {
				return connect.NewError(connect.CodeDataLoss, fmt.Errorf("the log of rack %s ends before event %d", name, next))
			}
			next = m.Events[len(m.Events)-1].GetSeq() + 1
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		if next > head.Seq {
			return nil
		}
		m = &messages.AdoptResponse{Epoch: head.Epoch, LastSeq: head.Seq}
	}
}

// lost says what would be taken over.
func (d *Door) lost(ctx context.Context, name string, head Head, stream *connect.ServerStream[messages.AdoptResponse]) error {
	plan, err := d.o.Plan(ctx, name)
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	m := &messages.AdoptResponse{Epoch: head.Epoch, Plan: plan, LastSeq: head.Seq}
	if d.o.Siblings != nil {
		m.Siblings, _ = d.o.Siblings(name, 0)
		all, _ := d.o.Siblings("", 0) // no rack is called so: nobody is left out
		for _, id := range all {
			if !slices.Contains(m.Siblings, id) {
				m.ServerIds = append(m.ServerIds, id)
			}
		}
	}
	return stream.Send(m)
}

// Lost is what is known of an agent that is lost.
type Lost struct {
	Plan     []byte       // what its run carries out, as JSON; empty: it was never begun
	Servers  []netip.Addr // from where it answered DHCP, as it said
	Siblings []netip.Addr // from where the agents of other racks do
}

// Look asks what Adopt would take over. Nothing is claimed.
func Look(ctx context.Context, client messagesconnect.BusServiceClient, rackName, journal string) (lost *Lost, err error) {
	stream, err := client.Adopt(ctx, connect.NewRequest(&messages.AdoptRequest{Rack: rackName, Journal: journal, Look: true}))
	if err != nil {
		return nil, fmt.Errorf("look at rack %s: %w", rackName, err)
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	if !stream.Receive() {
		if err := stream.Err(); err != nil {
			return nil, fmt.Errorf("look at rack %s: %w", rackName, err)
		}
		return nil, fmt.Errorf("look at rack %s: the coordinator says nothing: try again", rackName)
	}
	m := stream.Msg()
	return &Lost{Plan: m.GetPlan(), Servers: ServerIDs(m.GetServerIds(), MaxServerIDs), Siblings: ServerIDs(m.GetSiblings(), MaxSiblings)}, nil
}

// Adopt makes the caller, with a journal of that name, the agent of a rack whose
// agent is lost. take is given what the coordinator holds, in parts, in order; the
// first has the plan. An error means that the rack may be claimed, and nothing may
// be acted on: try again.
func Adopt(ctx context.Context, client messagesconnect.BusServiceClient, rackName, journal string, force bool, take func(plan []byte, epoch, lastSeq uint64, events []rack.Event) error) (err error) {
	stream, err := client.Adopt(ctx, connect.NewRequest(&messages.AdoptRequest{Rack: rackName, Journal: journal, Force: force}))
	if err != nil {
		return fmt.Errorf("adopt rack %s: %w", rackName, err)
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	next, last, parts := uint64(1), uint64(0), 0
	for stream.Receive() {
		m := stream.Msg()
		var events []rack.Event
		for _, x := range m.GetEvents() {
			e, err := messages.ToEvent(x)
			if err != nil {
				return fmt.Errorf("adopt rack %s: %w", rackName, err)
			}
			if e.Seq != next || e.Rack != rackName {
				return fmt.Errorf("adopt rack %s: event %d of rack %.80q came where event %d is due", rackName, e.Seq, e.Rack, next)
			}
			next++
			events = append(events, e)
		}
		if err := take(m.GetPlan(), m.GetEpoch(), m.GetLastSeq(), events); err != nil {
			return err
		}
		last, parts = m.GetLastSeq(), parts+1
	}
	if err := stream.Err(); err != nil {
		return fmt.Errorf("adopt rack %s: %w", rackName, err)
	}
	if parts == 0 || next != last+1 {
		return fmt.Errorf("adopt rack %s: the coordinator ended after event %d of %d: try again", rackName, next-1, last)
	}
	return nil
}
