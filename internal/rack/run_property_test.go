package rack_test

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// living is a rack without actors: one run, one machine per device, one journal.
// Whatever happens to it is drawn at random.
type living struct {
	*rapid.T
	run      *rack.Run
	machines map[string]*rack.Machine
	events   []rack.Event
	fromHere map[string]uint64 // where the machine of a device was built
}

func alive(t *rapid.T) *living {
	l := &living{T: t, run: rack.NewRun(small(), platform.All()), machines: map[string]*rack.Machine{}, fromHere: map[string]uint64{}}
	for i := range l.run.Rack.Devices {
		l.build(&l.run.Rack.Devices[i])
	}
	return l
}

// build makes the machine of a device from the journal, as an actor does.
func (l *living) build(d *rack.Device) {
	m := rack.NewMachine(l.run.Rack.Name, d, platform.All()[d.Platform], testImage)
	for _, e := range l.events {
		if e.Device == d.Name {
			m.Apply(e)
		}
	}
	m.SetGates(l.run.Gates(d.Name))
	l.machines[d.Name] = m
}

// journal appends an event and applies it everywhere, twice: the second time is
// refused and changes nothing.
func (l *living) journal(events ...rack.Event) {
	for _, e := range events {
		e.Seq = uint64(len(l.events) + 1)
		l.events = append(l.events, e)
		if !l.run.Apply(e) {
			l.Fatalf("the run refused event %d, %s of %s", e.Seq, e.Kind, e.Device)
		}
		before := stateOf(l.run)
		if l.run.Apply(e) {
			l.Fatalf("the run took event %d, %s of %s, twice", e.Seq, e.Kind, e.Device)
		}
		if after := stateOf(l.run); !reflect.DeepEqual(before, after) {
			l.Fatalf("event %d, %s of %s, was refused and changed the run:\n%+v\n%+v", e.Seq, e.Kind, e.Device, before, after)
		}
		m := l.machines[e.Device]
		if m == nil {
			continue
		}
		if !m.Apply(e) {
			l.Fatalf("the machine of %s refused event %d, %s", e.Device, e.Seq, e.Kind)
		}
		was := fmt.Sprintf("%+v", m)
		if m.Apply(e) {
			l.Fatalf("the machine of %s took event %d, %s, twice", e.Device, e.Seq, e.Kind)
		}
		if is := fmt.Sprintf("%+v", m); is != was {
			l.Fatalf("event %d, %s, was refused and changed the machine of %s:\n%s\n%s", e.Seq, e.Kind, e.Device, was, is)
		}
	}
}

// stateOf is everything that a run can be asked.
func stateOf(r *rack.Run) map[string]any {
	s := map[string]any{"status": r.Status, "id": r.ID, "cause": r.Cause, "blamed": r.Blamed, "by": r.HaltedBy, "only": fmt.Sprint(r.Only),
		"settled": r.Settled(), "switches": r.SwitchesReady(), "open": fmt.Sprint(r.OpenTickets()), "failed": r.FailedSwitch()}
	for i := range r.Rack.Devices {
		d := &r.Rack.Devices[i]
		s["device "+d.Name] = r.Device(d.Name)
		s["gates "+d.Name] = fmt.Sprint(r.Gates(d.Name))
		s["reachable "+d.Name] = r.Reachable(d.Name)
		s["uncertain "+d.Name] = r.Uncertain(d.Name)
		s["found "+d.Name] = r.Found(d.Name)
		s["unproven "+d.Name] = r.Unproven(d.Name)
		s["ready links "+d.Name] = fmt.Sprint(r.LinksToReady(d.Name))
		for _, m := range macs {
			b, err := r.Binder().Bind(rack.Keys{MAC: m, Stage: rack.StageOS})
			s["mac "+m] = fmt.Sprint(b, err)
			s["owner "+m] = r.Binder().Owner(&rack.Observation{MAC: m})
		}
	}
	for _, c := range r.Cabling.Cables() {
		s["link "+c.Near.String()] = r.Link(c.Near)
	}
	for _, stage := range []rack.Stage{rack.StageBMC, rack.StageONIE, rack.StageIPXE} {
		b, err := r.Binder().Bind(rack.Keys{Stage: stage, Model: "sim_tor48"})
		s["class "+string(stage)] = fmt.Sprint(b, err)
	}
	return s
}

var macs = []string{"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"}

// drive lets the machine of a device decide, as its actor does.
func (l *living) drive(name string, in rack.Input) {
	m := l.machines[name]
	for range 1000 {
		m.SetGates(l.run.Gates(name))
		events, commands := m.Step(in)
		l.journal(events...)
		for _, c := range commands {
			if c.Kind == rack.RaiseFault {
				l.failed(name, c.Error)
				return
			}
		}
		if len(events) == 0 {
			return
		}
		for _, e := range events {
			if e.Kind == rack.DeviceReady {
				for _, c := range l.run.LinksToReady(name) {
					l.journal(rack.Event{Rack: "r2", Device: c.Device, Kind: rack.LinkReady, Detail: rack.Detail{Link: c.Near.String()}})
				}
			}
		}
		in = rack.Input{Kind: rack.Woken}
	}
	l.Fatalf("the machine of %s does not come to rest", name)
}

func (l *living) failed(name, why string) {
	d, _ := l.run.Rack.Device(name)
	l.journal(rack.Event{Rack: "r2", Device: name, Role: d.Role, Kind: rack.DeviceFailed, Phase: l.run.Device(name).Phase, Detail: rack.Detail{Error: why}})
	if rack.OnFailure(d.Role, rack.Fault) == rack.Halt && l.run.Status == rack.Imaging {
		l.journal(rack.Event{Rack: "r2", Device: name, Role: d.Role, Kind: rack.RackDraining, Detail: rack.Detail{Error: why}},
			rack.Event{Rack: "r2", Device: name, Role: d.Role, Kind: rack.RackHalted, Detail: rack.Detail{Error: why}})
	}
}

// observed journals an observation with what it proves about links.
func (l *living) observed(name string, o rack.Observation) {
	o.Device = name
	l.journal(rack.Event{Rack: "r2", Device: name, Kind: rack.Observed, Detail: rack.Detail{Seen: &o}})
	for k, ports := range map[rack.Kind][]rack.Port{rack.LinkOpen: l.run.LinksOpenedBy(&o), rack.LinkClosed: l.run.LinksClosedBy(&o)} {
		for _, p := range ports {
			c, _ := l.run.Cabling.At(p)
			if _, ours := l.run.Rack.Device(c.Device); ours {
				l.journal(rack.Event{Rack: "r2", Device: c.Device, Kind: k, Detail: rack.Detail{Link: p.String()}})
			}
		}
	}
}

// sensible is what a device in its step would do next, so that a random life
// gets somewhere.
func (l *living) sensible(name string) {
	d := l.run.Device(name)
	dev, _ := l.run.Rack.Device(name)
	var s *rack.Step
	steps := platform.All()[dev.Platform].Steps
	for i := range steps {
		if steps[i].Name == d.Step && steps[i].Phase == d.Phase {
			s = &steps[i]
		}
	}
	if s == nil || d.Held != "" {
		via := rack.Port{}
		if cables := l.run.Cabling.Ends(name); len(cables) > 0 {
			via = rapid.SampledFrom(cables).Draw(l.T, "cable").Near
		}
		first := map[rack.Role]rack.Observation{rack.ManagementSwitch: {Source: rack.FromBMC}, rack.Server: {Source: rack.FromDHCP, Stage: rack.StageBMC, Proves: rack.DHCPBMC, Via: via},
			rack.ToRSwitch: {Source: rack.FromDHCP, Proves: rack.DHCPONIE, Via: via}, rack.InterRackSwitch: {Source: rack.FromDHCP, Proves: rack.DHCPONIE, Via: via}}
		l.observed(name, first[dev.Role])
	} else if s.Action == rack.Wait {
		l.observed(name, rack.Observation{Source: rack.FromDHCP, Proves: s.Until, Via: firstData(l.run, name)})
	} else {
		l.drive(name, rack.Input{Kind: rack.ActionDone, Step: s.Name, Attempt: d.Attempt})
	}
	l.drive(name, rack.Input{Kind: rack.Woken})
}

func firstData(r *rack.Run, name string) rack.Port {
	for _, c := range r.Cabling.Ends(name) {
		if c.Network == rack.Data {
			return c.Near
		}
	}
	return rack.Port{}
}

// order gives any order; what is refused must change nothing.
func (l *living) order(names []string) {
	o := rack.Order{Verb: rapid.SampledFrom([]rack.Verb{rack.Retry, rack.Skip, rack.Reimage, rack.Bind, rack.Replace, rack.HaltNow, rack.Resume}).Draw(l.T, "verb"),
		Device: rapid.SampledFrom(names).Draw(l.T, "device"), Reason: rapid.SampledFrom([]string{"", "because"}).Draw(l.T, "reason"), By: "rapid"}
	switch o.Verb {
	case rack.Bind:
		o.MAC = rapid.SampledFrom(macs).Draw(l.T, "mac")
	case rack.Resume:
		if rapid.Bool().Draw(l.T, "some") {
			o.Only = []string{o.Device}
		} else {
			o.All = rapid.Bool().Draw(l.T, "all")
		}
	}
	before := stateOf(l.run)
	events, err := l.run.Obey(o)
	if after := stateOf(l.run); !reflect.DeepEqual(before, after) {
		l.Fatalf("deciding %s %s changed the run", o.Verb, o.Device)
	}
	if (err != nil) && len(events) > 0 {
		l.Fatalf("%s %s was refused and has events", o.Verb, o.Device)
	}
	if d := before["device "+o.Device].(rack.DeviceState); err == nil && d.Ticket.Open && d.Ticket.Live && (o.Verb == rack.Reimage || o.Verb == rack.Replace) {
		l.Fatalf("%s %s was obeyed although its ticket is live", o.Verb, o.Device)
	}
	l.journal(events...)
	if o.Verb == rack.HaltNow && err == nil {
		l.journal(rack.Event{Rack: "r2", Kind: rack.RackHalted})
	}
	for i := range l.run.Rack.Devices { // no actor lived while it was decided
		l.build(&l.run.Rack.Devices[i])
	}
	if dev, ok := l.run.Rack.Device(o.Device); ok && l.run.Status == rack.Imaging {
		l.drive(dev.Name, rack.Input{Kind: rack.Resumed})
		l.drive(dev.Name, rack.Input{Kind: rack.Woken})
	}
}

// TestRunProperties lives a rack at random: whatever the devices, the network
// and an operator do, an event counts once, a run and a machine that are rebuilt
// from the journal are those that lived, and what must hold of every life holds.
func TestRunProperties(t *testing.T) {
	evidence := []rack.Evidence{"", rack.DHCPBMC, rack.DHCPPXE, rack.DHCPONIE, rack.DHCPNOS, rack.DHCPOS, rack.DHCPDeclined, rack.FetchedBootLoader, rack.FetchedImage, rack.ReportedInstalled, rack.ReportedFailed, rack.ReportedRefused, rack.ReceiptFound}
	stages := []rack.Stage{"", rack.StageBMC, rack.StageIPXE, rack.StageONIE, rack.StageNOS, rack.StageOS}
	sources := []rack.Source{rack.FromDHCP, rack.FromBMC, rack.FromMACTable, rack.FromHTTP, rack.FromReceipt}
	furthest := 0
	rapid.Check(t, func(t *rapid.T) {
		l := alive(t)
		var names []string
		for i := range l.run.Rack.Devices {
			names = append(names, l.run.Rack.Devices[i].Name)
		}
		l.journal(rack.Event{Rack: "r2", Kind: rack.RackStarted, Detail: rack.Detail{Run: "x1"}})
		for range rapid.IntRange(1, 150).Draw(t, "length") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			d := l.run.Device(name)
			switch what := rapid.IntRange(0, 19).Draw(t, "what"); {
			case what < 12 && l.run.Status == rack.Imaging:
				l.sensible(name)
			case what < 15:
				o := rack.Observation{Source: rapid.SampledFrom(sources).Draw(t, "source"), Stage: rapid.SampledFrom(stages).Draw(t, "stage"),
					Proves: rapid.SampledFrom(evidence).Draw(t, "evidence"), MAC: rapid.SampledFrom(append([]string{""}, macs...)).Draw(t, "mac")}
				if ends := l.run.Cabling.Ends(name); len(ends) > 0 && rapid.Bool().Draw(t, "via") {
					o.Via = rapid.SampledFrom(ends).Draw(t, "cable").Near
				}
				l.observed(name, o)
				if l.run.Status == rack.Imaging {
					l.drive(name, rack.Input{Kind: rack.Woken})
				}
			case what == 15:
				l.order(names)
			case l.run.Status != rack.Imaging:
			case what == 16:
				l.drive(name, rack.Input{Kind: rack.ActionDone, Step: d.Step, Attempt: d.Attempt, Error: "no"})
			case what == 17:
				l.drive(name, rack.Input{Kind: rack.LimitPassed, Step: d.Step, Attempt: d.Attempt - rapid.IntRange(0, 1).Draw(t, "stale")})
			case what == 18:
				l.drive(name, rack.Input{Kind: rack.RetryDue, Step: d.Step})
			case what == 19: // the actor of a device crashes, and another one takes over
				dev, _ := l.run.Rack.Device(name)
				l.build(dev)
				l.drive(name, rack.Input{Kind: rack.Resumed})
				l.drive(name, rack.Input{Kind: rack.Woken})
			}
			l.invariants()
		}
		l.replayed()
		l.snapshot()
		ready, _ := l.run.Tally()
		furthest = max(furthest, ready)
	})
	if furthest < 2 {
		t.Errorf("no life got further than %d ready devices: the property holds little", furthest)
	}
}

// invariants are what must be true of a run at every moment.
func (l *living) invariants() {
	for i := range l.run.Rack.Devices {
		d := &l.run.Rack.Devices[i]
		s := l.run.Device(d.Name)
		switch {
		case s.Progress < 0 || s.Progress > 1:
			l.Fatalf("%s has a progress of %v", d.Name, s.Progress)
		case s.Status == rack.Ready && (s.Ticket.Open || s.Held != "" || s.Progress != 1):
			l.Fatalf("%s is ready, and yet %+v", d.Name, s)
		case s.Status == rack.Failed && s.Ticket.Open:
			l.Fatalf("%s has failed, and its ticket is open", d.Name)
		}
	}
	if l.run.Settled() && l.run.FailedSwitch() != "" && len(l.run.Only) == 0 {
		l.Fatalf("the run is settled although %s has failed", l.run.FailedSwitch())
	}
}

// replayed compares what lived with what is rebuilt from the journal.
func (l *living) replayed() {
	run := rack.NewRun(small(), platform.All())
	for _, e := range l.events {
		run.Apply(e)
	}
	if a, b := stateOf(l.run), stateOf(run); !reflect.DeepEqual(a, b) {
		for k := range a {
			if !reflect.DeepEqual(a[k], b[k]) {
				l.Errorf("%s: it lived as %+v, and is replayed as %+v", k, a[k], b[k])
			}
		}
	}
	for i := range run.Rack.Devices {
		d := &run.Rack.Devices[i]
		copied := rack.NewMachine(run.Rack.Name, d, platform.All()[d.Platform], testImage)
		for _, e := range l.events {
			if e.Device == d.Name {
				copied.Apply(e)
			}
		}
		gates := maps.Clone(run.Gates(d.Name))
		copied.SetGates(gates)
		l.machines[d.Name].SetGates(gates)
		a, _ := l.machines[d.Name].Step(rack.Input{Kind: rack.Woken})
		b, _ := copied.Step(rack.Input{Kind: rack.Woken})
		if len(a) > 0 && !reflect.DeepEqual(a, b) {
			l.Errorf("%s: the replayed machine decides %v, the one that lived %v", d.Name, b, a)
		}
	}
}

// snapshot compares what is made of a snapshot and the events behind it with what
// is made of all events.
func (l *living) snapshot() {
	cut := rapid.IntRange(0, len(l.events)).Draw(l.T, "cut")
	sameFromSnapshot(l.T, small(), l.events, cut)
}
