package simulate

import (
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// span is one attempt of a step, or one phase.
type span struct {
	what       int // index of the step in its platform, or of the phase
	start, end time.Duration
}

// release is the end of a wait for gates, and the switch that ended it.
type release struct {
	at time.Duration
	by int // index of the device; -1: none was ready
}

// deviceTrace is what happened to one device.
type deviceTrace struct {
	spans    []span // ended attempts, in order
	open     span   // the running attempt; what < 0: none
	phase    span
	releases []release
	seen     time.Duration // first observation; < 0: never
	settled  time.Duration // ready or failed; < 0: neither
	ready    time.Duration // < 0: not
}

// sample is one duration of a step that was completed, or of a phase.
type sample struct {
	what int // index in setup.keys, or of a role and phase
	took time.Duration
}

// Cause is why something failed.
type Cause struct {
	Role   rack.Role `json:"role"`
	Step   string    `json:"step"`
	Reason string    `json:"reason"`
}

// tally counts what a cause did.
type tally struct{ attempts, devices, halts int }

// trace is what happened to one rack, as far as its results need it.
type trace struct {
	devices   []deviceTrace
	steps     []sample
	phases    []sample
	failures  map[Cause]tally
	last      []Cause // by device: why its last attempt failed
	lastReady int     // the switch that became ready last; -1: none
	findings  int
}

func newTrace(s *setup) trace {
	t := trace{devices: make([]deviceTrace, len(s.devices)), last: make([]Cause, len(s.devices)), failures: map[Cause]tally{}, lastReady: -1}
	for i := range t.devices {
		t.devices[i] = deviceTrace{open: span{what: -1}, seen: -1, settled: -1, ready: -1}
	}
	return t
}

func (t *trace) apply(s *simulation, e rack.Event) {
	i, ok := s.byName[e.Device]
	if !ok || e.Kind == rack.RackHalted || e.Kind == rack.RackDraining {
		return
	}
	d, at := &t.devices[i], e.Time.Sub(s.epoch)
	spec := s.devices[i]
	switch e.Kind {
	case rack.Observed:
		if d.seen < 0 {
			d.seen = at
		}
	case rack.PhaseStarted:
		d.phase = span{slices.Index(rack.Phases(), e.Phase), at, 0}
	case rack.PhaseCompleted:
		t.phases = append(t.phases, sample{phaseKey(e.Role, d.phase.what), at - d.phase.start})
	case rack.DeviceReleased:
		d.releases = append(d.releases, release{at, t.lastReady})
	case rack.StepStarted:
		d.open = span{spec.step[e.Detail.Step], at, 0}
	case rack.StepCompleted:
		t.steps = append(t.steps, sample{spec.keys[d.open.what], at - d.open.start})
		d.close(at)
		delete(spec.cause, e.Detail.Step)
	case rack.StepFailed:
		d.close(at)
		c := Cause{e.Role, e.Detail.Step, e.Detail.Error}
		if reason, ok := spec.cause[e.Detail.Step]; ok {
			c.Reason = reason
			delete(spec.cause, e.Detail.Step)
		}
		t.last[i] = c
		t.count(c, tally{attempts: 1})
	case rack.DeviceFinding:
		t.findings++
	case rack.DeviceReady:
		d.settled, d.ready = at, at
		if e.Role.IsSwitch() {
			t.lastReady = i
		}
	case rack.DeviceFailed:
		d.settled = at
		lost := tally{devices: 1}
		if rack.OnFailure(e.Role, rack.Fault) == rack.Halt {
			lost.halts = 1
		}
		t.count(t.last[i], lost)
	}
}

func (t *trace) count(c Cause, more tally) {
	n := t.failures[c]
	t.failures[c] = tally{n.attempts + more.attempts, n.devices + more.devices, n.halts + more.halts}
}

// close ends the running attempt. A device that was never seen has none.
func (d *deviceTrace) close(at time.Duration) {
	if d.open.what >= 0 {
		d.open.end = at
		d.spans = append(d.spans, d.open)
		d.open.what = -1
	}
}

// phaseKey is the index of a phase of a role among all of them.
func phaseKey(role rack.Role, phase int) int {
	return slices.Index(rack.Roles(), role)*len(rack.Phases()) + phase
}

// criticalPath is the chain of steps that the rack's time consists of, by the
// index of their keys: from the device that settled last back to the switch
// that it waited for, and so on to the first contact with the management
// switch. Its parts add up to the time of the rack.
func (t *trace) criticalPath(s *setup) map[int]time.Duration {
	out := map[int]time.Duration{}
	at := 0
	for i := range t.devices {
		if t.devices[i].settled > t.devices[at].settled {
			at = i
		}
	}
	end := t.devices[at].settled
	for range s.devices {
		from, by := t.walk(s, at, end, out)
		first := s.keyOf[Key{s.devices[at].dev.Role, FirstContact}]
		if by < 0 {
			out[first] += from
			return out
		}
		// From the switch being ready until this device was heard.
		if ready := t.devices[by].ready; ready >= 0 && ready < from {
			out[first] += from - ready
			from = ready
		}
		at, end = by, from
	}
	return out
}

// walk adds the steps of a device that ended the wait for it at end. It returns
// when they began, and the switch that the device had waited for until then.
func (t *trace) walk(s *setup, at int, end time.Duration, out map[int]time.Duration) (time.Duration, int) {
	d, spec := &t.devices[at], s.devices[at]
	from, by := d.seen, spec.gate
	if from < 0 || from > end {
		from = end
	}
	for _, r := range d.releases {
		if r.by >= 0 && r.by != at && r.at <= end {
			from, by = r.at, r.by
		}
	}
	pause := s.keyOf[Key{spec.dev.Role, retryPause}]
	until := end
	for i := len(d.spans) - 1; i >= 0 && until > from; i-- {
		x := d.spans[i]
		if x.start >= until {
			continue
		}
		if x.end < until {
			out[pause] += until - max(x.end, from)
			until = max(x.end, from)
		}
		if start := max(x.start, from); start < until {
			out[spec.keys[x.what]] += until - start
			until = start
		}
	}
	if until > from {
		out[pause] += until - from
	}
	return from, by
}
