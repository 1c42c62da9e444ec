package access

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

func TestAccessService(t *testing.T) {
	p := newPort(t, nil)
	ctx := t.Context()
	as := func(secret string) messagesconnect.AccessServiceClient {
		return messagesconnect.NewAccessServiceClient(p.Client(), p.URL, connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, q connect.AnyRequest) (connect.AnyResponse, error) {
				q.Header().Set("Authorization", "Bearer "+secret)
				return next(ctx, q)
			}
		})))
	}
	root := as(p.token(t, "root", Admin))
	made, err := root.CreateToken(ctx, connect.NewRequest(&messages.CreateTokenRequest{Name: "ci", Role: "admin", Expires: timestamppb.New(time.Now().Add(time.Hour))}))
	if err != nil || made.Msg.GetToken().GetCreatedBy() != "root" || made.Msg.GetToken().GetExpires() == nil {
		t.Fatalf("%+v %v", made, err)
	}
	ci := as(made.Msg.GetSecret())
	list, err := ci.ListTokens(ctx, connect.NewRequest(&messages.ListTokensRequest{}))
	if err != nil || len(list.Msg.GetTokens()) != 2 || list.Msg.GetTokens()[0].GetName() != "ci" || list.Msg.GetTokens()[1].GetExpires() != nil {
		t.Fatalf("%+v %v", list, err)
	}
	for _, x := range []struct {
		q    *messages.CreateTokenRequest
		want connect.Code
	}{
		{&messages.CreateTokenRequest{Name: "ci", Role: "viewer"}, connect.CodeAlreadyExists},
		{&messages.CreateTokenRequest{Name: "x", Role: "root"}, connect.CodeInvalidArgument},
		{&messages.CreateTokenRequest{Name: "x y", Role: "viewer"}, connect.CodeInvalidArgument},
		{&messages.CreateTokenRequest{Name: "x", Role: "viewer", Expires: &timestamppb.Timestamp{Nanos: -1}}, connect.CodeInvalidArgument},
		{&messages.CreateTokenRequest{Name: "x", Role: "viewer", Expires: &timestamppb.Timestamp{}}, connect.CodeInvalidArgument},
	} {
		if _, err := root.CreateToken(ctx, connect.NewRequest(x.q)); connect.CodeOf(err) != x.want {
			t.Errorf("%v: %v", x.q, err)
		}
	}
	if e, err := ci.CreateEnrollment(ctx, connect.NewRequest(&messages.CreateEnrollmentRequest{Rack: "r1"})); err != nil || e.Msg.GetToken() != "token for r1" {
		t.Errorf("%v %v", e, err)
	}
	if _, err := ci.RevokeAgent(ctx, connect.NewRequest(&messages.RevokeAgentRequest{Rack: "r1"})); err != nil {
		t.Error(err)
	}
	if _, err := root.RevokeToken(ctx, connect.NewRequest(&messages.RevokeTokenRequest{Name: "ci"})); err != nil {
		t.Error(err)
	}
	if _, err := root.RevokeToken(ctx, connect.NewRequest(&messages.RevokeTokenRequest{Name: "ci"})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Error(err)
	}
	if _, err := ci.ListTokens(ctx, connect.NewRequest(&messages.ListTokensRequest{})); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Error(err)
	}
	trail, err := root.ListAudit(ctx, connect.NewRequest(&messages.ListAuditRequest{Limit: 1 << 31}))
	if err != nil || len(trail.Msg.GetEntries()) != 11 {
		t.Fatalf("%v %v", trail, err)
	}
	if e := trail.Msg.GetEntries(); e[0].GetRefused() == "" || e[3].GetProcedure() != messagesconnect.AccessServiceRevokeAgentProcedure || e[3].GetWho() != "ci" || e[3].GetResource() != "racks/r1" {
		t.Errorf("%v", e)
	}
	none := NewService(ServiceOptions{})
	if _, err := none.CreateEnrollment(ctx, connect.NewRequest(&messages.CreateEnrollmentRequest{})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Error(err)
	}
	if _, err := none.RevokeAgent(ctx, connect.NewRequest(&messages.RevokeAgentRequest{})); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Error(err)
	}
}
