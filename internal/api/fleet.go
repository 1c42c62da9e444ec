package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Bounds of what is applied at once.
const (
	maxFleetRacks = 5000
	maxPlan       = 16 << 20 // bytes of the plan of one rack
	maxReason     = 500      // bytes of why a fleet is halted
)

// Fleet is what a FleetService tells of all racks. Its methods may be called from
// any goroutine. What an operator can mend is a *BadRequest.
type Fleet interface {
	// State is where every rack stands.
	State(ctx context.Context) (*messages.Fleet, error)
	// Events calls fn with the events of all racks behind a place in the log, in
	// its order, and with the place behind them; with follow also with what comes,
	// until the context ends, which is no error.
	Events(ctx context.Context, after uint64, follow bool, fn func(events []*messages.Event, position uint64) error) error
	// PutPlan keeps the plan of a rack and returns its hash.
	PutPlan(ctx context.Context, rack string, plan []byte) (hash string, err error)
	// ApplyRack keeps the order to carry out a plan that was put, and returns its id.
	ApplyRack(ctx context.Context, rack, planHash string, only []string, by string) (order string, err error)
	// ApplyFleet begins to image racks.
	ApplyFleet(ctx context.Context, q *messages.ApplyFleetRequest, by string) error
	// Halt begins no further rack.
	Halt(ctx context.Context, reason, by string) error
	// Resume goes on after Halt.
	Resume(ctx context.Context, by string) error
}

// BadRequest is a request that was not carried out: nothing was changed.
type BadRequest struct{ What, Next string }

// Error is one line for people.
func (b *BadRequest) Error() string { return b.What + ". Next: " + b.Next }

// FleetService implements the API of a fleet.
type FleetService struct {
	fleet Fleet
	who   func(context.Context) string
	ended <-chan struct{}
}

var _ messagesconnect.FleetServiceHandler = (*FleetService)(nil)

// NewFleetService makes a service of a fleet. who names who calls; streams end
// when ended is closed.
func NewFleetService(f Fleet, who func(context.Context) string, ended <-chan struct{}) *FleetService {
	return &FleetService{fleet: f, who: who, ended: ended}
}

// GetFleet implements the API.
func (s *FleetService) GetFleet(ctx context.Context, _ *connect.Request[messages.GetFleetRequest]) (*connect.Response[messages.GetFleetResponse], error) {
	f, err := s.fleet.State(ctx)
	return answer(&messages.GetFleetResponse{Fleet: f}, internal(err))
}

// WatchFleet implements the API.
func (s *FleetService) WatchFleet(ctx context.Context, q *connect.Request[messages.WatchFleetRequest], stream *connect.ServerStream[messages.WatchFleetResponse]) error {
	ctx, cancel := until(ctx, s.ended)
	defer cancel()
	var sending error
	err := s.fleet.Events(ctx, q.Msg.GetAfter(), q.Msg.GetFollow(), func(events []*messages.Event, position uint64) error {
		sending = stream.Send(&messages.WatchFleetResponse{Events: events, Position: position})
		return sending
	})
	if sending != nil {
		return sending
	}
	return internal(err)
}

// PutPlan implements the API.
func (s *FleetService) PutPlan(ctx context.Context, q *connect.Request[messages.PutPlanRequest]) (*connect.Response[messages.PutPlanResponse], error) {
	name, err := messages.ParseRack(q.Msg.GetName())
	if n := len(q.Msg.GetPlan()); err == nil && (n == 0 || n > maxPlan) {
		err = fmt.Errorf("the plan of %.80q has %d bytes: give one of 1 to %d", name, n, maxPlan)
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	hash, err := s.fleet.PutPlan(ctx, name, q.Msg.GetPlan())
	return answer(&messages.PutPlanResponse{PlanHash: hash}, refused(err))
}

// ApplyRack implements the API.
func (s *FleetService) ApplyRack(ctx context.Context, q *connect.Request[messages.ApplyRackRequest]) (*connect.Response[messages.ApplyRackResponse], error) {
	name, err := messages.ParseRack(q.Msg.GetName())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	order, err := s.fleet.ApplyRack(ctx, name, q.Msg.GetPlanHash(), q.Msg.GetOnly(), s.who(ctx))
	return answer(&messages.ApplyRackResponse{Order: order}, refused(err))
}

// ApplyFleet implements the API.
func (s *FleetService) ApplyFleet(ctx context.Context, q *connect.Request[messages.ApplyFleetRequest]) (*connect.Response[messages.ApplyFleetResponse], error) {
	if n := len(q.Msg.GetRacks()); n == 0 || n > maxFleetRacks {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a fleet of %d racks: give 1 to %d", n, maxFleetRacks))
	}
	if !fleet.ValidName(q.Msg.GetName()) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%.80q is not a name for a fleet: write %s", q.Msg.GetName(), fleet.NameFix))
	}
	for _, r := range q.Msg.GetRacks() {
		if _, err := messages.ParseRack(r.GetName()); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
	}
	err := s.fleet.ApplyFleet(ctx, q.Msg, s.who(ctx))
	f, err := s.after(ctx, err)
	return answer(&messages.ApplyFleetResponse{Fleet: f}, err)
}

// HaltFleet implements the API.
func (s *FleetService) HaltFleet(ctx context.Context, q *connect.Request[messages.HaltFleetRequest]) (*connect.Response[messages.HaltFleetResponse], error) {
	if n := len(q.Msg.GetReason()); n > maxReason || strings.ContainsFunc(q.Msg.GetReason(), unicode.IsControl) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("a reason of %d bytes: write one line of at most %d", n, maxReason))
	}
	f, err := s.after(ctx, s.fleet.Halt(ctx, q.Msg.GetReason(), s.who(ctx)))
	return answer(&messages.HaltFleetResponse{Fleet: f}, err)
}

// ResumeFleet implements the API.
func (s *FleetService) ResumeFleet(ctx context.Context, _ *connect.Request[messages.ResumeFleetRequest]) (*connect.Response[messages.ResumeFleetResponse], error) {
	f, err := s.after(ctx, s.fleet.Resume(ctx, s.who(ctx)))
	return answer(&messages.ResumeFleetResponse{Fleet: f}, err)
}

// after is where the fleet stands after an order, unless that was refused.
func (s *FleetService) after(ctx context.Context, err error) (*messages.Fleet, error) {
	if err != nil {
		return nil, refused(err)
	}
	f, err := s.fleet.State(ctx)
	return f, internal(err)
}

// refused makes an error of the API from why something was not done.
func refused(err error) error {
	var bad *BadRequest
	if errors.As(err, &bad) {
		return detailed(connect.CodeFailedPrecondition, bad, &messages.Refusal{What: bad.What, Next: bad.Next})
	}
	return internal(err)
}
