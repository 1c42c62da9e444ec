package api

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// HaltRack implements the API.
func (s *Service) HaltRack(ctx context.Context, q *connect.Request[messages.HaltRackRequest]) (*connect.Response[messages.HaltRackResponse], error) {
	events, err := s.orderRack(ctx, q.Msg.GetName(), rack.Order{Verb: rack.HaltNow, Reason: q.Msg.GetReason()})
	return answer(&messages.HaltRackResponse{Events: events}, err)
}

// ResumeRack implements the API.
func (s *Service) ResumeRack(ctx context.Context, q *connect.Request[messages.ResumeRackRequest]) (*connect.Response[messages.ResumeRackResponse], error) {
	events, err := s.orderRack(ctx, q.Msg.GetName(), rack.Order{Verb: rack.Resume, Only: q.Msg.GetOnly(), All: q.Msg.GetAll()})
	return answer(&messages.ResumeRackResponse{Events: events}, err)
}

// RetryDevice implements the API.
func (s *Service) RetryDevice(ctx context.Context, q *connect.Request[messages.RetryDeviceRequest]) (*connect.Response[messages.RetryDeviceResponse], error) {
	events, err := s.orderDevice(ctx, q.Msg.GetName(), rack.Order{Verb: rack.Retry, Reason: q.Msg.GetReason()})
	return answer(&messages.RetryDeviceResponse{Events: events}, err)
}

// SkipDevice implements the API.
func (s *Service) SkipDevice(ctx context.Context, q *connect.Request[messages.SkipDeviceRequest]) (*connect.Response[messages.SkipDeviceResponse], error) {
	events, err := s.orderDevice(ctx, q.Msg.GetName(), rack.Order{Verb: rack.Skip, Reason: q.Msg.GetReason()})
	return answer(&messages.SkipDeviceResponse{Events: events}, err)
}

// ReimageDevice implements the API. The device must be named twice: a slip of
// the pen must not overwrite a disk.
func (s *Service) ReimageDevice(ctx context.Context, q *connect.Request[messages.ReimageDeviceRequest]) (*connect.Response[messages.ReimageDeviceResponse], error) {
	_, device, err := messages.ParseDevice(q.Msg.GetName())
	if err == nil && q.Msg.GetConfirm() != device {
		err = fmt.Errorf("reimage %s: it is confirmed with %.80q: write its own name to overwrite what it holds", device, q.Msg.GetConfirm())
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	events, err := s.orderDevice(ctx, q.Msg.GetName(), rack.Order{Verb: rack.Reimage, Reason: q.Msg.GetReason()})
	return answer(&messages.ReimageDeviceResponse{Events: events}, err)
}

// BindDevice implements the API.
func (s *Service) BindDevice(ctx context.Context, q *connect.Request[messages.BindDeviceRequest]) (*connect.Response[messages.BindDeviceResponse], error) {
	events, err := s.orderDevice(ctx, q.Msg.GetName(), rack.Order{Verb: rack.Bind, MAC: q.Msg.GetMac(), Serial: q.Msg.GetSerial()})
	return answer(&messages.BindDeviceResponse{Events: events}, err)
}

// ReplaceDevice implements the API.
func (s *Service) ReplaceDevice(ctx context.Context, q *connect.Request[messages.ReplaceDeviceRequest]) (*connect.Response[messages.ReplaceDeviceResponse], error) {
	events, err := s.orderDevice(ctx, q.Msg.GetName(), rack.Order{Verb: rack.Replace, Reason: q.Msg.GetReason()})
	return answer(&messages.ReplaceDeviceResponse{Events: events}, err)
}

// IdentifyDevice implements the API.
func (s *Service) IdentifyDevice(ctx context.Context, q *connect.Request[messages.IdentifyDeviceRequest]) (*connect.Response[messages.IdentifyDeviceResponse], error) {
	verb := rack.Identify
	if q.Msg.GetOff() {
		verb = rack.IdentifyOff
	}
	events, err := s.orderDevice(ctx, q.Msg.GetName(), rack.Order{Verb: verb, Reason: q.Msg.GetReason()})
	return answer(&messages.IdentifyDeviceResponse{Events: events}, err)
}

// answer is a response, unless there was an error.
func answer[T any](m *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}
