package simulate

import (
	"context"
	"fmt"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// MaxHistory bounds the events that a forecast starts from.
const MaxHistory = 1_000_000

// Remaining is how much longer a rack takes, as simulations from where it
// stands say. Its JSON holds whole numbers and text only.
type Remaining struct {
	Samples int   `json:"samples"`
	P50     int64 `json:"p50Ms"` // until the rack completes or halts; 0: it has ended
	P90     int64 `json:"p90Ms"`
	Halts   int   `json:"haltsPermille"` // share of the samples that a switch stops

	Devices []DeviceRemaining `json:"devices"` // that are neither ready nor failed, in the order of the rack file
}

// DeviceRemaining is how much longer a device takes to be ready, or to fail.
// Samples in which its rack stops before are not counted.
type DeviceRemaining struct {
	Device string `json:"device"`
	Spread
}

// Forecast says how much longer a rack takes. It rebuilds the rack from the
// events that its journal holds, in order, and simulates it Options.Racks times
// from there on, each time with other durations and faults. For what is in
// flight at now the time that it has taken already counts: only durations that
// are longer come into question, and of a time limit only the rest is left.
//
// What the journal does not tell is taken as usual: that a host with a running
// step is on its way, and that a fault has not struck yet the attempt that runs.
// A hundred racks are enough for a forecast that is drawn anew every minute.
//
// Without events it is the forecast of a rack that starts now. Its errors are
// those of Run, and of events that are not of this rack.
func Forecast(ctx context.Context, o Options, history []rack.Event, now time.Time) (*Remaining, error) {
	s, err := newSetup(o)
	if err != nil {
		return nil, err
	}
	if len(history) > MaxHistory {
		return nil, fmt.Errorf("forecast: %d events are more than %d: give the events of the last run only", len(history), MaxHistory)
	}
	past, err := s.recall(history, now)
	if err != nil {
		return nil, err
	}
	outcomes, err := s.each(ctx, func(ctx context.Context, number int) (outcome, error) {
		n := newSimulation(s, number, now)
		if len(history) == 0 {
			n.begin()
		} else {
			n.takeUp(history, past)
		}
		if err := n.play(ctx); err != nil {
			return outcome{}, err
		}
		out := n.outcome()
		for i := range n.trace.devices {
			out.settled = append(out.settled, n.trace.devices[i].settled)
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	return s.remaining(outcomes), nil
}

func (s *setup) remaining(outcomes []outcome) *Remaining {
	r := &Remaining{Samples: len(outcomes), Devices: []DeviceRemaining{}}
	var took []time.Duration
	halts := 0
	for i := range outcomes {
		took = append(took, outcomes[i].took)
		if outcomes[i].status == rack.Halted {
			halts++
		}
	}
	all := spread(took)
	r.P50, r.P90, r.Halts = all.P50, all.P90, halts*1000/len(outcomes)
	for d := range s.devices {
		var left []time.Duration
		for i := range outcomes {
			if at := outcomes[i].settled[d]; at >= 0 {
				left = append(left, at)
			}
		}
		if len(left) > 0 {
			r.Devices = append(r.Devices, DeviceRemaining{s.devices[d].dev.Name, spread(left)})
		}
	}
	return r
}

// past is what the history of a rack says about one device besides the state of
// its machine. Times are before now, therefore zero or below.
type past struct {
	running   int           // the step that has started and has no result; -1: none
	since     time.Duration // its start, or the last failure
	asked     bool          // its firmware asked for an address and waits for a boot file
	forwards  bool          // its configuration was pushed
	forwarded time.Duration // when
	reachable time.Duration // its management link became ready; of the management switch: the rack started
}

// recall reads the history once, for all samples.
func (s *setup) recall(history []rack.Event, now time.Time) ([]past, error) {
	out := make([]past, len(s.devices))
	for i := range out {
		out[i].running = -1
	}
	for n, e := range history {
		if e.Rack != s.o.Rack.Name || (n > 0 && e.Seq <= history[n-1].Seq) {
			return nil, fmt.Errorf("forecast: event %d of %q does not follow %d in the journal of rack %s: give the events of one rack, in order",
				e.Seq, e.Rack, history[max(n, 1)-1].Seq, s.o.Rack.Name)
		}
		if e.Kind == rack.RackStarted {
			for i, d := range s.devices {
				if d.gate < 0 {
					out[i].reachable = min(e.Time.Sub(now), 0)
				}
			}
		}
		i, ok := s.byName[e.Device]
		if !ok {
			continue
		}
		p, d, at := &out[i], s.devices[i], min(e.Time.Sub(now), 0)
		step, known := d.step[e.Detail.Step]
		switch e.Kind {
		case rack.Observed:
			p.asked = p.asked || (e.Detail.Seen != nil && e.Detail.Seen.Proves == rack.DHCPPXE)
		case rack.LinkReady:
			if e.Detail.Link == d.dev.Management.String() {
				p.reachable = at
			}
		case rack.StepStarted:
			if !known {
				return nil, fmt.Errorf("forecast: event %d names step %q, which platform %s does not have: give the platforms that the run was started with", e.Seq, e.Detail.Step, d.platform.Name)
			}
			p.running, p.since = step, at
			if a := d.platform.Steps[step].Action; a == rack.PowerCycle || a == rack.PowerOn {
				p.asked = false
			}
		case rack.StepFailed, rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceReplaced:
			p.running, p.since = -1, at
		case rack.StepCompleted:
			p.running = -1
			if known && d.platform.Steps[step].Action == rack.PushConfig {
				p.forwards, p.forwarded = true, at
			}
		}
	}
	return out, nil
}

// takeUp brings a rack to where its history left it and sets what was in flight
// going again.
func (s *simulation) takeUp(history []rack.Event, of []past) {
	for _, e := range history {
		s.seq = e.Seq
		s.run.Apply(e)
		if i, ok := s.byName[e.Device]; ok {
			s.devices[i].machine.Apply(e)
		}
	}
	s.driving = s.run.Status == rack.Imaging
	for i, d := range s.devices {
		state := s.run.Device(d.dev.Name)
		d.ended = state.Status == rack.Ready || state.Status == rack.Failed || state.Status == rack.Skipped || !s.run.Wanted(d.dev.Name)
		d.spawned = state.Seen || d.ended
		d.pxe = of[i].asked
		d.forwarding = of[i].forwards
		s.trace.devices[i].seen = 0
		if !state.Seen {
			s.trace.devices[i].seen = -1
		}
	}
	switch s.run.Status {
	case rack.Imaging:
		for i, d := range s.devices {
			s.resume(d, of[i], of)
		}
		s.completed()
	case rack.Draining:
		s.pool.drain()
		for i, d := range s.devices {
			if s.run.Device(d.dev.Name).Ticket.Open {
				s.goOn(d, of[i])
			}
		}
		s.armDrainLimit(0)
		s.drained(false)
	}
}

// resume takes up one device of a rack that is being imaged.
func (s *simulation) resume(d *device, p past, all []past) {
	if d.ended {
		return
	}
	since := -p.reachable // how long its way has been open
	if d.gate >= 0 {
		since = -all[d.gate].forwarded
	}
	if d.gate < 0 || s.devices[d.gate].forwarding {
		if d.spawned {
			d.expected = true
			s.after(s.o.ScanEvery/2, func() { s.speak(d) })
		} else {
			s.expect(d, since)
		}
	}
	if !d.spawned {
		s.armDeadlineIn(d, s.o.DiscoveryLimit+p.reachable)
		return
	}
	d.machine.SetGates(s.run.Gates(d.dev.Name))
	if p.running >= 0 {
		s.trace.devices[d.index].open = span{p.running, p.since, 0}
	}
	events, commands := d.machine.Step(rack.Input{Kind: rack.Resumed})
	for _, e := range s.append(events...) {
		d.machine.Apply(e)
	}
	for _, c := range commands {
		elapsed := -p.since
		if c.Kind == rack.ArmLimit && elapsed > c.After {
			elapsed -= c.After // a destructive step waits once more
		}
		s.act(d, c, min(elapsed, max(c.After, c.Step.Limit)))
	}
	s.goOn(d, p)
	s.drive(d, rack.Input{Kind: rack.Woken})
}

// goOn lets the hardware of a device continue with what its running step waits
// for.
func (s *simulation) goOn(d *device, p past) {
	if p.running < 0 || d.platform.Steps[p.running].Action != rack.Wait {
		return
	}
	again := len(d.install) > 0 && p.running == d.install[0] && d.netboot >= 0 && !p.asked
	if p.running == d.netboot || again {
		s.firmware(d, d.takes[d.netboot].Rest(s.rng, -p.since)) // still in its self test
		return
	}
	rest := d.takes[p.running].Rest(s.rng, -p.since)
	for i, n := range d.install {
		if n == p.running {
			d.pxe = false
			s.install(d, s.run.Device(d.dev.Name).Ticket.ID, i, rest)
		}
	}
}
