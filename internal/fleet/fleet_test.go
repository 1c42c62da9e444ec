package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestNext(t *testing.T) {
	idle := func(n string) State { return State{Rack: n, Status: rack.Idle, Connected: true} }
	in := func(n string, s rack.Status) State { return State{Rack: n, Status: s, Connected: true, Ordered: true} }
	away := func(n string) State { return State{Rack: n, Status: rack.Idle} }
	first := time.Unix(1, 0)
	haltedAt := func(n string, at time.Time) State {
		return State{Rack: n, Status: rack.Halted, Ended: at, Ordered: true}
	}
	kept := func(n string) State { return State{Rack: n, Status: rack.Idle, Ordered: true} }
	for _, x := range []struct {
		name   string
		spec   Spec
		states []State
		begin  string
		halt   bool
	}{
		{"all at once", Spec{}, []State{idle("a"), idle("b"), idle("c")}, "a b c", false},
		{"two at once, in their order", Spec{AtOnce: 2}, []State{idle("c"), idle("a"), idle("b")}, "c a", false},
		{"one ended", Spec{AtOnce: 2}, []State{in("a", rack.Completed), in("b", rack.Imaging), idle("c"), idle("d")}, "c", false},
		{"one drains", Spec{AtOnce: 1}, []State{in("a", rack.Draining), idle("b")}, "", false},
		{"an order that was not carried out yet", Spec{AtOnce: 1}, []State{kept("a"), idle("b")}, "", false},
		{"on record, and not ordered yet", Spec{AtOnce: 1}, []State{{Rack: "a", Status: rack.Idle, Begun: true}, idle("b")}, "", false},
		{"on record, and not ordered twice", Spec{}, []State{{Rack: "a", Status: rack.Idle, Begun: true, Connected: true}, idle("b")}, "b", false},
		{"an agent that is away keeps its place", Spec{AtOnce: 1}, []State{away("a"), idle("b"), idle("c")}, "b", false},
		{"as many halted as may", Spec{HaltAfter: 2}, []State{in("a", rack.Halted), idle("b")}, "b", false},
		{"too many halted", Spec{HaltAfter: 1}, []State{in("a", rack.Halted), idle("b")}, "", true},
		{"halted, and no limit", Spec{}, []State{in("a", rack.Halted), idle("b")}, "b", false},
		{"one was refused", Spec{AtOnce: 1}, []State{{Rack: "a", Status: rack.Idle, Ordered: true, Refused: true, Connected: true}, idle("b")}, "b", false},
		{"a refusal counts as halted", Spec{HaltAfter: 1}, []State{{Rack: "a", Status: rack.Idle, Refused: true, Connected: true}, idle("b")}, "", true},
		{"halted, and forgiven", Spec{HaltAfter: 1, Forgiven: map[string]time.Time{"a": first}}, []State{haltedAt("a", first), idle("b")}, "b", false},
		{"halted anew", Spec{HaltAfter: 1, Forgiven: map[string]time.Time{"a": first}}, []State{haltedAt("a", first.Add(1)), idle("b")}, "", true},
		{"recovered, and another one halted", Spec{HaltAfter: 1, Forgiven: map[string]time.Time{"a": first}}, []State{in("a", rack.Completed), haltedAt("b", first), idle("c")}, "", true},
		{"a refusal, and forgiven", Spec{HaltAfter: 1, Forgiven: map[string]time.Time{"a": {}}}, []State{{Rack: "a", Status: rack.Idle, Refused: true, Connected: true}, idle("b")}, "b", false},
		{"a refusal that was forgiven, and halted since", Spec{HaltAfter: 1, Forgiven: map[string]time.Time{"a": {}}}, []State{haltedAt("a", first), idle("b")}, "", true},
		{"nothing is left", Spec{AtOnce: 1}, []State{in("a", rack.Completed)}, "", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			begin, halt := Next(x.spec, x.states)
			if strings.Join(begin, " ") != x.begin || (halt != "") != x.halt {
				t.Errorf("%v %q", begin, halt)
			}
		})
	}
}

func TestUnordered(t *testing.T) {
	got := Unordered([]State{{Rack: "a", Status: rack.Idle, Begun: true}, {Rack: "b", Status: rack.Idle, Begun: true, Ordered: true}, {Rack: "c", Status: rack.Imaging, Begun: true},
		{Rack: "d", Status: rack.Idle, Begun: true, Refused: true}, {Rack: "e", Status: rack.Idle}, {Rack: "f", Status: rack.Idle, Ordered: true}, {Rack: "g", Status: rack.Idle, Begun: true}})
	if strings.Join(got, " ") != "a g" {
		t.Errorf("%q", got)
	}
}

// inCourse is a fleet that is carried out, and what must hold of it at any time.
type inCourse struct {
	t      *rapid.T
	spec   Spec
	states []State
	began  map[string]int
	clock  int64
}

// next puts on record whose turn it is, and resumes a fleet that halts.
func (f *inCourse) next() {
	begin, halt := Next(f.spec, f.states)
	if halt != "" {
		if len(begin) > 0 {
			f.t.Fatalf("%v are begun, and the fleet is halted: %s", begin, halt)
		}
		f.spec.Forgiven = Stopped(f.states)
		if begin, halt = Next(f.spec, f.states); halt != "" {
			f.t.Fatalf("halted again at once: %s", halt)
		}
	}
	for i, s := range f.states {
		if can := s.Connected && s.Status == rack.Idle && f.began[s.Rack] == 0; can && !slices.Contains(begin, s.Rack) {
			for _, later := range f.states[i+1:] {
				if slices.Contains(begin, later.Rack) {
					f.t.Fatalf("%s is begun before %s, which can be", later.Rack, s.Rack)
				}
			}
		}
	}
	if !slices.IsSortedFunc(begin, func(a, b string) int { return slices.Index(f.spec.Racks, a) - slices.Index(f.spec.Racks, b) }) {
		f.t.Fatalf("%v are begun, of %v", begin, f.spec.Racks)
	}
	for _, name := range begin {
		if f.began[name]++; f.began[name] > 1 {
			f.t.Fatalf("%s is begun again", name)
		}
		f.states[slices.Index(f.spec.Racks, name)].Begun = true
	}
	busy := 0
	for _, s := range f.states {
		if f.began[s.Rack] > 0 && !s.Refused && s.Status != rack.Completed && s.Status != rack.Halted {
			busy++
		}
		if s.Status != rack.Idle && f.began[s.Rack] == 0 {
			f.t.Fatalf("%s was never begun and is %s", s.Rack, s.Status)
		}
	}
	if f.spec.AtOnce > 0 && busy > f.spec.AtOnce {
		f.t.Fatalf("%d racks at once, %d may be", busy, f.spec.AtOnce)
	}
}

// goesOn lets something happen to a rack, as fate has it.
func (f *inCourse) goesOn(s *State, end rack.Status, refused bool) {
	switch {
	case !s.Connected:
		s.Connected = true
	case slices.Contains(Unordered(f.states), s.Rack):
		s.Ordered = true
	case s.Status == rack.Idle && s.Ordered && !s.Refused:
		if s.Refused = refused; !refused {
			s.Status = rack.Imaging
		}
	case s.Status == rack.Imaging:
		f.clock++
		s.Status, s.Ended = end, time.Unix(f.clock, 0)
	case s.Status == rack.Halted: // somebody has mended it, beside the fleet
		s.Status = rack.Completed
	}
}

// TestAFleetEnds: whatever happens, never more than AtOnce are imaged; every rack is
// begun once, also when the fleet is halted in between, and the first of those that can
// be before others.
func TestAFleetEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "racks")
		f := &inCourse{t: t, began: map[string]int{}, spec: Spec{AtOnce: rapid.IntRange(0, 4).Draw(t, "at once"), HaltAfter: rapid.IntRange(0, 3).Draw(t, "halt after")}}
		for i := range n {
			name := fmt.Sprint("r", (i*7)%13) // not in the order of their names
			f.spec.Racks = append(f.spec.Racks, name)
			f.states = append(f.states, State{Rack: name, Status: rack.Idle, Connected: rapid.Bool().Draw(t, "connected")})
		}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			f.next()
			f.goesOn(&f.states[rapid.IntRange(0, n-1).Draw(t, "which")], rapid.SampledFrom([]rack.Status{rack.Completed, rack.Completed, rack.Halted}).Draw(t, "end"), rapid.Bool().Draw(t, "refused"))
		}
		for range 5 * n { // from here on all goes well
			for i := range f.states {
				f.next()
				f.goesOn(&f.states[i], rack.Completed, false)
			}
		}
		for _, name := range f.spec.Racks {
			if f.began[name] != 1 {
				t.Fatalf("%s was begun %d times", name, f.began[name])
			}
		}
	})
}

func port(device, name string) rack.Port { return rack.Port{Device: device, Name: name} }

// pair is two racks with one cable between them.
func pair() (r1, r2 *Member) {
	r1 = &Member{Rack: "r1", Ready: map[string]bool{"tor-1": true}, Heard: map[rack.Port]string{port("tor-1", "49"): "r2/inter-rack-1:7"}}
	r2 = &Member{Rack: "r2", Ready: map[string]bool{"inter-rack-1": true}, Heard: map[rack.Port]string{port("inter-rack-1", "7"): "r1/tor-1:49"},
		Links: []rack.Link{{A: port("inter-rack-1", "7"), B: port("rack:r1/tor-1", "49")}}}
	return r1, r2
}

func TestBackplane(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(r1, r2 *Member)
		state  rack.LinkState
		note   string
	}{
		{"both hear each other", func(_, _ *Member) {}, rack.LinkIsOpen, ""},
		{"one switch is not ready", func(r1, _ *Member) { r1.Ready["tor-1"] = false }, rack.LinkIsClosed, "r1/tor-1 is not ready"},
		{"the other is not ready", func(_, r2 *Member) { r2.Ready["inter-rack-1"] = false }, rack.LinkIsClosed, "r2/inter-rack-1 is not ready"},
		{"one end hears nothing", func(r1, _ *Member) { clear(r1.Heard) }, rack.LinkIsReady, "r1/tor-1:49 hears nothing"},
		{"the other hears nothing", func(_, r2 *Member) { clear(r2.Heard) }, rack.LinkIsReady, "r2/inter-rack-1:7 hears nothing"},
		{"crossed", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "r2/inter-rack-2:7" }, rack.LinkIsReady,
			"cables crossed? r1/tor-1:49 hears r2/inter-rack-2:7, not r2/inter-rack-1:7"},
		{"the file of one rack does not name the cable", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "inter-rack-1:7" }, rack.LinkIsOpen, ""},
		{"it does not, and the neighbour says its whole name", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "Inter-Rack-1.r2.example.net:7" }, rack.LinkIsOpen, ""},
		{"it does not, and the name goes on", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "inter-rack-1-b:7" }, rack.LinkIsReady,
			"cables crossed? r1/tor-1:49 hears inter-rack-1-b:7, not r2/inter-rack-1:7"},
		{"it does not, and two neighbours are heard", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "inter-rack-1.r2:8, x:7" }, rack.LinkIsReady,
			"cables crossed? r1/tor-1:49 hears inter-rack-1.r2:8, x:7, not r2/inter-rack-1:7"},
		{"it does not, and the cable leads elsewhere", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "inter-rack-1:8" }, rack.LinkIsReady,
			"cables crossed? r1/tor-1:49 hears inter-rack-1:8, not r2/inter-rack-1:7"},
		{"it does not, and the neighbour is one of its own", func(r1, _ *Member) { r1.Heard[port("tor-1", "49")] = "r1/inter-rack-1:7" }, rack.LinkIsReady,
			"cables crossed? r1/tor-1:49 hears r1/inter-rack-1:7, not r2/inter-rack-1:7"},
		{"no such rack", func(r1, _ *Member) { r1.Rack = "r9" }, rack.LinkIsClosed, "rack r1 is not known here"},
		{"no such switch", func(r1, _ *Member) { clear(r1.Ready) }, rack.LinkIsClosed, "rack r1 has no switch tor-1"},
		{"both files name it", func(r1, _ *Member) {
			r1.Links = []rack.Link{{A: port("tor-1", "49"), B: port("rack:r2/inter-rack-1", "7")}}
		}, rack.LinkIsOpen, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			r1, r2 := pair()
			x.change(r1, r2)
			links := Backplane([]*Member{r1, r2})
			if len(links) != 1 || links[0].State != x.state || links[0].Note != x.note {
				t.Errorf("%+v", links)
			}
		})
	}
}

func TestAFleetIsCompletedWithItsBackplane(t *testing.T) {
	spec := Spec{Racks: []string{"r1", "r2"}}
	done := []State{{Rack: "r1", Status: rack.Completed}, {Rack: "r2", Status: rack.Completed}}
	open, ready := Link{State: rack.LinkIsOpen}, Link{State: rack.LinkIsReady}
	for _, x := range []struct {
		states []State
		links  []Link
		halted bool
		want   rack.Status
	}{
		{done, []Link{open, open}, false, rack.Completed},
		{done, nil, false, rack.Completed},
		{done, []Link{open, ready}, false, rack.Imaging},
		{[]State{{Status: rack.Completed}, {Status: rack.Imaging}}, nil, false, rack.Imaging},
		{[]State{{Status: rack.Halted}, {Status: rack.Idle}}, nil, true, rack.Halted},
		{[]State{{Status: rack.Idle}, {Status: rack.Idle}}, nil, false, rack.Idle},
		{nil, nil, false, rack.Idle},
	} {
		if got := Status(spec, x.states, x.links, x.halted); got != x.want {
			t.Errorf("%v: %s", x, got)
		}
	}
}

func TestMemberOf(t *testing.T) {
	r := &rack.Rack{Name: "r2", Devices: []rack.Device{{Name: "inter-rack-1", Role: rack.InterRackSwitch}, {Name: "server-01", Role: rack.Server}},
		Links: []rack.Link{{A: port("inter-rack-1", "7"), B: port("rack:r1/tor-1", "49")}, {A: port("inter-rack-1", "1"), B: port("external", "datacenter")}}}
	run := rack.NewRun(r, nil)
	run.Apply(rack.Event{Device: "inter-rack-1", Kind: rack.DeviceReady})
	run.Apply(rack.Event{Device: "inter-rack-1", Kind: rack.NeighbourSeen, Detail: rack.Detail{Seen: &rack.Observation{Via: port("inter-rack-1", "7"), Message: "r1/tor-1:49"}}})
	m := MemberOf(run)
	if len(m.Links) != 1 || !m.Ready["inter-rack-1"] || len(m.Ready) != 1 || m.Heard[port("inter-rack-1", "7")] != "r1/tor-1:49" {
		t.Errorf("%+v", m)
	}
	run.Apply(rack.Event{Device: "inter-rack-1", Kind: rack.NeighbourSeen, Detail: rack.Detail{Seen: &rack.Observation{Via: port("inter-rack-1", "7")}}})
	if m := MemberOf(run); len(m.Heard) > 0 {
		t.Errorf("%+v", m)
	}
}

func pool(first, last string) rack.Pool {
	return rack.Pool{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

func TestValidate(t *testing.T) {
	racks := func() []*rack.Rack {
		return []*rack.Rack{
			{Name: "r1", Number: 1, Devices: []rack.Device{{Name: "tor-1", Role: rack.ToRSwitch}, {Name: "mgmt-1", Role: rack.ManagementSwitch}, {Name: "server-01", Role: rack.Server, Address: netip.MustParseAddr("10.0.1.1")}}},
			{Name: "r2", Number: 2, Devices: []rack.Device{{Name: "inter-rack-1", Role: rack.InterRackSwitch}, {Name: "server-01", Role: rack.Server, Address: netip.MustParseAddr("10.0.2.1")}},
				Links: []rack.Link{{A: port("inter-rack-1", "7"), B: port("rack:r1/tor-1", "49")}}},
		}
	}
	for _, x := range []struct {
		name   string
		change func(r1, r2 *rack.Rack)
		want   string
	}{
		{"sound", func(_, _ *rack.Rack) {}, ""},
		{"one name", func(_, r2 *rack.Rack) { r2.Name = "r1" }, "twice"},
		{"one number", func(_, r2 *rack.Rack) { r2.Number = 1 }, "number 1 is that of rack r1"},
		{"a rack outside", func(r1, _ *rack.Rack) { r1.Name = "r9" }, "not in the fleet"},
		{"no such device", func(r1, _ *rack.Rack) { r1.Devices[0].Name = "tor-9" }, "has no tor-1"},
		{"no place for a trunk", func(_, r2 *rack.Rack) { r2.Links[0].B.Device = "rack:r1/mgmt-1" }, "which is a management-switch"},
		{"cabled twice", func(_, r2 *rack.Rack) {
			r2.Links = append(r2.Links, rack.Link{A: port("inter-rack-1", "8"), B: port("rack:r1/tor-1", "49")})
		}, "cabled twice"},
		{"in use", func(r1, _ *rack.Rack) {
			r1.Links = []rack.Link{{A: port("tor-1", "49"), B: port("external", "datacenter")}}
		}, "uses for another cable"},
		{"in use, at the other end", func(r1, _ *rack.Rack) {
			r1.Links = []rack.Link{{A: port("mgmt-1", "50"), B: port("tor-1", "49")}}
		}, "uses for another cable"},
		{"a server's data end", func(r1, _ *rack.Rack) { r1.Devices[2].Data = []rack.Port{port("tor-1", "1"), port("tor-1", "49")} }, "to which rack r1 has cabled server-01"},
		{"a management end", func(r1, _ *rack.Rack) { r1.Devices[2].Management = port("tor-1", "49") }, "to which rack r1 has cabled server-01"},
		{"named by both", func(r1, _ *rack.Rack) {
			r1.Links = []rack.Link{{A: port("tor-1", "49"), B: port("rack:r2/inter-rack-1", "7")}}
		}, ""},
		{"one address", func(_, r2 *rack.Rack) { r2.Devices[1].Address = netip.MustParseAddr("10.0.1.1") }, "has the address 10.0.1.1 of r1/server-01"},
		{"one address, not joined", func(_, r2 *rack.Rack) {
			r2.Devices[1].Address, r2.Links = netip.MustParseAddr("10.0.1.1"), nil
		}, ""},
		{"pools overlap", func(r1, r2 *rack.Rack) {
			r1.DataPool = pool("10.0.1.10", "10.0.1.20")
			r2.DataPool = pool("10.0.1.20", "10.0.1.30")
		}, "its data pool 10.0.1.20-10.0.1.30 overlaps pool 10.0.1.10-10.0.1.20 of rack r1"},
		{"a pool holds a server of another rack", func(_, r2 *rack.Rack) { r2.DataPool = pool("10.0.1.1", "10.0.1.9") }, "holds the address 10.0.1.1 of r1/server-01"},
		{"pools overlap, not joined", func(r1, r2 *rack.Rack) {
			r1.DataPool, r2.DataPool, r2.Links = pool("10.0.1.10", "10.0.1.20"), pool("10.0.1.20", "10.0.1.30"), nil
		}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			rs := racks()
			x.change(rs[0], rs[1])
			got := Validate(rs)
			switch {
			case x.want == "" && len(got) > 0:
				t.Errorf("%v", got)
			case x.want != "" && (len(got) == 0 || !slices.ContainsFunc(got, func(p Problem) bool { return strings.Contains(p.What, x.want) })):
				t.Errorf("%v", got)
			}
		})
	}
}

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{"row-4": true, "A_1.b": true, strings.Repeat("a", 63): true,
		"": false, "row 4": false, "row\n4": false, "\x1b[31mrow": false, "zeile-ä": false, strings.Repeat("a", 64): false} {
		if ValidName(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
