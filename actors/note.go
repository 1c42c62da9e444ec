package actors

import (
	"maps"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Note is something about a device that belongs into the journal and that nothing is
// decided by: rack.RecoveryMade, rack.HardwareFound or rack.WeaknessFound. The agent that wires the
// actors sends it to Agent; there is no answer.
type Note struct {
	Kind   rack.Kind
	Device string
	Detail rack.Detail
}

// notesPerStep bounds the notes about one device between two of its steps.
const notesPerStep = 32

// notes counts them, and remembers what hardware was found.
type notes struct {
	taken map[string]int    // by device, since its last step began
	found map[string]string // by device and source: the last one; by device and weakness
}

func newNotes() notes { return notes{taken: map[string]int{}, found: map[string]string{}} }

// apply forgets what an event makes old.
func (n notes) apply(e rack.Event) {
	switch e.Kind {
	case rack.StepStarted, rack.DeviceRetried, rack.ReimageOrdered:
		delete(n.taken, e.Device)
	case rack.DeviceReplaced:
		delete(n.taken, e.Device)
		maps.DeleteFunc(n.found, func(key, _ string) bool { return strings.HasPrefix(key, e.Device+" ") })
	}
}

// recall takes in an event of an earlier life.
func (n notes) recall(e rack.Event) {
	if e.Kind == rack.RecoveryMade || e.Kind == rack.HardwareFound || e.Kind == rack.WeaknessFound {
		n.isNew(e.Kind, e.Device, &e.Detail)
	}
	n.apply(e)
}

// isNew reports, once, that a note is to be journalled.
func (n notes) isNew(k rack.Kind, device string, d *rack.Detail) bool {
	if n.taken[device] >= notesPerStep {
		return false
	}
	if d.Seen != nil {
		key := device + " " + string(d.Seen.Source)
		if n.found[key] == d.Found {
			return false
		}
		n.found[key] = d.Found
	}
	if k == rack.WeaknessFound {
		key := device + " " + d.Reason
		if _, known := n.found[key]; known {
			return false
		}
		n.found[key] = ""
	}
	n.taken[device]++
	return true
}

// note journals a note, unless it says what is known or there were too many.
func (a *Agent) note(m *Note) {
	if dev, ok := a.o.Rack.Device(m.Device); ok && !a.broken && a.notes.isNew(m.Kind, dev.Name, &m.Detail) {
		a.journal(rack.Event{Rack: a.o.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: m.Kind, Detail: m.Detail})
	}
}
