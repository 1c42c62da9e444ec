package actors

import (
	"sync"
	"testing"
	"time"

	"github.com/rackreach/rackreach/messages"
)

// sights are what a coordinator told the others.
type sights struct {
	mu  sync.Mutex
	all []Sighting
}

func (s *sights) told(_ string, x Sighting) { s.mu.Lock(); s.all = append(s.all, x); s.mu.Unlock() }

func (s *sights) take() (out []Sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, s.all = s.all, nil
	return out
}

// TestAnAgentAtAnotherCoordinator is shown as that one tells of it, but not instead of
// what is known here at first hand.
func TestAnAgentAtAnotherCoordinator(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		agent := func() *messages.AgentState { return ask[*messages.Fleet](r, &GetFleet{}).GetRacks()[0].GetAgent() }
		there := &Sighting{Connected: true, Epoch: 1, Version: "v2", MetricsAddress: "10.0.0.1:9100", Driven: true, LastSeq: 7, Heard: time.Now()}
		r.send(&AgentSeen{Rack: "r1", Sighting: there})
		if a := agent(); !a.GetConnected() || a.GetVersion() != "v2" || a.GetMetricsAddress() != "10.0.0.1:9100" || a.GetLag() != 7 || !a.GetDriven() || !a.GetLastHeard().AsTime().Equal(there.Heard) {
			t.Errorf("at another coordinator: %v", a)
		}
		if ask[bool](r, &IsHere{"r1"}) {
			t.Error("it is connected here")
		}
		time.Sleep(time.Second)
		l := r.attach("r1")
		if a := agent(); !a.GetConnected() || a.GetVersion() != "v1" || a.GetLag() != 0 || !ask[bool](r, &IsHere{"r1"}) {
			t.Errorf("it came here: %v", a)
		}
		r.send(&AgentDetached{Rack: "r1", Line: l})
		gone := *there
		gone.Connected = false
		r.send(&AgentSeen{Rack: "r1", Sighting: &gone})
		if a := agent(); a.GetConnected() || a.GetDriven() || a.GetVersion() != "v1" || !a.GetLastHeard().AsTime().Equal(time.Now()) {
			t.Errorf("it has gone from here, where it was heard of last: %v", a)
		}
		gone.Heard = time.Now().Add(time.Second)
		r.send(&AgentSeen{Rack: "r1", Sighting: &gone})
		if a := agent(); a.GetConnected() || a.GetVersion() != "v2" || a.GetMetricsAddress() != "10.0.0.1:9100" {
			t.Errorf("it was at the other one since: %v", a)
		}
	})
}

// TestAnAgentThatIsAwaySinceBefore the coordinator was started was heard of.
func TestAnAgentThatIsAwaySinceBefore(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		heard := time.Now().Add(-time.Hour)
		r.send(&AgentSeen{Rack: "r1", Sighting: &Sighting{Epoch: 1, Heard: heard}})
		if c := ask[Counts](r, &GetCounts{}).Racks; len(c) != 1 || c[0].Connected || !c[0].Heard.Equal(heard) {
			t.Errorf("%+v", c)
		}
	})
}

// TestUntilAllWasTold a rack is said to be read: of its agent, too, something may be yet to
// come when what it did is known.
func TestUntilAllWasTold(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		r.start()
		defer r.stop()
		r.send(&Planned{Rack: "r1", Hash: "aa"})
		status := func() string { return ask[*messages.Fleet](r, &GetFleet{}).GetRacks()[0].GetStatus() }
		if s := status(); s != Reading {
			t.Errorf("before its agent was told of: %s", s)
		}
		r.send(&AgentSeen{Rack: "r1", Sighting: &Sighting{Epoch: 1, Heard: time.Now()}})
		r.send(&CaughtUp{})
		if s := status(); s != "idle" {
			t.Errorf("once all was told: %s", s)
		}
	})
}

// TestWhatIsToldOfAnAgent: what is new at once, and that it lives now and then.
func TestWhatIsToldOfAnAgent(t *testing.T) {
	inFleet(t, func(t *testing.T, r *records) {
		var s sights
		r.sight = s.told
		r.start()
		r.send(&CaughtUp{})
		defer r.stop()
		l := r.attach("r1")
		if got := s.take(); len(got) != 1 || !got[0].Connected || got[0].Version != "v1" || got[0].Epoch != 1 || got[0].Driven {
			t.Fatalf("it connected: %+v", got)
		}
		beat := func(driven bool) {
			time.Sleep(10 * time.Second)
			r.send(&AgentHeard{Rack: "r1", Line: l, Heartbeat: &messages.Heartbeat{LastSeq: 3, Driven: driven}})
		}
		beat(true)
		if got := s.take(); len(got) != 1 || !got[0].Driven || got[0].LastSeq != 3 {
			t.Errorf("it is driven: %+v", got)
		}
		for range 60 {
			beat(true)
		}
		if got := s.take(); len(got) != 10 || !got[9].Heard.Equal(time.Now()) {
			t.Errorf("in ten minutes: %+v", got)
		}
		r.send(&AgentSeen{Rack: "r1", Sighting: &Sighting{Heard: time.Now()}, Own: true})
		if got := s.take(); len(got) > 0 {
			t.Errorf("by its own word: %+v", got)
		}
		r.send(&AgentSeen{Rack: "r1", Sighting: &Sighting{Heard: time.Now()}})
		if got := s.take(); len(got) != 1 || !got[0].Connected {
			t.Errorf("overtaken by the coordinator before: %+v", got)
		}
		r.send(&AgentDetached{Rack: "r1", Line: l})
		if got := s.take(); len(got) != 1 || got[0].Connected || got[0].Driven {
			t.Errorf("it has gone: %+v", got)
		}
	})
}
