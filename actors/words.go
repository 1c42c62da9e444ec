package actors

import (
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// linesPerStep bounds what is journalled of a device's log between two of its
// steps: a full journal would end the agent, a short one loses words only.
const linesPerStep = 200

// words remembers what each device logged since its last step began, so that a
// device that goes round in circles, as ONIE does, does not fill the journal.
type words map[string]map[string]bool

// isNew reports, once, that a device said something that is to be kept; last, that
// nothing more of it is kept before its next step.
func (w words) isNew(device, line string) (is, last bool) {
	known := w[device]
	if known == nil {
		known = map[string]bool{}
		w[device] = known
	}
	if known[line] || len(known) >= linesPerStep {
		return false, false
	}
	known[line] = true
	return true, len(known) == linesPerStep
}

// apply takes in an event: what was journalled is known, also from an earlier life,
// and a step that begins makes it old.
func (w words) apply(e rack.Event) {
	switch e.Kind {
	case rack.DeviceSaid:
		if e.Detail.Seen != nil {
			w.isNew(e.Device, e.Detail.Seen.Message)
		}
	case rack.StepStarted, rack.StepFailed, rack.DeviceRetried, rack.ReimageOrdered, rack.DeviceReplaced:
		delete(w, e.Device)
	}
}

// listen journals a line of a device's log. Nothing is decided by it: a line that a step
// waits for is an observation besides.
func (a *Agent) listen(o *rack.Observation) {
	dev, ok := a.o.Rack.Device(o.Device)
	if !ok || o.Message == "" {
		return
	}
	is, last := a.words.isNew(dev.Name, o.Message)
	if !is {
		return
	}
	d := rack.Detail{Seen: o}
	if last {
		d.Reason = "what it says from here on is not kept until its next step"
	}
	a.journal(rack.Event{Rack: a.o.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: rack.DeviceSaid, Detail: d})
}

// awaits reports whether a line of a device's log is one that a step of its platform waits
// for. Nobody is discovered by a line: an address can be forged.
func (a *Agent) awaits(dev *rack.Device, o *rack.Observation) bool {
	text, ok := o.Proves.Line()
	p := a.o.Platforms[dev.Platform]
	return ok && o.Source == rack.FromSyslog && a.run.Device(dev.Name).Seen && slices.Contains(p.Lines(), text)
}
