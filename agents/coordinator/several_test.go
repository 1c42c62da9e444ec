package coordinator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/fleetlog"
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
// imaged at once, in the order of the fleet, as the log shows.
func TestSeveralCoordinatorsImageOneFleet(t *testing.T) {
	url := natsServer(t)
	at := []*served{serve(t, home(t, false), url, "127.0.0.1:0"), serve(t, home(t, false), url, "127.0.0.1:0")}
	q := &messages.ApplyFleetRequest{Name: "hall", AtOnce: 1}
	agents := map[string]*agent{}
	for i := range 8 {
		name, s := fmt.Sprint("r", i+1), at[i%2]
		agents[name] = s.agent(name, nil, nil, nil)
		q.Racks = append(q.Racks, &messages.ApplyRackRequest{Name: messages.RackName(name), PlanHash: at[0].put(name)})
		until(t, name+" is connected, to everybody's knowledge", func() bool { return at[0].connected(name) && at[1].connected(name) })
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
	now, order := "", ""
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			switch rack.Kind(e.GetKind()) {
			case rack.RackStarted:
				if now != "" {
					t.Errorf("%s was begun while %s was imaged", e.GetRack(), now)
				}
				now = e.GetRack()
				order += now + " "
			case rack.RackCompleted:
				now = ""
			}
		}
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if order != "r1 r2 r3 r4 r5 r6 r7 r8 " {
		t.Errorf("begun in this order: %s", order)
	}
	for name, a := range agents {
		if n := len(a.did()); n != 1 {
			t.Errorf("%s obeyed %d orders", name, n)
		}
	}
}

// TestAnyCoordinatorTellsOfAnyAgent: whether it is connected, when it was heard of last
// and where its metrics are, also of one that went, or whose coordinator did, before this
// one was started.
func TestAnyCoordinatorTellsOfAnyAgent(t *testing.T) {
	url := natsServer(t)
	one, two := serve(t, home(t, false), url, "127.0.0.1:0"), serve(t, home(t, false), url, "127.0.0.1:0")
	a := one.agent("r1", nil, nil, nil)
	until(t, "the other tells that it is connected", func() bool { return two.connected("r1") })
	a.add(findings(3)...)
	listed := func(s *served) string {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/sd/agents", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b := must(io.ReadAll(answer.Body))
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		return strings.TrimSpace(string(b))
	}
	const target = `[{"targets":["127.0.0.1:9100"],"labels":{"rack":"r1"}}]`
	if got := listed(two); got != target {
		t.Errorf("the other lists %s", got)
	}
	if is, err := two.c.connectedHere(t.Context(), "r1"); is || err != nil {
		t.Errorf("it is connected to the other: %v, %v", is, err)
	}
	three := serve(t, home(t, false), url, "127.0.0.1:0")
	if !three.connected("r1") || listed(three) != target {
		t.Errorf("one that was started later: %v, %s", three.rack("r1"), listed(three))
	}
	one.stop()
	away := func(s *served) bool {
		x := s.rack("r1").GetAgent()
		return !x.GetConnected() && x.GetLastHeard() != nil
	}
	until(t, "the coordinator of the agent has ended", func() bool { return away(two) && away(three) })
	a.stop()
	b := three.agent("r1", nil, a.journal, nil)
	until(t, "the agent came to another one", func() bool { return two.connected("r1") })
	b.stop()
	until(t, "it has gone", func() bool { return away(two) && away(three) })
	four := serve(t, home(t, false), url, "127.0.0.1:0")
	if !away(four) || listed(four) != target {
		t.Errorf("one that was started when it had gone: %v, %s", four.rack("r1"), listed(four))
	}
}

// TestACoordinatorThatSaysNothing is taken for lost, and its agents are not connected.
func TestACoordinatorThatSaysNothing(t *testing.T) {
	told := map[string]bool{}
	s := newSightings(nil, false, func(m *actors.AgentSeen) { told[m.Rack] = m.Sighting.Connected }, nil)
	now := time.Unix(1000, 0)
	lives := func(id string, after time.Duration) {
		s.lives(id, fleetlog.TableEntry{Value: []byte("1"), Time: now.Add(after)})
		s.judge()
	}
	sees := func(rack, at string, connected bool) {
		s.see(rack, must(json.Marshal(sighting{At: at, Sighting: actors.Sighting{Connected: connected}})), true)
	}
	is := func(what string, want bool) {
		t.Helper()
		if told["r1"] != want {
			t.Errorf("%s: connected: %v", what, !want)
		}
	}
	lives(s.self, 0)
	sees("r1", "other", true)
	is("its coordinator was not heard of", false)
	lives("other", 0)
	is("its coordinator lives", true)
	lives(s.self, presentFor-1)
	is("its coordinator is late", true)
	lives(s.self, presentFor)
	is("its coordinator is lost", false)
	lives("other", presentFor)
	is("its coordinator is back", true)
	sees("r1", "other", false)
	is("it has gone", false)
	sees("r1", s.self, true)
	is("by the own word", false)
	if got := s.lost(); len(got) > 0 {
		t.Errorf("forgotten: %q", got)
	}
	lives(s.self, presentFor+lostAfter+1)
	if got := s.lost(); len(got) != 1 || got[0] != "other" {
		t.Errorf("forgotten: %q", got)
	}
}

// TestAnAgentThatIsAwayIsRemembered by a coordinator with a log of its own.
func TestAnAgentThatIsAwayIsRemembered(t *testing.T) {
	dir := home(t, false)
	s := serve(t, dir, "", "127.0.0.1:0")
	a := s.agent("r1", nil, nil, nil)
	until(t, "it is on record", func() bool { return !s.c.sights.heard("r1", 1).IsZero() })
	s.stop() // while it is connected
	a.stop()
	s = serve(t, dir, "", "127.0.0.1:0")
	if x := s.rack("r1").GetAgent(); x.GetConnected() || x.GetLastHeard() == nil || x.GetMetricsAddress() == "" {
		t.Errorf("%v", x)
	}
	want := `
		# HELP rackreach_fleet_agents Agents, by connection: connected or away.
		# TYPE rackreach_fleet_agents gauge
		rackreach_fleet_agents{connection="away"} 1
		rackreach_fleet_agents{connection="connected"} 0
	`
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(want), "rackreach_fleet_agents"); err != nil {
		t.Error(err)
	}
	again := s.agent("r1", nil, a.journal, nil)
	until(t, "it is back", func() bool { return s.connected("r1") })
	again.stop()
}

// TestWhoWasReplacedIsTold when the other agent was heard of last.
func TestWhoWasReplacedIsTold(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	s.agent("r1", nil, nil, nil)
	until(t, "it is on record", func() bool { return !s.c.sights.heard("r1", 1).IsZero() })
	second := s.agent("r1", nil, nil, func(o *bus.UplinkOptions) { o.Name = "another" })
	<-second.done
	var by *bus.Superseded
	if !errors.As(second.err, &by) || by.By.GetLastHeard() == nil {
		t.Errorf("%v", second.err)
	}
}
