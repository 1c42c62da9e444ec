package bus

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// told is a coordinator that answers an adoption with what it was given.
type told struct {
	messagesconnect.UnimplementedBusServiceHandler
	parts []*messages.AdoptResponse
}

func (c *told) Adopt(_ context.Context, _ *connect.Request[messages.AdoptRequest], stream *connect.ServerStream[messages.AdoptResponse]) error {
	for _, p := range c.parts {
		if err := stream.Send(p); err != nil {
			return err
		}
	}
	return nil
}

// TestAdoptionsThatAreNotWhole are not taken: the new agent would go on with a
// history that has a hole.
func TestAdoptionsThatAreNotWhole(t *testing.T) {
	events := many(5)
	part := func(last uint64, events ...*messages.Event) *messages.AdoptResponse {
		return &messages.AdoptResponse{Epoch: 2, LastSeq: last, Events: events}
	}
	other := many(3)
	other[2].Rack = "r2"
	for _, x := range []struct {
		name  string
		parts []*messages.AdoptResponse
		want  string // empty: it is taken
	}{
		{"whole", []*messages.AdoptResponse{part(5, events[:3]...), part(5, events[3:]...)}, ""},
		{"no events at all", []*messages.AdoptResponse{part(0)}, ""},
		{"nothing", nil, "ended after event 0 of 0"},
		{"cut behind a part", []*messages.AdoptResponse{part(5, events[:3]...)}, "ended after event 3 of 5"},
		{"without its beginning", []*messages.AdoptResponse{part(5, events[1:]...)}, "event 2 of rack \"r1\" came where event 1 is due"},
		{"with a hole", []*messages.AdoptResponse{part(5, events[:2]...), part(5, events[3:]...)}, "event 4 of rack \"r1\" came where event 3 is due"},
		{"one twice", []*messages.AdoptResponse{part(5, events[:3]...), part(5, events[2:]...)}, "event 3 of rack \"r1\" came where event 4 is due"},
		{"of another rack", []*messages.AdoptResponse{part(3, other...)}, "event 3 of rack \"r2\""},
		{"more than it said", []*messages.AdoptResponse{part(3, events...)}, "ended after event 5 of 3"},
	} {
		t.Run(x.name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.Handle(messagesconnect.NewBusServiceHandler(&told{parts: x.parts}))
			server := httptest.NewUnstartedServer(mux)
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			defer server.Close()
			client, err := Dial(server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var got uint64
			err = Adopt(t.Context(), client, "r1", "j2", false, func(_ []byte, _, _ uint64, events []rack.Event) error {
				for _, e := range events {
					if got++; e.Seq != got {
						t.Errorf("event %d was taken for event %d", e.Seq, got)
					}
				}
				return nil
			})
			if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestLookClaimsNothing: who only looks is told what is known of the lost agent, and
// changes nothing; not even that while the agent lives.
func TestLookClaimsNothing(t *testing.T) {
	log, j := newRecord(), newOwn()
	c := newCoordinator(t, log)
	c.door.o.Siblings = func(rack string, _ uint64) ([]string, uint64) {
		if rack == "r1" {
			return []string{"192.168.2.254"}, 1
		}
		return []string{"192.168.1.254", "192.168.2.254"}, 1
	}
	j.add(3)
	a := newAgent(t, c.server.URL, j, nil)
	until(t, "all is up", func() bool { return log.seq("r1") == 3 })
	client, err := Dial(c.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := Look(t.Context(), client, "r1", "j2"); err == nil || !strings.Contains(err.Error(), "lives") {
		t.Errorf("a living agent: %v", err)
	}
	a.stop()
	<-a.done
	until(t, "it is away", func() bool { l := c.line("r1"); return l == nil || l.left() })
	lost, err := Look(t.Context(), client, "r1", "j2")
	if err != nil || string(lost.Plan) != "plan" || fmt.Sprint(lost.Servers, lost.Siblings) != "[192.168.1.254] [192.168.2.254]" {
		t.Errorf("%+v %v", lost, err)
	}
	if head, err := log.Head(t.Context(), "r1"); err != nil || head.Epoch != 1 || c.kicks != 0 {
		t.Errorf("%+v %v: somebody was deposed", head, err)
	}
	if _, err := Look(t.Context(), client, "r9", "j2"); err == nil || !strings.Contains(err.Error(), "without --adopt") {
		t.Errorf("no such rack: %v", err)
	}
}
