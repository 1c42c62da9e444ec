package audit

import (
	"fmt"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// DeviceAt is where a device stood at a moment, as the core holds it.
type DeviceAt struct {
	Device string
	Role   rack.Role
	State  rack.DeviceState
}

// Past is one event that led to a moment.
type Past struct {
	Event rack.Event
	Words string        // for people
	After time.Duration // since the one before it in the story; 0 for the first
}

// Story is the state of a rack at a moment, and what led there.
type Story struct {
	At      time.Time
	Rack    string
	Device  string // whose story it is; empty: the rack's
	Status  rack.Status
	Cause   string // why it drains or is halted; else empty
	Devices []DeviceAt
	Events  []Past // of the device, or the rack's milestones; the newest last
}

// Timeline is the state at a time, of one device or, when device is empty, of
// the whole rack, and the events that led there. A zero time is the end of the
// journal. The events are those of a run from its first one on, in order. The
// error says that the rack file has no such device, and which it has.
func Timeline(r *rack.Rack, platforms map[string]rack.Platform, events []rack.Event, device string, at time.Time) (Story, error) {
	if device != "" {
		if err := known(r, device); err != nil {
			return Story{}, err
		}
	}
	s := Story{At: at, Rack: r.Name, Device: device}
	if at.IsZero() && len(events) > 0 {
		s.At = events[len(events)-1].Time
	}
	run := rack.NewRun(r, platforms)
	for _, e := range events {
		if e.Time.After(s.At) {
			break
		}
		if e.Kind == rack.Observed && e.Detail.Seen == nil {
			continue // an observation that says nothing: Prove refuses it
		}
		run.Apply(e)
		s.tell(e)
	}
	s.Status = run.Status
	if s.Status == rack.Draining || s.Status == rack.Halted {
		s.Cause = run.Cause
	}
	for i := range r.Devices {
		if d := &r.Devices[i]; device == "" || d.Name == device {
			s.Devices = append(s.Devices, DeviceAt{d.Name, d.Role, run.Device(d.Name)})
		}
	}
	return s, nil
}

// tell adds an event to the story, if it belongs there.
func (s *Story) tell(e rack.Event) {
	words := ""
	switch {
	case s.Device == "" && milestone(e.Kind):
		words = Sentence(e)
	case s.Device != "" && s.Device == e.Device:
		if words = Sentence(e); words == "" {
			words = detail(e)
		}
	}
	if words == "" {
		return
	}
	p := Past{Event: e, Words: words}
	if n := len(s.Events); n > 0 {
		p.After = e.Time.Sub(s.Events[n-1].Event.Time)
	}
	s.Events = append(s.Events, p)
}

// milestone reports whether a kind of event belongs to the rack's own story.
func milestone(k rack.Kind) bool {
	switch k {
	case rack.RackStarted, rack.RackResumed, rack.RackDraining, rack.RackHalted, rack.RackCompleted, rack.ComponentAmbiguous,
		rack.LinkClosed, rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceBound, rack.DeviceReplaced,
		rack.DeviceCrashed, rack.DeviceFailed, rack.DeviceFinding, rack.WeaknessFound, rack.StepFailed, rack.RecoveryMade, rack.LightOn, rack.LightOff, rack.PhaseCompleted, rack.DeviceReady:
		return true
	}
	return false
}

// detail puts the events into words that Sentence passes over: those that only
// somebody who looks at one device wants to read.
func detail(e rack.Event) string {
	d := &e.Detail
	switch e.Kind {
	case rack.StepStarted:
		return fmt.Sprintf("step %s starts, attempt %d", d.Step, d.Attempt)
	case rack.StepCompleted:
		return "step " + d.Step + " completed"
	case rack.TicketIssued:
		return "ticket " + d.Ticket + " for image " + d.Image
	case rack.DeviceReleased:
		return "held no longer"
	case rack.LinkReady:
		return "link " + d.Link + " ready, over " + d.Path
	case rack.LinkOpen:
		return "link " + d.Link + " open"
	case rack.Observed:
		return "observed " + observed(d.Seen)
	case rack.DeviceSaid:
		return logged(d)
	case rack.HardwareFound:
		return "its hardware was found: rackreach inventory shows it"
	}
	return ""
}

// logged is a line of the device's own log.
func logged(d *rack.Detail) string {
	if d.Seen == nil {
		return ""
	}
	out := "says: " + d.Seen.Message
	if d.Reason != "" {
		out += " (" + d.Reason + ")"
	}
	return out
}

// observed is what was seen, with the device's own words.
func observed(o *rack.Observation) string {
	out := seenBy(o)
	if o.Proves != rack.NoEvidence {
		out += ": " + proven(o)
	}
	if o.Message != "" {
		out += ": " + o.Message
	}
	if o.Holds != "" {
		out += ", its disk holds " + o.Holds
	}
	return out
}

// Lines is the story in plain lines for people, without colours: the state,
// then the events with the time since the one before.
func (s Story) Lines() []string {
	head := fmt.Sprintf("rack %s at %s: %s", s.Rack, s.At.UTC().Format("2006-01-02 15:04:05.000 UTC"), s.Status)
	if s.Cause != "" {
		head += ": " + s.Cause
	}
	out := []string{head}
	for _, d := range s.Devices {
		out = append(out, "  "+d.line())
	}
	for _, p := range s.Events {
		who := ""
		if s.Device == "" {
			if who = p.Event.Device; who == "" {
				who = p.Event.Rack
			}
			who = fmt.Sprintf("%-14s ", who)
		}
		out = append(out, fmt.Sprintf("%s %9s  %s%s (event %d)", p.Event.Time.UTC().Format(clock), fmt.Sprintf("+%.3fs", p.After.Seconds()), who, p.Words, p.Event.Seq))
	}
	return out
}

// line is where a device stood, in one line.
func (d DeviceAt) line() string {
	x := d.State
	out := fmt.Sprintf("%-14s %s", d.Device, x.Status)
	worked := x.Status == rack.Discovering || x.Status == rack.Installing || x.Status == rack.Configuring
	if worked && x.Step != "" {
		out += fmt.Sprintf(", step %s, attempt %d", x.Step, x.Attempt)
	}
	out += fmt.Sprintf(", %.0f%%", 100*x.Progress)
	if x.Held != "" {
		out += ", held: " + x.Held
	}
	if x.Ticket.Open {
		out += ", ticket " + x.Ticket.ID + " open"
	}
	if x.Error != "" {
		out += ", last error: " + x.Error
	}
	return out
}
