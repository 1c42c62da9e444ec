package simulate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// FaultKind is how something goes wrong.
type FaultKind string

// The kinds.
const (
	// Refused: an action is answered with an error; a step that waits for
	// evidence gets contrary evidence (the device reports a failure, is back in
	// ONIE, or declines its address). Only where the platform's step has a word for it.
	Refused FaultKind = "error"
	// Silent: no answer and no evidence before the step's limit.
	Silent FaultKind = "silent"
)

// Scope is what a probability counts for.
type Scope string

// The scopes.
const (
	PerAttempt Scope = "attempt" // every attempt anew: a retry may help
	PerFirst   Scope = "first"   // of a device's first attempt: a retry helps
	PerDevice  Scope = "device"  // a device has it or not: no retry helps
	PerCable   Scope = "cable"   // of data-cable only: a cable is wrong or not
)

// Steps of faults that are no step of a platform.
const (
	FirstContact = "first-contact" // nothing is ever heard of the device: kind silent, scope device
	DataCable    = "data-cable"    // nothing passes one data cable of a server: kind silent, scope cable
)

// Fault is something that may go wrong.
type Fault struct {
	Role        rack.Role // "": every role
	Step        string    // of the platform, or one of the two above
	Kind        FaultKind
	Scope       Scope
	Probability float64 // 0 to 1
	Reason      string  // for people; failures are counted by it
	Inventory   bool    // only for devices whose MACs the rack file gives
	Source      string
	Mark        Mark
}

// Faults is what may go wrong in a simulation.
type Faults struct {
	Name   string // "none", "realistic", or where they came from
	list   []Fault
	strict bool // a fault that can befall no device of the rack is an error
}

// None lets nothing go wrong.
func None() Faults { return Faults{Name: "none"} }

// Realistic is the table of faulttable.go.
func Realistic() Faults { return Faults{Name: "realistic", list: realistic()} }

// Only lets nothing go wrong but these.
func Only(list ...Fault) Faults {
	var steps []string
	for _, f := range list {
		steps = append(steps, f.Step)
	}
	return Faults{Name: "only " + strings.Join(steps, ", "), list: list, strict: true}
}

// List is a copy of the faults.
func (f Faults) List() []Fault { return slices.Clone(f.list) }

// befalls reports whether a fault may befall a device of that platform, and if
// not, why not.
func (f *Fault) befalls(d *rack.Device, p *rack.Platform) (bool, string) {
	if f.Role != "" && f.Role != d.Role {
		return false, ""
	}
	switch f.Step {
	case FirstContact:
		return !f.Inventory || len(d.MACs) > 0, ""
	case DataCable:
		return d.Role == rack.Server && len(d.Data) > 0, ""
	}
	i := slices.IndexFunc(p.Steps, func(s rack.Step) bool { return s.Name == f.Step })
	if i < 0 {
		return false, fmt.Sprintf("platform %s has no step %q; its steps are %s", p.Name, f.Step, stepNames(p))
	}
	s := &p.Steps[i]
	switch {
	case s.Action == rack.IssueTicket:
		return false, fmt.Sprintf("step %q of platform %s is a decision of rackreach itself: nothing can go wrong", s.Name, p.Name)
	case f.Kind == Refused && s.Action == rack.Wait && len(s.Unless) == 0:
		return false, fmt.Sprintf("in step %q of platform %s a device has no way to say that something went wrong: use kind silent", s.Name, p.Name)
	}
	return true, ""
}

func stepNames(p *rack.Platform) string {
	var names []string
	for i := range p.Steps {
		if p.Steps[i].Action != rack.IssueTicket {
			names = append(names, p.Steps[i].Name)
		}
	}
	return strings.Join(append(names, FirstContact, DataCable), ", ")
}
