package access

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

const halt = messagesconnect.RackServiceHaltRackProcedure

func newest(t *testing.T, a *Audit) Entry {
	t.Helper()
	entries, err := a.List(1)
	if err != nil || len(entries) == 0 {
		t.Fatalf("the trail is empty: %v", err)
	}
	return entries[0]
}

func TestTokensThatAreNotTaken(t *testing.T) {
	p := newPort(t, nil)
	good, gone := p.token(t, "ci", Operator), p.token(t, "gone", Operator)
	if err := p.tokens.Revoke(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	expired, made, err := p.tokens.Create(t.Context(), "old", Operator, "test", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	k := p.tokens.rows["old"]
	k.Expires = made.Expires.Add(-2 * time.Hour)
	p.tokens.set("old", k.tokenRow, k.revision+1)
	for _, x := range []struct{ name, header, want string }{
		{"a good one", "Bearer " + good, ""},
		{"in other letters", "bearer " + good, ""},
		{"none", "", "no token was shown"},
		{"revoked", "Bearer " + gone, "not known"},
		{"expired", "Bearer " + expired, "has expired"},
		{"another letter", "Bearer " + good[:len(good)-1] + "!", "not known"},
		{"cut", "Bearer " + good[:len(good)-1], "not known"},
		{"its hash", "Bearer " + hashOf(good), "not known"},
		{"long", "Bearer " + strings.Repeat("A", 8000), "not known"},
		{"another kind", "Basic " + good, "not understood"},
		{"without a kind", good, "not understood"},
	} {
		headers := map[string]string{}
		if x.header != "" {
			headers["Authorization"] = x.header
		}
		got := p.call(t, halt, false, `{"name":"racks/r1"}`, headers)
		if x.want == "" {
			if got.Code != "unimplemented" {
				t.Errorf("%s: %+v", x.name, got)
			}
			continue
		}
		if got.Code != "unauthenticated" || !strings.Contains(got.Message, x.want) {
			t.Errorf("%s: %+v", x.name, got)
		}
		if e := newest(t, p.audit); !strings.Contains(e.Refused, x.want) || e.Procedure != halt || e.Who != "" || !strings.HasPrefix(e.From, "127.0.0.1:") {
			t.Errorf("%s: the trail says %+v", x.name, e)
		}
	}
	for _, e := range mustList(t, p.audit, 0) {
		if s := e.Refused + e.Resource + e.Who; strings.Contains(s, good) || strings.Contains(s, expired) {
			t.Errorf("the trail holds a secret: %+v", e)
		}
	}
}

func mustList(t *testing.T, a *Audit, limit int) []Entry {
	t.Helper()
	entries, err := a.List(limit)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestOrdersAreWrittenDown(t *testing.T) {
	p := newPort(t, nil)
	ci := map[string]string{"Authorization": "Bearer " + p.token(t, "ci", Operator)}
	look := map[string]string{"Authorization": "Bearer " + p.token(t, "screen", Viewer)}
	p.call(t, messagesconnect.RackServiceGetRackProcedure, false, `{"name":"racks/r1"}`, look)
	if n := len(mustList(t, p.audit, 0)); n != 0 {
		t.Errorf("%d lines about somebody who looked", n)
	}
	for _, x := range []struct {
		procedure string
		body      string
		headers   map[string]string
		want      Entry
	}{
		{halt, `{"name":"racks/r1"}`, ci, Entry{Who: "ci", Role: "operator", Resource: "racks/r1"}},
		{halt, `{"name":"racks/r\u0000\u001b[2J` + strings.Repeat("x", 2000) + `"}`, ci, Entry{Who: "ci", Role: "operator", Resource: `racks/r\x00\x1b[2J`}},
		{halt, `{"name":"racks/r1"}`, look, Entry{Who: "screen", Role: "viewer", Resource: "racks/r1", Refused: "viewer is the role of screen, and HaltRack needs that of operator"}},
		{halt, `{"name":"racks/r1"}`, map[string]string{"Test-Local": "root"}, Entry{Who: "root", Role: "admin", From: "this machine", Resource: "racks/r1"}},
		{halt, `{"name":"racks/r1"}`, map[string]string{agentHeader: "r2"}, Entry{Who: "agent of r2", Resource: "racks/r1", Refused: "an agent may not use the API"}},
		{messagesconnect.AccessServiceRevokeAgentProcedure, `{"rack":"r3"}`, map[string]string{"Test-Local": "root"}, Entry{Who: "root", Role: "admin", From: "this machine", Resource: "racks/r3"}},
	} {
		p.call(t, x.procedure, false, x.body, x.headers)
		e := newest(t, p.audit)
		if e.Who != x.want.Who || e.Role != x.want.Role || e.Procedure != x.procedure || !strings.HasPrefix(e.Resource, x.want.Resource) ||
			(e.Refused == "") != (x.want.Refused == "") || !strings.HasPrefix(e.Refused, x.want.Refused) || x.want.From != "" && e.From != x.want.From {
			t.Errorf("%s %.40s: %+v", x.procedure, x.body, e)
		}
		if len(e.Resource) > maxText+len("…") {
			t.Errorf("%d bytes of a stranger's text", len(e.Resource))
		}
	}
}

// stream is one end of a stream that was asked something.
type stream struct {
	connect.StreamingHandlerConn
	spec connect.Spec
	sent int
}

func (s *stream) Spec() connect.Spec         { return s.spec }
func (s *stream) Peer() connect.Peer         { return connect.Peer{Addr: "192.0.2.1:1"} }
func (s *stream) RequestHeader() http.Header { return http.Header{} }
func (s *stream) Send(any) error             { s.sent++; return nil }
func (s *stream) Receive(m any) error {
	switch m := m.(type) {
	case *messages.AdoptRequest:
		m.Rack = "r2"
	case *messages.ConnectRequest:
		m.Message = &messages.ConnectRequest_Hello{Hello: &messages.Hello{Rack: "r2"}}
	}
	return nil
}

func TestStreamsOfAgents(t *testing.T) {
	p := newPort(t, nil)
	ctx := context.WithValue(t.Context(), agentKey{}, "r1")
	run := func(procedure string, message any, answer error) error {
		return p.gate.WrapStreamingHandler(func(ctx context.Context, conn connect.StreamingHandlerConn) error {
			if name, role := Who(ctx); name != "agent of r1" || role != Nobody {
				t.Errorf("it is %s, %s", name, role)
			}
			if err := conn.Receive(message); err != nil {
				return err
			}
			return answer
		})(ctx, &stream{spec: connect.Spec{Procedure: procedure}})
	}
	if err := run(messagesconnect.BusServiceConnectProcedure, &messages.ConnectRequest{}, nil); err != nil || len(mustList(t, p.audit, 0)) != 0 {
		t.Errorf("an agent that connects is written down: %v", err)
	}
	if err := run(messagesconnect.BusServiceConnectProcedure, &messages.ConnectRequest{}, connect.NewError(connect.CodePermissionDenied, errors.New("it says r2, its certificate r1"))); err == nil {
		t.Error("no error")
	}
	if e := newest(t, p.audit); e.Resource != "racks/r2" || e.Who != "agent of r1" || e.Refused != "it says r2, its certificate r1" {
		t.Errorf("what a handler refused: %+v", e)
	}
	if err := run(messagesconnect.BusServiceAdoptProcedure, &messages.AdoptRequest{}, nil); err != nil {
		t.Error(err)
	}
	if e := newest(t, p.audit); e.Resource != "racks/r2" || e.Refused != "" || e.Procedure != messagesconnect.BusServiceAdoptProcedure {
		t.Errorf("an adoption: %+v", e)
	}
}

func TestARevokedTokenIsToldNothingMore(t *testing.T) {
	p := newPort(t, nil)
	secret := p.token(t, "screen", Viewer)
	w := &watchedConn{StreamingHandlerConn: &stream{}, gate: p.gate, call: call{secret: secret}}
	if err := w.Send(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.tokens.Revoke(t.Context(), "screen"); err != nil {
		t.Fatal(err)
	}
	if err := w.Send(nil); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("a revoked token goes on watching: %v", err)
	}
}

func TestWhatCannotBeWrittenDownDoesNotHappen(t *testing.T) {
	p := newPort(t, nil)
	if err := p.audit.Close(); err != nil {
		t.Fatal(err)
	}
	ci := map[string]string{"Authorization": "Bearer " + p.token(t, "ci", Operator)}
	if got := p.call(t, halt, false, `{"name":"racks/r1"}`, ci); got.Code != "unavailable" || !strings.Contains(got.Message, "audit trail") {
		t.Errorf("%+v", got)
	}
	if got := p.call(t, messagesconnect.RackServiceGetRackProcedure, false, `{"name":"racks/r1"}`, ci); got.Code != "unimplemented" {
		t.Errorf("who only looks is kept out: %+v", got)
	}
}

func TestLoopback(t *testing.T) {
	open := newPort(t, func(o *GateOptions) { o.LoopbackViewer, o.LoopbackAgents = true, true })
	for procedure, want := range map[string]string{
		messagesconnect.RackServiceGetRackProcedure: "unimplemented",
		halt: "permission_denied",
		messagesconnect.AccessServiceListAuditProcedure: "permission_denied",
		messagesconnect.EnrollmentServiceRenewProcedure: "unimplemented",
	} {
		if got := open.call(t, procedure, false, `{}`, nil); got.Code != want {
			t.Errorf("%s: %+v, want %s", procedure, got, want)
		}
	}
	if got := open.call(t, messagesconnect.RackServiceGetRackProcedure, false, `{}`, map[string]string{"Authorization": "Bearer rr_wrong"}); got.Code != "unauthenticated" {
		t.Errorf("a wrong token counts as none: %+v", got)
	}
	for from, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "127.9.9.9:1": true, "192.0.2.1:1": false, "": false, "127.0.0.1": false, "localhost:1": false} {
		if isLoopback(from) != want {
			t.Errorf("%q is of this machine: %v", from, !want)
		}
	}
	if _, err := open.gate.judge(t.Context(), messagesconnect.RackServiceGetRackProcedure, nil, "192.0.2.1:1", ""); err == nil {
		t.Error("somebody from elsewhere looks without a token")
	}
	if _, err := open.gate.judge(t.Context(), messagesconnect.BusServiceConnectProcedure, nil, "192.0.2.1:1", ""); err == nil {
		t.Error("an agent from elsewhere needs no certificate")
	}
}

func TestAnUnclearCertificateIsRefused(t *testing.T) {
	p := newPort(t, func(o *GateOptions) {
		o.Agent = func(context.Context) (string, error) { return "", errors.New("the certificate names no rack") }
	})
	admin := map[string]string{"Authorization": "Bearer " + p.token(t, "root", Admin)}
	if got := p.call(t, halt, false, `{}`, admin); got.Code != "unauthenticated" {
		t.Errorf("%+v", got)
	}
}

func TestAFloodOfRefusalsIsBounded(t *testing.T) {
	p := newPort(t, nil)
	const calls = 5 * refusalsAtOnceOne
	for range calls {
		if _, err := p.gate.judge(t.Context(), halt, http.Header{"Authorization": {"Bearer rr_guess"}}, "192.0.2.1:1", ""); err == nil {
			t.Fatal("let in")
		}
	}
	if n := len(mustList(t, p.audit, 1000)); n != refusalsAtOnceOne {
		t.Errorf("%d lines", n)
	}
	if n := p.gate.Unwritten(); n != calls-refusalsAtOnceOne {
		t.Errorf("%d are counted", n)
	}
	if _, err := p.gate.judge(t.Context(), halt, nil, "192.0.2.9:1", ""); err == nil {
		t.Fatal("let in")
	}
	if e := newest(t, p.audit); e.From != "192.0.2.9:1" || !strings.Contains(e.Refused, "120 refusals before this one") || p.gate.Unwritten() != 0 {
		t.Errorf("%+v", e)
	}
}

func TestThrottleOfMany(t *testing.T) {
	var th throttle
	now, written := time.Now(), 0
	for i := range 100_000 {
		if _, ok := th.allow("", "10."+itoa(i/65536)+"."+itoa(i/256%256)+"."+itoa(i%256)+":1", now); ok {
			written++
		}
	}
	if written > refusalsAtOnce || len(th.callers) > maxCallers+1 {
		t.Errorf("%d lines, %d callers are remembered", written, len(th.callers))
	}
	// Slowly, so that each is written.
	for i := range 3 * maxCallers {
		now = now.Add(refusalEvery)
		if _, ok := th.allow("", "10.1."+itoa(i/256)+"."+itoa(i%256)+":1", now); !ok {
			t.Fatal("nothing is written ever again")
		}
	}
	if len(th.callers) > maxCallers+1 {
		t.Errorf("%d callers are remembered", len(th.callers))
	}
}
