// Package api serves the API of one rack (proto/rackreach/v1/rack_service.proto)
// and dials it.
//
// A Service answers from the journal: whatever it tells was durable before.
// State is rebuilt from the events, never asked of an actor, so that a question
// costs the run nothing. Orders go to the Backend, which journals them before
// they are answered.
//
// It is served on a unix socket that only its owner may open; who orders
// something is what the kernel says of the other end of the socket, not what a
// client says of itself.
package api

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// batch is how many events one message of a stream carries at most.
const batch = 256

// Backend is the rack behind a Service. Its methods may be called from any
// goroutine.
type Backend interface {
	// NewRun is the state of the rack before the first event of its journal.
	NewRun() *rack.Run
	// Log is the rack's journal.
	Log() journal.Log
	// Plan is what its run carries out, as JSON.
	Plan() []byte
	// Driven reports whether an agent drives the rack at this moment.
	Driven() bool
	// Speed is how many times faster than real hardware the devices are.
	Speed() float64
	// Transferred is how many bytes of its image a device was sent, and of how many.
	Transferred(device string) (sent, size int64)
	// Order journals an order. Errors: a *rack.Refusal; any other means that it
	// is not known to be obeyed.
	Order(ctx context.Context, o rack.Order) ([]rack.Event, error)
}

// Service implements the API over a Backend.
type Service struct {
	backend Backend
	ended   chan struct{} // closed by End
	end     sync.Once

	mu   sync.Mutex
	run  *rack.Run // up to last
	last uint64
	at   time.Time
}

var _ messagesconnect.RackServiceHandler = (*Service)(nil)

// New makes a service.
func New(b Backend) *Service {
	return &Service{backend: b, ended: make(chan struct{}), run: b.NewRun()}
}

// End lets every stream read to the end of the journal and end there. It may be
// called again.
func (s *Service) End() { s.end.Do(func() { close(s.ended) }) }

// state brings the run up to the end of the journal and lets fn read it.
func (s *Service) state(fn func(*rack.Run)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		events, err := s.backend.Log().Read(s.last+1, batch)
		if err != nil {
			return connect.NewError(connect.CodeInternal, err)
		}
		for _, e := range events {
			s.run.Apply(e)
			s.last, s.at = e.Seq, e.Time
		}
		if len(events) == 0 {
			break
		}
	}
	fn(s.run)
	return nil
}

// ListRacks implements the API.
func (s *Service) ListRacks(context.Context, *connect.Request[messages.ListRacksRequest]) (*connect.Response[messages.ListRacksResponse], error) {
	return connect.NewResponse(&messages.ListRacksResponse{Names: []string{RackName(s.run.Rack.Name)}}), nil
}

// GetRack implements the API.
func (s *Service) GetRack(_ context.Context, q *connect.Request[messages.GetRackRequest]) (*connect.Response[messages.GetRackResponse], error) {
	if err := s.mine(q.Msg.GetName()); err != nil {
		return nil, err
	}
	out := &messages.Rack{}
	err := s.state(func(run *rack.Run) {
		out = s.rackMessage(run)
		out.LastSeq = s.last
		if s.last > 0 {
			out.LastTime = timestamppb.New(s.at)
		}
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&messages.GetRackResponse{Rack: out}), nil
}

func (s *Service) rackMessage(run *rack.Run) *messages.Rack {
	name := RackName(run.Rack.Name)
	out := &messages.Rack{Name: name, Run: run.ID, PlanHash: run.PlanHash, Status: string(run.Status), Cause: run.Cause, Blamed: run.Blamed,
		Only: run.Only, Driven: s.backend.Driven(), Speed: s.backend.Speed()}
	for i := range run.Rack.Devices {
		dev := &run.Rack.Devices[i]
		d := run.Device(dev.Name)
		sent, size := s.backend.Transferred(dev.Name)
		status := string(d.Status)
		if run.Uncertain(dev.Name) {
			status = "uncertain"
		}
		remedy := ""
		if d.Status == rack.Failed {
			remedy = run.Remedy(dev.Name)
		}
		out.Devices = append(out.Devices, &messages.Device{Remedy: remedy, Name: DeviceName(run.Rack.Name, dev.Name), Role: string(dev.Role), Platform: dev.Platform,
			Address: dev.Address.String(), Status: status, Step: d.Step, Attempt: uint32(d.Attempt), Held: d.Held, Error: d.Error,
			Progress: run.Progress(dev.Name, sent, size), Sent: sent, Size: size, Ordered: d.Ordered, Holds: d.Holds})
	}
	return out
}

// GetPlan implements the API.
func (s *Service) GetPlan(_ context.Context, q *connect.Request[messages.GetPlanRequest]) (*connect.Response[messages.GetPlanResponse], error) {
	if err := s.mine(q.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&messages.GetPlanResponse{Plan: s.backend.Plan()}), nil
}

// WatchEvents implements the API. What is sent is read from the journal, as
// fast as the reader takes it: a slow one holds up nobody.
func (s *Service) WatchEvents(ctx context.Context, q *connect.Request[messages.WatchEventsRequest], stream *connect.ServerStream[messages.WatchEventsResponse]) error {
	if err := s.mine(q.Msg.GetName()); err != nil {
		return err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.ended:
			cancel()
		case <-waiting.Done():
		}
	}()
	log, from := s.backend.Log(), max(q.Msg.GetFromSeq(), 1)
	for {
		over := waiting.Err() != nil // before the last look at the journal
		events, err := log.Read(from, batch)
		if err != nil {
			return connect.NewError(connect.CodeInternal, err)
		}
		if len(events) > 0 {
			from = events[len(events)-1].Seq + 1
			m := &messages.WatchEventsResponse{}
			for _, e := range events {
				m.Events = append(m.Events, messages.FromEvent(e))
			}
			if err := stream.Send(m); err != nil {
				return err
			}
			continue
		}
		if over || !q.Msg.GetFollow() {
			return nil
		}
		if err := log.Wait(waiting, from); errors.Is(err, journal.ErrClosed) {
			cancel()
		}
	}
}

// order hands an order to the backend on behalf of whoever is at the other end.
func (s *Service) order(ctx context.Context, o rack.Order) ([]*messages.Event, error) {
	o.By = who(ctx)
	events, err := s.backend.Order(ctx, o)
	var no *rack.Refusal
	switch {
	case errors.As(err, &no):
		refused := connect.NewError(connect.CodeFailedPrecondition, no)
		if d, err := connect.NewErrorDetail(&messages.Refusal{What: no.What, Next: no.Next}); err == nil {
			refused.AddDetail(d)
		}
		return nil, refused
	case err != nil:
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	var out []*messages.Event
	for _, e := range events {
		out = append(out, messages.FromEvent(e))
	}
	return out, nil
}

// orderRack is an order for the rack of that name.
func (s *Service) orderRack(ctx context.Context, name string, o rack.Order) ([]*messages.Event, error) {
	if err := s.mine(name); err != nil {
		return nil, err
	}
	return s.order(ctx, o)
}

// orderDevice is an order for the device of that name.
func (s *Service) orderDevice(ctx context.Context, name string, o rack.Order) ([]*messages.Event, error) {
	rackName, device, err := ParseDevice(name)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := s.mine(RackName(rackName)); err != nil {
		return nil, err
	}
	o.Device = device
	return s.order(ctx, o)
}

// mine refuses the name of a rack that is not served here.
func (s *Service) mine(name string) error {
	got, err := ParseRack(name)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	if got != s.run.Rack.Name {
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("rack %.80q is not served here, only %s: ask its own agent", got, s.run.Rack.Name))
	}
	return nil
}
