package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// attached is an attachment to which nothing happens.
type attached struct{ heard int }

func (a *attached) Heard(*messages.Heartbeat)      { a.heard++ }
func (a *attached) Orders() <-chan *messages.Order { return nil }
func (a *attached) Kicked() <-chan struct{}        { return nil }
func (a *attached) Why() error                     { return nil }
func (a *attached) Detach()                        {}

// A door ends the stream of an agent that says nothing for as long as some
// heartbeats may be missing, counted from the last that it said; not before.
func TestADoorDoesNotWaitForASilentAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := make(chan heard)
		c := &connection{d: NewDoor(DoorOptions{KeepaliveEvery: time.Hour}), in: in}
		began, ended := time.Now(), make(chan error, 1)
		a := &attached{}
		go func() { ended <- c.serve(t.Context(), a) }()
		const limit = silenceOf * HeartbeatEvery
		time.Sleep(limit - time.Second)
		in <- heard{m: &messages.ConnectRequest{Message: &messages.ConnectRequest_Heartbeat{Heartbeat: &messages.Heartbeat{}}}}
		err := <-ended
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded || time.Since(began) != 2*limit-time.Second || a.heard != 1 {
			t.Errorf("after %s: %v; %d heartbeats", time.Since(began), err, a.heard)
		}
	})
}

// deaf is a coordinator that takes the connection; it says welcome if it is to, and
// nothing after that.
type deaf struct{ welcome bool }

func (d deaf) Do(r *http.Request) (*http.Response, error) {
	go func() { _, _ = io.Copy(io.Discard, r.Body) }()
	if !d.welcome {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	b, err := proto.Marshal(&messages.ConnectResponse{Message: &messages.ConnectResponse_Welcome{Welcome: &messages.Welcome{Epoch: 1}}})
	if err != nil {
		return nil, err
	}
	// An envelope of the Connect protocol: flags, length, message.
	said := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
	silent, stop := io.Pipe()
	context.AfterFunc(r.Context(), func() { _ = stop.CloseWithError(r.Context().Err()) })
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Header: http.Header{"Content-Type": {"application/connect+proto"}},
		Body: struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(said), silent), silent}, Request: r}, nil
}

// emptyJournal has nothing and never will.
type emptyJournal struct{}

func (emptyJournal) Read(uint64, int) ([]rack.Event, error) { return nil, nil }
func (emptyJournal) Last() uint64                           { return 0 }
func (emptyJournal) Wait(ctx context.Context, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// An uplink gives up a connection over which the coordinator says nothing: no
// welcome within the time for a hello, and after it no word for as long as some
// heartbeats may be missing.
func TestAnUplinkDoesNotWaitForASilentCoordinator(t *testing.T) {
	for _, x := range []struct {
		coordinator deaf
		limit       time.Duration
	}{{deaf{}, helloLimit}, {deaf{welcome: true}, silenceOf * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			u := NewUplink(UplinkOptions{Client: messagesconnect.NewBusServiceClient(x.coordinator, "http://coordinator"), Rack: "r1", Name: "j", Journal: emptyJournal{},
				Hello: func() *messages.Hello { return &messages.Hello{} }, Heartbeat: func() *messages.Heartbeat { return &messages.Heartbeat{} },
				Welcomed: func(uint64) error { return nil }, HeartbeatEvery: time.Second})
			began := time.Now()
			err := u.connect(t.Context())
			if err == nil || err.Error() != "the coordinator is silent" || time.Since(began) != x.limit {
				t.Errorf("welcome %v: after %s, not %s: %v", x.coordinator.welcome, time.Since(began), x.limit, err)
			}
		})
	}
}
