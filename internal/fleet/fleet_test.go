package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestNext(t *testing.T) {
	on := func(name string, s rack.Status) State { return State{Rack: name, Status: s, Connected: true} }
	for _, tt := range []struct {
		name   string
		spec   Spec
		states []State
		begin  string
		halt   string
	}{
		{"all at once", Spec{}, []State{on("a", ""), on("b", rack.Idle), on("c", "")}, "a b c", ""},
		{"two at once, in order", Spec{AtOnce: 2}, []State{on("c", ""), on("b", ""), on("a", "")}, "a b", ""},
		{"one is being imaged", Spec{AtOnce: 2}, []State{on("a", rack.Imaging), on("b", ""), on("c", "")}, "b", ""},
		{"one was ordered", Spec{AtOnce: 1}, []State{{Rack: "a", Connected: true, Ordered: true}, on("b", "")}, "", ""},
		{"one was ordered, and its agent went away", Spec{AtOnce: 1}, []State{{Rack: "a", Ordered: true}, on("b", "")}, "", ""},
		{"an order is over once the rack is imaged", Spec{AtOnce: 2}, []State{{Rack: "a", Ordered: true, Status: rack.Completed}, on("b", ""), on("c", "")}, "b c", ""},
		{"an agent is away: the others need not wait", Spec{AtOnce: 1}, []State{{Rack: "a"}, on("b", "")}, "b", ""},
		{"it is back, and first in its place", Spec{AtOnce: 1}, []State{on("a", ""), on("b", ""), on("c", rack.Completed)}, "a", ""},
		{"nothing is known of the racks", Spec{}, nil, "", ""},
		{"a rack of no fleet", Spec{AtOnce: 1}, []State{on("x", rack.Imaging), on("a", "")}, "a", ""},
		{"completed racks make room", Spec{AtOnce: 1}, []State{on("a", rack.Completed), on("b", rack.Completed), on("c", "")}, "c", ""},
		{"the first one that halts", Spec{}, []State{{Rack: "a", Status: rack.Halted, Cause: "tor-1 failed"}, on("b", ""), on("c", rack.Imaging)}, "", "1 rack of 3 racks halted, and no rack may: a (tor-1 failed)"},
		{"one may halt", Spec{HaltAfter: 1}, []State{on("a", rack.Halted), on("b", ""), on("c", "")}, "b c", ""},
		{"and not two", Spec{HaltAfter: 1}, []State{on("a", rack.Halted), {Rack: "b", Refused: "another plan"}, on("c", "")}, "", "2 racks of 3 racks halted, and 1 rack may: a, b (another plan)"},
		{"one that drains has as good as halted, and is busy", Spec{AtOnce: 1, HaltAfter: 1}, []State{on("a", rack.Draining), on("b", "")}, "", ""},
		{"and counts", Spec{}, []State{on("a", rack.Draining), on("b", "")}, "", "1 rack of 3 racks halted, and no rack may: a"},
		{"a refusal is not repeated", Spec{HaltAfter: 3}, []State{{Rack: "a", Connected: true, Refused: "no"}, on("b", "")}, "b", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Racks = []string{"a", "b", "c"}
			begin, halt := Next(tt.spec, tt.states)
			if got := strings.Join(begin, " "); got != tt.begin || halt != tt.halt {
				t.Errorf("begin %q, halt %q; want %q, %q", got, halt, tt.begin, tt.halt)
			}
		})
	}
}

// fleetModel is a fleet whose agents come and go, and whose racks end in one way
// or another, in any order.
type fleetModel struct {
	spec   Spec
	states map[string]*State
	begun  []string
}

func (m *fleetModel) list() (out []State) {
	for _, s := range m.states {
		out = append(out, *s)
	}
	return out
}

func (m *fleetModel) busy() (n int) {
	for _, s := range m.states {
		if p := s.phase(); p == busy || p == stopping {
			n++
		}
	}
	return n
}

func (m *fleetModel) bad() (n int) {
	for _, s := range m.states {
		if p := s.phase(); p == stopped || p == stopping {
			n++
		}
	}
	return n
}

// order begins what Next says, and holds what must be true of it.
func (m *fleetModel) order(t *rapid.T) {
	bad := m.bad()
	begin, halt := Next(m.spec, m.list())
	if (halt != "") != (bad > m.spec.HaltAfter) {
		t.Fatalf("%d racks halted, %d may, and the reason is %q", bad, m.spec.HaltAfter, halt)
	}
	if halt != "" && len(begin) > 0 {
		t.Fatalf("%v although %s", begin, halt)
	}
	last := -1
	for _, name := range begin {
		at := slices.Index(m.spec.Racks, name)
		if at <= last {
			t.Fatalf("%v is not the order of the fleet", begin)
		}
		last = at
		if slices.Contains(m.begun, name) || !m.states[name].Connected {
			t.Fatalf("%s was begun twice, or has no agent", name)
		}
		m.begun = append(m.begun, name)
		m.states[name].Ordered = true
	}
	if most := m.spec.AtOnce; most > 0 && m.busy() > most {
		t.Fatalf("%d racks at once, %d allowed", m.busy(), most)
	}
	if halt == "" { // nobody who could be begun is left out while there is room
		for _, s := range m.states {
			if s.phase() == waiting && s.Connected && (m.spec.AtOnce == 0 || m.busy() < m.spec.AtOnce) {
				t.Fatalf("%s waits, and there is room", s.Rack)
			}
		}
	}
}

func TestNextHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &fleetModel{states: map[string]*State{}}
		n := rapid.IntRange(1, 12).Draw(t, "racks")
		m.spec = Spec{AtOnce: rapid.IntRange(0, 5).Draw(t, "atOnce"), HaltAfter: rapid.IntRange(0, 4).Draw(t, "haltAfter")}
		for i := range n {
			name := fmt.Sprint("r", i)
			m.spec.Racks = append(m.spec.Racks, name)
			m.states[name] = &State{Rack: name, Connected: rapid.Bool().Draw(t, "connected")}
		}
		fails := rapid.Bool().Draw(t, "racks fail")
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			m.order(t)
			s := m.states[rapid.SampledFrom(m.spec.Racks).Draw(t, "rack")]
			what := rapid.IntRange(0, 5).Draw(t, "what")
			switch {
			case what == 0:
				s.Connected = !s.Connected
			case s.Ordered && s.Status == "" && s.Refused == "":
				if s.Ordered = false; fails && what == 1 {
					s.Refused = "no"
				} else {
					s.Status = rack.Imaging
				}
			case s.Status == rack.Imaging && fails && what < 3:
				s.Status = rack.Draining
			case s.Status == rack.Imaging:
				s.Status = rack.Completed
			case s.Status == rack.Draining:
				s.Status = rack.Halted
			}
		}
		if fails {
			return
		}
		// Once every agent is there and nothing halts, all are begun and end.
		for _, s := range m.states {
			s.Connected = true
		}
		for range n + 1 {
			m.order(t)
			for _, s := range m.states {
				if s.phase() == busy {
					s.Ordered, s.Status = false, rack.Completed
				}
			}
		}
		if len(m.begun) != n {
			t.Fatalf("%v were begun, of %d", m.begun, n)
		}
		if got, why := StatusOf(m.spec, m.list(), nil); got != Completed {
			t.Fatalf("%s: %s", got, why)
		}
	})
}

func TestStatusOf(t *testing.T) {
	on := func(name string, s rack.Status) State { return State{Rack: name, Status: s, Connected: true} }
	open, dark := LinkState{State: rack.LinkIsOpen}, LinkState{State: rack.LinkIsReady, Note: "r1/tor-1:49 hears nothing"}
	for _, tt := range []struct {
		name   string
		spec   Spec
		states []State
		links  []LinkState
		want   Status
		why    string
	}{
		{"nothing began", Spec{}, []State{on("a", ""), on("b", "")}, nil, Idle, ""},
		{"nobody is there", Spec{}, []State{on("b", "")}, nil, Idle, "the agents of these racks are not connected: a"},
		{"one was ordered", Spec{}, []State{{Rack: "a", Connected: true, Ordered: true}, on("b", "")}, nil, Imaging, ""},
		{"one waits for its agent", Spec{}, []State{on("a", rack.Completed)}, nil, Imaging, "the agents of these racks are not connected: b"},
		{"completed", Spec{}, []State{on("a", rack.Completed), on("b", rack.Completed)}, []LinkState{open}, Completed, ""},
		{"a completed rack's agent may be away", Spec{}, []State{{Rack: "a", Status: rack.Completed}, on("b", rack.Completed)}, nil, Completed, ""},
		{"the backplane is not", Spec{}, []State{on("a", rack.Completed), on("b", rack.Completed)}, []LinkState{open, dark}, Imaging, "(1 cable of 2 cables is not): r1/tor-1:49 hears nothing"},
		{"one halted", Spec{}, []State{on("a", rack.Halted), on("b", rack.Imaging)}, nil, Halted, "1 rack of 2 racks halted"},
		{"one halted and may, the other goes on", Spec{HaltAfter: 1}, []State{on("a", rack.Halted), on("b", rack.Imaging)}, nil, Imaging, ""},
		{"one halted and may, the other ended", Spec{HaltAfter: 1}, []State{on("a", rack.Halted), on("b", rack.Completed)}, nil, Halted, "1 rack of 2 racks halted: a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.spec.Racks = []string{"a", "b"}
			got, why := StatusOf(tt.spec, tt.states, tt.links)
			if got != tt.want || !strings.Contains(why, tt.why) || tt.why == "" && why != "" {
				t.Errorf("%s %q, want %s %q", got, why, tt.want, tt.why)
			}
		})
	}
	if got, _ := StatusOf(Spec{}, nil, nil); got != Idle {
		t.Errorf("a fleet without racks is %s", got)
	}
}
