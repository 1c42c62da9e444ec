// Package fleet holds the rules of many racks: which is begun next, when none is
// any more, and how the cables between racks stand. Like internal/rack it is pure.
package fleet

import (
	"fmt"
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Spec is what a fleet is to become.
type Spec struct {
	Name      string   `json:"name"`
	AtOnce    int      `json:"atOnce"`    // racks that are imaged at once; 0: all
	HaltAfter int      `json:"haltAfter"` // no further rack is begun when so many have halted; 0: always
	Racks     []string `json:"racks"`     // in the order in which they are begun
	// Forgiven are the racks that had stopped when the fleet was resumed (see
	// Stopped). They do not count towards HaltAfter until they stop once more.
	Forgiven map[string]time.Time `json:"forgiven,omitempty"`
}

// State is where a rack of a fleet stands.
type State struct {
	Rack      string
	Status    rack.Status
	Ended     time.Time // when its last run did: it tells one halt from the next
	Begun     bool      // it is on record that its turn has come, for all coordinators
	Ordered   bool      // the order to begin is kept
	Refused   bool      // its agent refused to begin
	Connected bool      // its agent is
}

// waits reports whether a rack was never begun.
func (s State) waits() bool { return s.Status == rack.Idle && !s.Refused && !s.Begun && !s.Ordered }

// busy reports whether a rack is being imaged, or will be: an order that was kept, or
// is on record, is carried out, also when the agent comes back late.
func (s State) busy() bool {
	return s.Status == rack.Imaging || s.Status == rack.Draining || s.Status == rack.Idle && !s.Refused && !s.waits()
}

// stopped reports whether a rack needs somebody to look at it before it is imaged:
// it has halted, or its agent refused to begin.
func (s State) stopped() bool {
	return s.Status == rack.Halted || s.Refused && s.Status == rack.Idle
}

// Stopped are the racks that have halted, each with the time when it did, and those
// whose agents refused to begin, with no time: they are asked once.
func Stopped(states []State) map[string]time.Time {
	out := map[string]time.Time{}
	for _, s := range states {
		switch {
		case s.stopped() && s.Status == rack.Halted:
			out[s.Rack] = s.Ended
		case s.stopped():
			out[s.Rack] = time.Time{}
		}
	}
	return out
}

// counted is how many racks have stopped that were not forgiven.
func counted(spec Spec, states []State) (n int) {
	for name, at := range Stopped(states) {
		if was, forgiven := spec.Forgiven[name]; !forgiven || !was.Equal(at) {
			n++
		}
	}
	return n
}

// Unordered are the racks whose turn is on record and whose order is not known to be
// kept: whoever wrote the record may have ended in between. It does no harm to order
// once more, by the same id.
func Unordered(states []State) (out []string) {
	for _, s := range states {
		if s.Begun && !s.Ordered && !s.Refused && s.Status == rack.Idle {
			out = append(out, s.Rack)
		}
	}
	return out
}

// Next decides whose turn it is now, which is to be put on record before the racks are
// ordered to begin, or why none is begun any more. A rack whose agent is not connected
// keeps its place, and holds up nobody behind it.
func Next(spec Spec, states []State) (begin []string, halt string) {
	busy, stopped := 0, counted(spec, states)
	for _, s := range states {
		if s.busy() {
			busy++
		}
	}
	if spec.HaltAfter > 0 && stopped >= spec.HaltAfter {
		return nil, fmt.Sprintf("%d racks have halted, or were refused by their agents", stopped)
	}
	for _, s := range states {
		if !s.waits() || !s.Connected {
			continue
		}
		if spec.AtOnce > 0 && busy >= spec.AtOnce {
			break
		}
		begin = append(begin, s.Rack)
		busy++
	}
	return begin, ""
}

// Status is where a fleet stands: it is completed once every rack is, and every
// link between them is open.
func Status(spec Spec, states []State, links []Link, halted bool) rack.Status {
	completed, begun := 0, false
	for _, s := range states {
		if s.Status == rack.Completed {
			completed++
		}
		begun = begun || s.busy() || s.Status != rack.Idle
	}
	open := !slices.ContainsFunc(links, func(l Link) bool { return l.State != rack.LinkIsOpen })
	switch {
	case len(states) > 0 && completed == len(spec.Racks) && open:
		return rack.Completed
	case halted:
		return rack.Halted
	case begun:
		return rack.Imaging
	}
	return rack.Idle
}
