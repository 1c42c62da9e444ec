package rackagent

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// conductor is a coordinator that welcomes one agent, gives it orders and, once
// all are answered, says that another agent owns its rack.
type conductor struct {
	messagesconnect.UnimplementedBusServiceHandler
	orders  []*messages.Order
	hellos  chan *messages.Hello
	answers chan rack.Event
	release chan struct{} // closed: it may say that
}

// Connect implements the service.
func (c *conductor) Connect(_ context.Context, s *connect.BidiStream[messages.ConnectRequest, messages.ConnectResponse]) error {
	m, err := s.Receive()
	if err != nil {
		return err
	}
	c.hellos <- m.GetHello()
	if err := s.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Welcome{Welcome: &messages.Welcome{Epoch: 5, SiblingServerIds: []string{"10.0.0.9"}}}}); err != nil {
		return err
	}
	if err := s.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Siblings{Siblings: &messages.Siblings{ServerIds: []string{"10.0.0.8", "10.0.0.9"}}}}); err != nil {
		return err
	}
	for _, o := range c.orders {
		if err := s.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Order{Order: o}}); err != nil {
			return err
		}
	}
	for answered := 0; answered < len(c.orders); {
		m, err := s.Receive()
		if err != nil {
			return err
		}
		for _, x := range m.GetEvents().GetEvents() {
			e, err := messages.ToEvent(x)
			if err != nil {
				return err
			}
			if e.Detail.Order != "" {
				answered++
				c.answers <- e
			}
			if err := s.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Ack{Ack: &messages.EventAck{Seq: e.Seq}}}); err != nil {
				return err
			}
		}
	}
	<-c.release
	gone := connect.NewError(connect.CodeFailedPrecondition, errors.New("another agent owns the rack"))
	d, err := connect.NewErrorDetail(&messages.Superseded{Epoch: 6, Journal: "other"})
	if err != nil {
		return err
	}
	gone.AddDetail(d)
	return gone
}

// TestConnect: orders come down the stream and their answers go up, and an agent
// that another one has replaced ends and stays away.
func TestConnect(t *testing.T) {
	plan, err := resolved(t, smallRack).Encode()
	if err != nil {
		t.Fatal(err)
	}
	c := &conductor{hellos: make(chan *messages.Hello, 1), answers: make(chan rack.Event, 8), release: make(chan struct{}), orders: []*messages.Order{
		{Id: "a", Rack: "r4", Verb: "resume", By: "ada"},
		{Id: "b", Rack: "r4", Verb: "apply", By: "ada", Plan: plan},
		{Id: "c", Rack: "r4", Verb: "apply", By: "ada", Plan: plan},
	}}
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewBusServiceHandler(c))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	client, err := bus.Dial(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	h := newHouse(t)
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.begin(func(o *KeeperOptions) {
		o.Uplink = func(ctx context.Context, k *Keeper) error {
			return k.Connect(ctx, &messages.Hello{Version: "v1", MetricsAddress: "127.0.0.1:9464"}, bus.UplinkOptions{Client: client})
		}
	})
	if m := <-c.hellos; m.GetRack() != "r4" || m.GetJournal() != h.k.Journal().Meta().Run || m.GetMetricsAddress() == "" || m.GetVersion() != "v1" || m.GetPlanHash() != "" {
		t.Errorf("hello: %v", m)
	}
	for _, want := range []struct {
		id   string
		kind rack.Kind
	}{{"a", rack.OrderAnswered}, {"b", rack.RackStarted}, {"c", rack.OrderAnswered}} {
		if e := <-c.answers; e.Detail.Order != want.id || e.Kind != want.kind {
			t.Errorf("%+v, want %+v", e, want)
		}
	}
	h.until("it is imaged", func(run *rack.Run) bool { return run.Device("mgmt-1").Status == rack.Ready })
	if connected, _ := h.k.Lag(); !connected || h.k.Epoch() != 5 || len(h.k.Siblings().all()) != 2 {
		t.Errorf("connected: %v, epoch %d, siblings %v", connected, h.k.Epoch(), h.k.Siblings().all())
	}
	if ids, err := h.dir.ReadSiblings(); err != nil || !slices.Equal(ids, []string{"10.0.0.8", "10.0.0.9"}) {
		t.Errorf("its siblings are not kept: %v %v", ids, err)
	}
	if ids := h.k.Heartbeat().GetServerIds(); len(ids) > 0 {
		t.Errorf("a simulation is on no segment: %v", ids)
	}
	if e, err := h.dir.ReadEpoch(); err != nil || e.Number != 5 || e.Superseded != nil {
		t.Errorf("its epoch is not kept: %+v %v", e, err)
	}
	close(c.release)
	var other *Superseded
	if err := <-h.ended; !errors.As(err, &other) || other.Epoch != 6 {
		t.Errorf("%v", err)
	}
	h.stop = func() error { return nil }
	if e, err := h.dir.ReadEpoch(); err != nil || e.Number != 5 || e.Superseded == nil {
		t.Errorf("%+v %v", e, err)
	}
}
