// Package api serves the API of racks (proto/rackreach/v1/rack_service.proto) and
// dials it: of one rack by its agent, or of many by a coordinator.
//
// What is told of a rack was durable before. State is rebuilt from its events, so
// that a question costs the run nothing. Orders go to the Rack, which journals
// them before they are answered.
//
// An agent serves it on a unix socket that only its owner may open; who orders
// something is what the kernel says of the other end of the socket, not what a
// client says of itself.
package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Rack is what a Service tells of one rack. Its methods may be called from any
// goroutine.
type Rack interface {
	// State is where the rack and its devices stand.
	State(ctx context.Context) (*messages.Rack, error)
	// Plan is what its run carries out, as JSON.
	Plan(ctx context.Context) ([]byte, error)
	// Events calls fn with events of the rack's journal from a sequence on, in
	// order, each once; with follow also with what is journalled from then on,
	// until the context ends, which is no error.
	Events(ctx context.Context, from uint64, follow bool, fn func([]*messages.Event) error) error
	// Order journals an order, and returns what was journalled for it. Errors: a
	// *rack.Refusal; a *NotAnswered; any other means that it is not known to be
	// obeyed.
	Order(ctx context.Context, o rack.Order) ([]*messages.Event, error)
}

// Racks are the racks that a Service tells of.
type Racks interface {
	// Names are their names, sorted.
	Names() []string
	// Rack is one of them; nil: there is none of that name.
	Rack(name string) Rack
}

// NotAnswered says that an order was kept, and that its agent has not answered it
// so far.
type NotAnswered struct{ Pending *messages.Pending }

// Error is one line for people.
func (n *NotAnswered) Error() string {
	since := "was not heard of since the coordinator was started"
	if at := n.Pending.GetLastHeard(); at != nil {
		since = "was heard of last at " + at.AsTime().Format("2006-01-02 15:04:05 UTC")
	}
	return fmt.Sprintf("the order is kept as %s, and not carried out yet: the agent %s. It is given to the agent once it is back", n.Pending.GetOrder(), since)
}

// Service implements the API of racks.
type Service struct {
	racks Racks
	who   func(context.Context) string
	ended <-chan struct{}
	end   func()
}

var _ messagesconnect.RackServiceHandler = (*Service)(nil)

// New makes a service of one rack.
func New(b Backend) *Service {
	ended := make(chan struct{})
	s := NewService(&single{b.NewRun().Rack.Name, Journalled(b)}, who, ended)
	s.end = sync.OnceFunc(func() { close(ended) })
	return s
}

// NewService makes a service of many racks. who names who calls; streams read to
// the end of the journal, and end there, once ended is closed.
func NewService(racks Racks, who func(context.Context) string, ended <-chan struct{}) *Service {
	return &Service{racks: racks, who: who, ended: ended}
}

// single is one rack.
type single struct {
	name string
	rack Rack
}

func (s *single) Names() []string { return []string{s.name} }

func (s *single) Rack(name string) Rack {
	if name != s.name {
		return nil
	}
	return s.rack
}

// End lets every stream of a service of one rack read to the end of the journal
// and end there. It may be called again.
func (s *Service) End() { s.end() }

// ListRacks implements the API.
func (s *Service) ListRacks(context.Context, *connect.Request[messages.ListRacksRequest]) (*connect.Response[messages.ListRacksResponse], error) {
	out := &messages.ListRacksResponse{}
	for _, name := range s.racks.Names() {
		out.Names = append(out.Names, messages.RackName(name))
	}
	return connect.NewResponse(out), nil
}

// GetRack implements the API.
func (s *Service) GetRack(ctx context.Context, q *connect.Request[messages.GetRackRequest]) (*connect.Response[messages.GetRackResponse], error) {
	r, err := s.rack(q.Msg.GetName())
	if err != nil {
		return nil, err
	}
	m, err := r.State(ctx)
	return answer(&messages.GetRackResponse{Rack: m}, internal(err))
}

// GetPlan implements the API.
func (s *Service) GetPlan(ctx context.Context, q *connect.Request[messages.GetPlanRequest]) (*connect.Response[messages.GetPlanResponse], error) {
	r, err := s.rack(q.Msg.GetName())
	if err != nil {
		return nil, err
	}
	plan, err := r.Plan(ctx)
	return answer(&messages.GetPlanResponse{Plan: plan}, internal(err))
}

// WatchEvents implements the API. What is sent is read from the journal, as
// fast as the reader takes it: a slow one holds up nobody.
func (s *Service) WatchEvents(ctx context.Context, q *connect.Request[messages.WatchEventsRequest], stream *connect.ServerStream[messages.WatchEventsResponse]) error {
	r, err := s.rack(q.Msg.GetName())
	if err != nil {
		return err
	}
	ctx, cancel := until(ctx, s.ended)
	defer cancel()
	if err := stream.Send(nil); err != nil { // the headers: who follows a quiet rack learns that it is followed
		return err
	}
	var sending error
	err = r.Events(ctx, max(q.Msg.GetFromSeq(), 1), q.Msg.GetFollow(), func(events []*messages.Event) error {
		sending = stream.Send(&messages.WatchEventsResponse{Events: events})
		return sending
	})
	if sending != nil {
		return sending
	}
	return internal(err)
}

// until is a context that ends with another one, or when a channel is closed.
func until(ctx context.Context, ended <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// internal makes an error of the API from one that nobody expected.
func internal(err error) error {
	var e *connect.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return connect.NewError(connect.CodeInternal, err)
}

// order hands an order to a rack on behalf of whoever is at the other end.
func (s *Service) order(ctx context.Context, r Rack, o rack.Order) ([]*messages.Event, error) {
	o.By = s.who(ctx)
	events, err := r.Order(ctx, o)
	var no *rack.Refusal
	var later *NotAnswered
	switch {
	case errors.As(err, &no):
		return nil, detailed(connect.CodeFailedPrecondition, no, &messages.Refusal{What: no.What, Next: no.Next})
	case errors.As(err, &later):
		return nil, detailed(connect.CodeUnavailable, later, later.Pending)
	case err != nil:
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return events, nil
}

// detailed is an error that programs can read as well.
func detailed(code connect.Code, err error, detail proto.Message) error {
	e := connect.NewError(code, err)
	if d, err := connect.NewErrorDetail(detail); err == nil {
		e.AddDetail(d)
	}
	return e
}

// orderRack is an order for the rack of that name.
func (s *Service) orderRack(ctx context.Context, name string, o rack.Order) ([]*messages.Event, error) {
	r, err := s.rack(name)
	if err != nil {
		return nil, err
	}
	return s.order(ctx, r, o)
}

// orderDevice is an order for the device of that name.
func (s *Service) orderDevice(ctx context.Context, name string, o rack.Order) ([]*messages.Event, error) {
	rackName, device, err := messages.ParseDevice(name)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	o.Device = device
	return s.orderRack(ctx, messages.RackName(rackName), o)
}

// rack finds a rack by its resource name.
func (s *Service) rack(name string) (Rack, error) {
	got, err := messages.ParseRack(name)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if r := s.racks.Rack(got); r != nil {
		return r, nil
	}
	names := s.racks.Names()
	there := "there is none here"
	if len(names) > 0 {
		there = "there is " + strings.Join(names[:min(len(names), namesTold)], ", ")
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("rack %.80q is not served here: %s", got, there))
}

// namesTold bounds the names in an error.
const namesTold = 20
