package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// evil clears a screen, sets a title by C1, turns what follows around.
const evil = "a\x1b[2J\u009d0;x\x07\u202eb\x7f\r"

// liar is a server whose every word is that of a hostile agent.
type liar struct {
	messagesconnect.UnimplementedRackServiceHandler
}

func (liar) GetRack(context.Context, *connect.Request[messages.GetRackRequest]) (*connect.Response[messages.GetRackResponse], error) {
	return connect.NewResponse(&messages.GetRackResponse{Rack: &messages.Rack{Name: evil, Cause: evil, Agent: &messages.AgentState{Version: evil}, Only: []string{"sound", evil}}}), nil
}

func (liar) WatchEvents(_ context.Context, _ *connect.Request[messages.WatchEventsRequest], stream *connect.ServerStream[messages.WatchEventsResponse]) error {
	return stream.Send(&messages.WatchEventsResponse{Events: []*messages.Event{{Seq: 7, Device: evil, Detail: &messages.EventDetail{Error: evil + "\nä, line 2", Seen: &messages.Observation{Message: evil}}}}})
}

func (liar) HaltRack(context.Context, *connect.Request[messages.HaltRackRequest]) (*connect.Response[messages.HaltRackResponse], error) {
	return nil, detailed(connect.CodeFailedPrecondition, errors.New(evil), &messages.Refusal{What: evil, Next: "sound"})
}

func TestWhatAgentsSayIsFitForATerminal(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewRackServiceHandler(liar{}))
	server := httptest.NewServer(mux)
	defer server.Close()
	c, err := Connect(Server{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const tame = "a?[2J?0;x??b??"
	fit := func(what, text string) {
		t.Helper()
		if strings.ContainsFunc(text, unprintable) || !strings.Contains(text, tame) {
			t.Errorf("%s: %q", what, text)
		}
	}
	rack, err := c.GetRack(t.Context(), connect.NewRequest(&messages.GetRackRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	r := rack.Msg.GetRack()
	fit("a field", r.GetCause())
	fit("a field of a field", r.GetAgent().GetVersion())
	if only := r.GetOnly(); len(only) != 2 || only[0] != "sound" {
		t.Errorf("a list: %q", only)
	} else {
		fit("a list", only[1])
	}
	events, err := c.WatchEvents(t.Context(), connect.NewRequest(&messages.WatchEventsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	for events.Receive() {
		e := events.Msg().GetEvents()[0]
		fit("an event", e.GetDevice())
		fit("what was seen", e.GetDetail().GetSeen().GetMessage())
		if s := e.GetDetail().GetError(); s != tame+"\nä, line 2" || e.GetSeq() != 7 {
			t.Errorf("what is sound did not stay: %q", s)
		}
	}
	if err := errors.Join(events.Err(), events.Close()); err != nil {
		t.Error(err)
	}
	_, err = c.HaltRack(t.Context(), connect.NewRequest(&messages.HaltRackRequest{}))
	var refused *connect.Error
	if !errors.As(err, &refused) || refused.Code() != connect.CodeFailedPrecondition || !connect.IsWireError(err) || len(refused.Details()) != 1 {
		t.Fatalf("%v", err)
	}
	fit("an error", refused.Message())
	v, err := refused.Details()[0].Value()
	if no, ok := v.(*messages.Refusal); err != nil || !ok || no.GetNext() != "sound" {
		t.Errorf("%v %v", v, err)
	} else {
		fit("a refusal", no.GetWhat())
	}
}

// TestNoMessageHasAMap: printFields does not look into one.
func TestNoMessageHasAMap(t *testing.T) {
	n := 0
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		d := m.Descriptor()
		for i := range d.Fields().Len() {
			if n++; strings.HasPrefix(string(d.FullName()), "rackreach.v1.") && d.Fields().Get(i).IsMap() {
				t.Errorf("%s has the map %s", d.FullName(), d.Fields().Get(i).Name())
			}
		}
		return true
	})
	if n == 0 {
		t.Error("no message was found")
	}
}

func BenchmarkPrintable(b *testing.B) {
	e := &messages.Event{}
	if err := prototext.Unmarshal([]byte(`seq: 41 rack: "r1" device: "mgmt-1" role: "management-switch" kind: "phase-completed" phase: "installation" detail { step: "install" seen { source: "dhcp" device: "mgmt-1" mac: "02:00:00:00:00:01" } }`), e); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if printMessage(e) {
			b.Fatal("changed")
		}
	}
}
