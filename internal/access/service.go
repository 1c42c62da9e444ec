package access

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Service implements the AccessService. It is served behind a Gate.
type Service struct{ opts ServiceOptions }

// ServiceOptions are what a Service is made of.
type ServiceOptions struct {
	Tokens *Tokens
	Audit  *Audit
	// Enroll makes a one-time token for the agent of a rack; zero expires: its
	// own default. What the caller did wrong is a *connect.Error. nil: this
	// coordinator makes no certificates.
	Enroll func(ctx context.Context, rack string, expires time.Time) (token string, until time.Time, err error)
	// Revoke refuses every certificate and every unused token of a rack's agent.
	// nil: as Enroll.
	Revoke func(ctx context.Context, rack string) error
	Log    *slog.Logger
}

var _ messagesconnect.AccessServiceHandler = (*Service)(nil)

// errNoAuthority says why there are no certificates.
var errNoAuthority = errors.New("this coordinator has no authority: \"rackreach coordinator init\" makes one")

// NewService makes a service.
func NewService(opts ServiceOptions) *Service { return &Service{opts} }

// CreateToken implements the AccessService.
func (s *Service) CreateToken(ctx context.Context, q *connect.Request[messages.CreateTokenRequest]) (*connect.Response[messages.CreateTokenResponse], error) {
	role, err := ParseRole(q.Msg.GetRole())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	expires, err := timeOf(q.Msg.GetExpires())
	if err != nil {
		return nil, err
	}
	by, _ := Who(ctx)
	secret, made, err := s.opts.Tokens.Create(ctx, q.Msg.GetName(), role, by, expires)
	switch {
	case errors.Is(err, ErrInvalid):
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case errors.Is(err, ErrTaken):
		return nil, connect.NewError(connect.CodeAlreadyExists, err)
	case err != nil:
		return nil, passOn(err)
	}
	return connect.NewResponse(&messages.CreateTokenResponse{Token: tokenMessage(made), Secret: secret}), nil
}

// ListTokens implements the AccessService.
func (s *Service) ListTokens(context.Context, *connect.Request[messages.ListTokensRequest]) (*connect.Response[messages.ListTokensResponse], error) {
	out := &messages.ListTokensResponse{}
	for _, t := range s.opts.Tokens.List() {
		out.Tokens = append(out.Tokens, tokenMessage(t))
	}
	return connect.NewResponse(out), nil
}

// RevokeToken implements the AccessService.
func (s *Service) RevokeToken(ctx context.Context, q *connect.Request[messages.RevokeTokenRequest]) (*connect.Response[messages.RevokeTokenResponse], error) {
	err := s.opts.Tokens.Revoke(ctx, q.Msg.GetName())
	switch {
	case errors.Is(err, ErrNoToken):
		return nil, connect.NewError(connect.CodeNotFound, err)
	case err != nil:
		return nil, passOn(err)
	}
	return connect.NewResponse(&messages.RevokeTokenResponse{}), nil
}

// CreateEnrollment implements the AccessService.
func (s *Service) CreateEnrollment(ctx context.Context, q *connect.Request[messages.CreateEnrollmentRequest]) (*connect.Response[messages.CreateEnrollmentResponse], error) {
	expires, err := timeOf(q.Msg.GetExpires())
	switch {
	case err != nil:
		return nil, err
	case s.opts.Enroll == nil:
		return nil, connect.NewError(connect.CodeFailedPrecondition, errNoAuthority)
	}
	token, until, err := s.opts.Enroll(ctx, q.Msg.GetRack(), expires)
	if err != nil {
		return nil, passOn(err)
	}
	return connect.NewResponse(&messages.CreateEnrollmentResponse{Token: token, Expires: timestamppb.New(until)}), nil
}

// RevokeAgent implements the AccessService.
func (s *Service) RevokeAgent(ctx context.Context, q *connect.Request[messages.RevokeAgentRequest]) (*connect.Response[messages.RevokeAgentResponse], error) {
	if s.opts.Revoke == nil {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errNoAuthority)
	}
	if err := s.opts.Revoke(ctx, q.Msg.GetRack()); err != nil {
		return nil, passOn(err)
	}
	return connect.NewResponse(&messages.RevokeAgentResponse{}), nil
}

// ListAudit implements the AccessService.
func (s *Service) ListAudit(_ context.Context, q *connect.Request[messages.ListAuditRequest]) (*connect.Response[messages.ListAuditResponse], error) {
	entries, err := s.opts.Audit.List(int(min(q.Msg.GetLimit(), maxList)))
	if err != nil {
		s.opts.Log.Error("the audit trail cannot be read", "error", err)
		return nil, connect.NewError(connect.CodeInternal, errors.New("the audit trail cannot be read: the coordinator's log says why"))
	}
	out := &messages.ListAuditResponse{}
	for _, e := range entries {
		out.Entries = append(out.Entries, &messages.AuditEntry{Time: timestamppb.New(e.Time), Who: e.Who, Role: e.Role, From: e.From, Procedure: e.Procedure, Resource: e.Resource, Refused: e.Refused})
	}
	return connect.NewResponse(out), nil
}

// passOn is an error as it is when it says whose fault it is, else that
// something here does not work.
func passOn(err error) error {
	if known := (*connect.Error)(nil); errors.As(err, &known) {
		return err
	}
	return connect.NewError(connect.CodeUnavailable, err)
}

func tokenMessage(t Token) *messages.Token {
	out := &messages.Token{Name: t.Name, Role: t.Role.String(), Created: timestamppb.New(t.Created), CreatedBy: t.CreatedBy}
	if !t.Expires.IsZero() {
		out.Expires = timestamppb.New(t.Expires)
	}
	return out
}

// timeOf is the time of a request; zero when it is unset.
func timeOf(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return t.AsTime(), nil
}
