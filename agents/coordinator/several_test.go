package coordinator

import (
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// natsServer is a NATS server in this process, for several coordinators.
func natsServer(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "n1", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

// TestSeveralCoordinatorsImageOneFleet: wherever the agents are connected, one rack is
// imaged at once, as the log shows.
func TestSeveralCoordinatorsImageOneFleet(t *testing.T) {
	url := natsServer(t)
	at := []*served{serve(t, home(t, false), url, "127.0.0.1:0"), serve(t, home(t, false), url, "127.0.0.1:0")}
	q := &messages.ApplyFleetRequest{Name: "hall", AtOnce: 1}
	agents := map[string]*agent{}
	for i := range 8 {
		name, s := fmt.Sprint("r", i+1), at[i%2]
		agents[name] = s.agent(name, nil, nil, nil)
		q.Racks = append(q.Racks, &messages.ApplyRackRequest{Name: messages.RackName(name), PlanHash: at[0].put(name)})
		until(t, name+" is connected", func() bool { return s.connected(name) })
	}
	if _, err := at[1].admin.Fleet.ApplyFleet(t.Context(), connect.NewRequest(q)); err != nil {
		t.Fatal(err)
	}
	completed := map[string]bool{}
	until(t, "every rack is begun", func() bool {
		for name, a := range agents {
			if !completed[name] && len(a.did()) > 0 {
				completed[name] = true
				a.add(rack.Event{Kind: rack.RackCompleted})
			}
		}
		return len(completed) == len(agents)
	})
	until(t, "both say that it is completed", func() bool {
		return at[0].fleet().GetStatus() == string(rack.Completed) && at[1].fleet().GetStatus() == string(rack.Completed)
	})
	stream, err := at[0].admin.Fleet.WatchFleet(t.Context(), connect.NewRequest(&messages.WatchFleetRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	now := ""
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			switch rack.Kind(e.GetKind()) {
			case rack.RackStarted:
				if now != "" {
					t.Errorf("%s was begun while %s was imaged", e.GetRack(), now)
				}
				now = e.GetRack()
			case rack.RackCompleted:
				now = ""
			}
		}
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	for name, a := range agents {
		if n := len(a.did()); n != 1 {
			t.Errorf("%s obeyed %d orders", name, n)
		}
	}
}
