package fleet

import (
	"fmt"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Spec is what a fleet is to do.
type Spec struct {
	Name string
	// AtOnce is how many racks are imaged at the same time; 0: all.
	AtOnce int
	// HaltAfter is how many racks may halt: once there are more, no further rack
	// is begun. 0: the first one that halts ends it; as many as there are racks:
	// nothing does.
	HaltAfter int
	Racks     []string // in the order in which they are begun
}

// State is where one rack of a fleet stands.
type State struct {
	Rack      string
	Status    rack.Status // empty: as rack.Idle
	Cause     string      // why it drains or halted
	Connected bool        // its agent is there to be ordered
	// Ordered: its agent was told to begin, and has not answered yet.
	Ordered bool
	// Refused is why its agent refused to begin; empty: it did not. It is not
	// told again, and counts as a rack that halted.
	Refused string
}

// phase is what a state means for its fleet.
type phase int

const (
	waiting  phase = iota // may be begun
	busy                  // is being imaged, or about to be
	stopping              // drains: it is still busy, and is about to have halted
	stopped               // halted, or refused
	done
)

func (s *State) phase() phase {
	switch s.Status {
	case rack.Imaging:
		return busy
	case rack.Draining:
		return stopping
	case rack.Halted:
		return stopped
	case rack.Completed:
		return done
	}
	switch {
	case s.Refused != "":
		return stopped
	case s.Ordered:
		return busy
	}
	return waiting
}

// why is the cause of a rack that stops or stopped.
func (s *State) why() string {
	if s.Refused != "" {
		return s.Rack + " (" + s.Refused + ")"
	}
	if s.Cause != "" {
		return s.Rack + " (" + s.Cause + ")"
	}
	return s.Rack
}

// in lists the states of a fleet in its order; a rack of which nothing is known
// is idle and has no agent, and a state of a rack of no fleet counts for nothing.
func (f *Spec) in(states []State) []State {
	known := make(map[string]State, len(states))
	for _, s := range states {
		known[s.Rack] = s
	}
	out := make([]State, 0, len(f.Racks))
	for _, name := range f.Racks {
		s := known[name]
		s.Rack = name
		out = append(out, s)
	}
	return out
}

// Next says which racks are to be begun now, in order, or why none is begun any
// more. A reason does not concern the racks that are being imaged: they go on.
func Next(f Spec, states []State) (begin []string, halt string) {
	all := f.in(states)
	if halt := f.halt(all); halt != "" {
		return nil, halt
	}
	running := 0
	for i := range all {
		if p := all[i].phase(); p == busy || p == stopping {
			running++
		}
	}
	for i := range all {
		if f.AtOnce > 0 && running >= f.AtOnce {
			break
		}
		if all[i].phase() == waiting && all[i].Connected {
			begin = append(begin, all[i].Rack)
			running++
		}
	}
	return begin, ""
}

// halt says why no further rack is begun; empty: more may be.
func (f *Spec) halt(all []State) string {
	var bad []string
	for i := range all {
		if p := all[i].phase(); p == stopped || p == stopping {
			bad = append(bad, all[i].why())
		}
	}
	if len(bad) <= f.HaltAfter {
		return ""
	}
	return fmt.Sprintf("%s of %s halted, and %s may: %s", count(len(bad), "rack"), count(len(all), "rack"), count(f.HaltAfter, "rack"), few(bad))
}

// count is "1 rack" or "2 racks".
func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// maxNamed bounds how many racks or cables a sentence names.
const maxNamed = 5

// few names the first ones.
func few(list []string) string {
	if len(list) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:maxNamed], ", "), len(list)-maxNamed)
	}
	return strings.Join(list, ", ")
}
