package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Head is where a rack stands in the log.
type Head struct {
	Epoch   uint64 // 0: no agent was ever heard of
	Journal string
	Seq     uint64
	Sum     []byte // of the newest event (messages.Sum)
}

// Log is the log of record, as the Door writes it.
type Log interface {
	Head(ctx context.Context, rack string) (Head, error)
	// Claim takes the epoch behind that of after. Errors: ErrFenced.
	Claim(ctx context.Context, rack, journal string, after Head) (Head, error)
	// Append makes events durable and returns the newest that is. Errors:
	// ErrFenced, ErrGap, ErrDiverged.
	Append(ctx context.Context, rack string, epoch uint64, events []*messages.Event) (uint64, error)
	Read(ctx context.Context, rack string, from uint64, limit int) ([]*messages.Event, error)
}

// Attachment is one connection of an agent, as the fleet sees it.
type Attachment interface {
	// Orders are to be sent down.
	Orders() <-chan *messages.Order
	// Heard tells of a heartbeat.
	Heard(h *messages.Heartbeat)
	// Kicked is closed when the connection must end; Why says why.
	Kicked() <-chan struct{}
	Why() error
	// Detach tells that the connection has ended.
	Detach()
}

// DoorOptions are what a Door is built from. All fields without a default must be
// set.
type DoorOptions struct {
	Log Log
	// Rack is the rack that the caller's certificate names; empty: there are no
	// certificates, and the caller is believed.
	Rack func(ctx context.Context) (string, error)
	// Attach tells of a connection.
	Attach func(rack string, hello *messages.Hello, epoch uint64) Attachment
	// Connected reports whether the rack's agent is connected, to this coordinator or
	// to another one of the same log; for Adopt.
	Connected func(ctx context.Context, rack string) (bool, error)
	// Plan is what the run of a rack carries out, as JSON; nil when it was never begun.
	Plan func(ctx context.Context, rack string) ([]byte, error)
	// Wants reports whether the plan of that hash is not known, and is asked for;
	// Planned is given it. Both may be nil.
	Wants   func(ctx context.Context, rack, hash string) (bool, error)
	Planned func(ctx context.Context, rack string, plan []byte) error
	// Kick ends the connection of a rack's agent.
	Kick func(rack string, why error)
	// Siblings are the server ids of the agents of other racks than this one, and a
	// version of them, which is another one once they have changed; they are not made
	// when it is known still. Version 0: who they are is not known yet. nil: that is
	// never said.
	Siblings func(rack string, known uint64) (ids []string, version uint64)
	// LastHeard is when the agent of a rack that writes in an epoch was heard of last;
	// zero: that is not known. It may be nil.
	LastHeard func(rack string, epoch uint64) time.Time
	// Ended is closed when the coordinator ends.
	Ended <-chan struct{}

	KeepaliveEvery time.Duration // 0: HeartbeatEvery
	Logger         *slog.Logger  // nil: discarded
}

// Door is the coordinator's end of the stream.
type Door struct{ o DoorOptions }

var _ messagesconnect.BusServiceHandler = (*Door)(nil)

// NewDoor makes a Door.
func NewDoor(o DoorOptions) *Door {
	if o.KeepaliveEvery == 0 {
		o.KeepaliveEvery = HeartbeatEvery
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Door{o}
}

type serverStream = connect.BidiStream[messages.ConnectRequest, messages.ConnectResponse]

// heard is one message of an agent, or why there is none.
type heard struct {
	m   *messages.ConnectRequest
	err error
}

// Connect implements the BusService.
func (d *Door) Connect(ctx context.Context, stream *serverStream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A goroutine of its own reads, so that this one can end while nothing comes;
	// the end of the handler ends it.
	in := make(chan heard)
	go func() {
		for {
			m, err := stream.Receive()
			select {
			case in <- heard{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	c := &connection{d: d, stream: stream, in: in}
	if err := c.greet(ctx); err != nil {
		return err
	}
	a := d.o.Attach(c.rack, c.hello, c.epoch)
	d.o.Logger.Info("an agent is connected", "rack", c.rack, "epoch", c.epoch, "event", c.acked)
	// Who was revoked between its greeting and this was kicked before it was attached.
	_, err := d.who(ctx, c.rack)
	if err == nil {
		err = c.serve(ctx, a)
	}
	a.Detach()
	d.o.Logger.Info("an agent is not connected any more", "rack", c.rack, "why", err)
	return err
}

// connection is one connection of an agent.
type connection struct {
	d      *Door
	stream *serverStream
	in     <-chan heard
	rack   string
	hello  *messages.Hello
	epoch  uint64
	acked  uint64
	said   time.Time // when it was said last what is acknowledged

	siblings uint64 // version of those that were said last; 0: none were
}

// greet hears the hello and says welcome.
func (c *connection) greet(ctx context.Context) error {
	limit := time.NewTimer(helloLimit)
	defer limit.Stop()
	select {
	case h := <-c.in:
		if h.err != nil {
			return h.err
		}
		c.hello = h.m.GetHello()
	case <-limit.C:
		return connect.NewError(connect.CodeDeadlineExceeded, errors.New("no hello was said"))
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.hello == nil {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("the first message must be a hello"))
	}
	if n := proto.Size(c.hello); n > maxHello {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a hello of %d bytes", n))
	}
	var err error
	if c.rack, err = c.d.who(ctx, c.hello.GetRack()); err != nil {
		return err
	}
	if err := checkName("journal", c.hello.GetJournal()); err != nil {
		return err
	}
	head, err := c.d.o.Log.Head(ctx, c.rack)
	if err == nil && head.Epoch == 0 {
		head, err = c.d.o.Log.Claim(ctx, c.rack, c.hello.GetJournal(), head)
		if errors.Is(err, ErrFenced) { // another one was quicker
			head, err = c.d.o.Log.Head(ctx, c.rack)
		}
	}
	if err != nil {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	if head.Journal != c.hello.GetJournal() {
		return c.other(head)
	}
	if has := c.hello.GetLastSeq(); has < head.Seq {
		// Before it is taken for the agent: a copy of an old state must not cut off the
		// agent itself.
		return diverged(fmt.Sprintf("it has %d events, the journal %d", head.Seq, has))
	}
	c.epoch, c.acked = head.Epoch, head.Seq
	w := &messages.Welcome{Epoch: head.Epoch, AckedSeq: head.Seq, AckedSum: head.Sum}
	if c.d.o.Siblings != nil {
		ids, version := c.d.o.Siblings(c.rack, 0)
		if w.SiblingServerIds = ids; len(ids) > 0 {
			c.siblings = version
		}
	}
	if c.d.o.Wants != nil && c.hello.GetPlanHash() != "" {
		if w.SendPlan, err = c.d.o.Wants(ctx, c.rack, c.hello.GetPlanHash()); err != nil {
			return connect.NewError(connect.CodeUnavailable, err)
		}
	}
	return c.stream.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Welcome{Welcome: w}})
}

// who is the rack that calls, which must be the one that it names.
func (d *Door) who(ctx context.Context, named string) (string, error) {
	is, err := d.o.Rack(ctx)
	if err != nil {
		return "", connect.NewError(connect.CodeUnauthenticated, err)
	}
	if err := checkName("rack", named); err != nil {
		return "", err
	}
	if is != "" && is != named {
		return "", connect.NewError(connect.CodePermissionDenied, fmt.Errorf("the certificate is of the agent of rack %s, and may not speak for rack %.80q", is, named))
	}
	return named, nil
}

// checkName refuses what cannot be a part of a name in the log.
func checkName(what, name string) error {
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(".*>/", c) }) {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%.80q is not the name of a %s", name, what))
	}
	return nil
}

// other is the error for an agent that the log does not name. Only a newer epoch
// than its own ends it for good: a replica that lags behind, or a log out of a
// backup, may name the agent of before.
func (c *connection) other(h Head) error {
	if own := max(c.hello.GetEpoch(), c.epoch); h.Epoch < own || h.Journal == c.hello.GetJournal() {
		return connect.NewError(connect.CodeUnavailable, fmt.Errorf("rack %s is in epoch %d in the log, and its agent in epoch %d: the log is behind at this moment, or came out of a backup", c.rack, h.Epoch, own))
	}
	var heard time.Time
	if c.d.o.LastHeard != nil {
		heard = c.d.o.LastHeard(c.rack, h.Epoch)
	}
	return superseded(c.rack, h, heard)
}

// superseded is the error for an agent that does not own its rack. heard is when the
// one that does was heard of last; zero: that is not known.
func superseded(rack string, h Head, heard time.Time) error {
	by := &messages.Superseded{Epoch: h.Epoch, Journal: h.Journal}
	if !heard.IsZero() {
		by.LastHeard = timestamppb.New(heard)
	}
	return final(fmt.Errorf("rack %s belongs to another agent (epoch %d, journal %s): if that one is lost, start this one with --adopt", rack, h.Epoch, h.Journal),
		by)
}

// diverged is the error for an agent whose journal is not what the log holds.
func diverged(what string) error {
	return final(errors.New(what), &messages.Diverged{What: what})
}

// final is an error that ends an Uplink; its detail says so, since a proxy on
// the way may answer with any code.
func final(err error, detail proto.Message) error {
	e := connect.NewError(connect.CodeFailedPrecondition, err)
	if d, err := connect.NewErrorDetail(detail); err == nil {
		e.AddDetail(d)
	}
	return e
}

// serve is the connection after its greeting.
func (c *connection) serve(ctx context.Context, a Attachment) error {
	alive := time.NewTicker(c.d.o.KeepaliveEvery)
	defer alive.Stop()
	silence := time.NewTimer(silenceOf * HeartbeatEvery)
	defer silence.Stop()
	for {
		select {
		case h := <-c.in:
			if h.err != nil {
				return h.err
			}
			silence.Reset(silenceOf * HeartbeatEvery)
			if err := c.take(ctx, a, h.m); err != nil {
				return err
			}
		case o := <-a.Orders():
			if err := c.stream.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Order{Order: o}}); err != nil {
				return err
			}
		case <-alive.C:
			// A certificate that expires ends the stream: the agent comes back with the
			// next one.
			if _, err := c.d.who(ctx, c.rack); err != nil {
				return err
			}
			if err := c.tellSiblings(); err != nil {
				return err
			}
			if time.Since(c.said) < c.d.o.KeepaliveEvery/2 {
				continue // the agent has heard
			}
			if err := c.ack(); err != nil {
				return err
			}
		case <-silence.C:
			return connect.NewError(connect.CodeDeadlineExceeded, errors.New("the agent is silent"))
		case <-a.Kicked():
			return connect.NewError(connect.CodeAborted, a.Why())
		case <-c.d.o.Ended:
			return connect.NewError(connect.CodeUnavailable, errors.New("the coordinator ends"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *connection) ack() error {
	c.said = time.Now()
	return c.stream.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Ack{Ack: &messages.EventAck{Seq: c.acked}}})
}

// take takes in one message.
func (c *connection) take(ctx context.Context, a Attachment, m *messages.ConnectRequest) error {
	switch x := m.GetMessage().(type) {
	case *messages.ConnectRequest_Events:
		return c.append(ctx, x.Events.GetEvents())
	case *messages.ConnectRequest_Heartbeat:
		if n := proto.Size(x.Heartbeat); n > maxBeat {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a heartbeat of %d bytes", n))
		}
		a.Heard(x.Heartbeat)
		return nil
	case *messages.ConnectRequest_Plan:
		if c.d.o.Planned == nil {
			return nil
		}
		if err := c.d.o.Planned(ctx, c.rack, x.Plan); err != nil { // its events are taken all the same
			c.d.o.Logger.Error("the plan that an agent told of cannot be kept; what its rack does is not shown", "rack", c.rack, "error", err)
		}
		return nil
	}
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a message that is not due: %T", m.GetMessage()))
}

// append makes events durable, and says so.
func (c *connection) append(ctx context.Context, events []*messages.Event) error {
	if err := checkEvents(c.rack, events); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	seq, err := c.d.o.Log.Append(ctx, c.rack, c.epoch, events)
	switch {
	case errors.Is(err, ErrFenced):
		head, herr := c.d.o.Log.Head(ctx, c.rack)
		if herr != nil {
			return connect.NewError(connect.CodeUnavailable, errors.Join(err, herr))
		}
		return c.other(head)
	case errors.Is(err, ErrDiverged):
		return diverged(err.Error())
	case errors.Is(err, ErrGap):
		return connect.NewError(connect.CodeAborted, err) // it connects anew, and begins where the log ends
	case err != nil:
		c.d.o.Logger.Error("events of a rack could not be kept; its agent sends them again", "rack", c.rack, "error", err)
		return connect.NewError(connect.CodeUnavailable, errors.New("the log cannot be written at this moment"))
	}
	c.acked = max(c.acked, seq)
	return c.ack()
}

// checkEvents holds what an agent sends against what an agent may send.
func checkEvents(rack string, events []*messages.Event) error {
	if len(events) == 0 || len(events) > 2*maxBatch {
		return fmt.Errorf("a batch of %d events", len(events))
	}
	for i, e := range events {
		if e.GetRack() != rack {
			return fmt.Errorf("event %d is of rack %.80q, not of %s", e.GetSeq(), e.GetRack(), rack)
		}
		if e.GetSeq() == 0 || e.GetSeq() != events[0].GetSeq()+uint64(i) {
			return fmt.Errorf("event %d stands at place %d of a batch that begins with event %d", e.GetSeq(), i, events[0].GetSeq())
		}
		if _, err := messages.ToEvent(e); err != nil {
			return err
		}
	}
	return nil
}
