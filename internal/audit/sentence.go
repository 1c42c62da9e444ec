package audit

import (
	"fmt"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Sentence is an event in plain words, without its time and its device, or ""
// for one that nobody waits for.
func Sentence(e rack.Event) string {
	d := &e.Detail
	switch e.Kind {
	case rack.RackStarted:
		if s := rack.BundleSentence(d.Bundle, d.SignedBy); s != "" {
			return "imaging starts" + only(d.Only) + ", " + s
		}
		return "imaging starts" + only(d.Only)
	case rack.RackResumed:
		return "imaging goes on" + only(d.Only) + ordered(d)
	case rack.RackCompleted:
		return fmt.Sprintf("completed: %d ready, %d failed", d.Ready, d.Failed)
	case rack.RackDraining:
		return "draining" + stopped(d)
	case rack.RackHalted:
		return "halted" + stopped(d)
	case rack.NeighbourSeen:
		return neighbour(d.Seen)
	case rack.LinkClosed:
		return "link " + d.Link + " closed"
	case rack.ComponentAmbiguous:
		return "ambiguous component: " + d.Reason
	}
	if text := orderSentence(e); text != "" {
		return text
	}
	return deviceSentence(e)
}

// neighbour says what a switch heard at one of its ports.
func neighbour(o *rack.Observation) string {
	if o == nil {
		return ""
	}
	if o.Message == "" {
		return fmt.Sprintf("port %s has no neighbour any more", o.Via)
	}
	return fmt.Sprintf("port %s hears %s", o.Via, o.Message)
}

// deviceSentence is an event of a device's own work.
func deviceSentence(e rack.Event) string {
	d := &e.Detail
	switch e.Kind {
	case rack.DeviceDiscovered:
		return "discovered " + seenBy(d.Seen)
	case rack.PhaseCompleted:
		return string(e.Phase) + " completed"
	case rack.PhaseStarted:
		return string(e.Phase) + " starts"
	case rack.StepFailed:
		if d.Final {
			return fmt.Sprintf("%s failed: %s", d.Step, d.Error)
		}
		if d.Reason != "" {
			return fmt.Sprintf("%s (attempt %d) is broken off, and not counted: %s", d.Step, d.Attempt, d.Error)
		}
		return fmt.Sprintf("%s failed (attempt %d), tried again in %s%s: %s", d.Step, d.Attempt, d.Delay, recovering(d), d.Error)
	case rack.RecoveryMade:
		return fmt.Sprintf("recovery %s: %s", d.Recovery, d.Recovery.Words())
	case rack.StepWaiting:
		return fmt.Sprintf("%s waits on: %s", d.Step, d.Reason)
	case rack.DeviceHeld:
		return "held: " + d.Reason
	case rack.DeviceReady:
		return "ready"
	case rack.DeviceFailed:
		return "failed: " + d.Error
	case rack.DeviceCrashed:
		return "crashed, driven again from the journal: " + d.Error
	case rack.DeviceFinding, rack.WeaknessFound:
		return "finding: " + d.Reason
	}
	return ""
}

// recovering names the recovery that a retry is, if it is one.
func recovering(d *rack.Detail) string {
	if d.Recovery == "" {
		return ""
	}
	return ", recovery " + string(d.Recovery)
}

// orderSentence is what an operator ordered for a device.
func orderSentence(e rack.Event) string {
	d := &e.Detail
	switch e.Kind {
	case rack.DeviceRetried:
		return "to be tried again" + ordered(d)
	case rack.DeviceSkipped:
		return "skipped in this run" + ordered(d)
	case rack.ReimageOrdered:
		if d.Overwrites != "" {
			return "to be imaged anew, overwriting " + d.Overwrites + ordered(d)
		}
		return "to be imaged anew" + ordered(d)
	case rack.DeviceBound:
		return "bound to its slot" + keys(d.Seen) + ordered(d)
	case rack.LightOn:
		return "identify light on" + ordered(d)
	case rack.LightOff:
		return "identify light off" + ordered(d)
	case rack.OrderAnswered:
		if d.Error != "" {
			return "not obeyed: " + d.Error + byWhom(d)
		}
		return "nothing to do for " + d.Reason + byWhom(d)
	case rack.DeviceReplaced:
		return "replaced by other hardware" + keys(d.Seen) + ordered(d)
	}
	return ""
}

// ordered says who ordered something and why, as far as it is known.
func ordered(d *rack.Detail) string {
	out := ""
	if d.By != "" {
		out += ", ordered by " + d.By
	}
	if d.Reason != "" {
		out += ": " + d.Reason
	}
	return out
}

// byWhom says who ordered something, as far as it is known.
func byWhom(d *rack.Detail) string {
	if d.By == "" {
		return ""
	}
	return " (ordered by " + d.By + ")"
}

// stopped says what stopped a rack: a failure, or an operator.
func stopped(d *rack.Detail) string {
	why := d.Error // an operator's own words are in it
	if why == "" {
		why = d.Reason
	}
	if why == "" {
		return ""
	}
	return ": " + why
}

// only says which devices a run is limited to.
func only(devices []string) string {
	if len(devices) == 0 {
		return ""
	}
	return ", only " + strings.Join(devices, ", ")
}

// keys says by which MAC and serial number a component is known.
func keys(o *rack.Observation) string {
	var out []string
	if o != nil && o.MAC != "" {
		out = append(out, "MAC "+o.MAC)
	}
	if o != nil && o.Serial != "" {
		out = append(out, "serial number "+o.Serial)
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// seenBy says how a device made itself known.
func seenBy(o *rack.Observation) string {
	if o == nil {
		return ""
	}
	out := "by " + string(o.Source)
	if o.Stage != "" && o.Stage != rack.StageUnknown {
		out += " in stage " + string(o.Stage)
	}
	if !o.Via.IsZero() {
		out += " through " + o.Via.String()
	}
	return out
}
