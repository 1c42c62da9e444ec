package rack

import (
	"fmt"
	"maps"
	"slices"
)

// SnapshotVersion is the form of a Snapshot. It changes with every change of what a
// Run keeps, or of what an event does to it.
const SnapshotVersion = 3

// Snapshot is what a follower has learned from its events, as plain data: what
// NewFollower does not make out of the rack file. It saves the reading of the events up to Seq,
// and is no more than that: the events stay the truth.
type Snapshot struct {
	Version  int
	Seq      uint64 // of the last event applied
	ID       string
	PlanHash string // of the run; empty: it was not begun
	Status   Status
	Cause    string   `json:",omitzero"`
	Blamed   string   `json:",omitzero"`
	HaltedBy string   `json:",omitzero"`
	Only     []string `json:",omitzero"`
	Bundle   string   `json:",omitzero"`
	SignedBy string   `json:",omitzero"`

	Devices    []SavedDevice // in the order of the rack file
	Links      []SavedLink   // that are not closed, or not of the rack file
	Dropped    []Port        `json:",omitzero"`
	Neighbours []SavedFarEnd `json:",omitzero"`
	Answered   []string      `json:",omitzero"`
}

// SavedDevice is what a Snapshot holds of a device.
type SavedDevice struct {
	Name string
	DeviceState
	OrderedAt uint64 `json:",omitzero"`
	Findings  int    `json:",omitzero"`
	Proven    bool   `json:",omitzero"`
}

// SavedLink is what a Snapshot holds of a link.
type SavedLink struct {
	Near  Port
	State LinkState
}

// SavedFarEnd is what a Snapshot holds of what a switch has heard.
type SavedFarEnd struct {
	Port  Port
	Hears string
}

// Snapshot is what the run has learned so far, but for the keys of its Binder, which a
// follower has none of. Nothing of it changes later.
func (r *Run) Snapshot() *Snapshot {
	s := &Snapshot{Version: SnapshotVersion, Seq: r.seq, ID: r.ID, PlanHash: r.PlanHash, Status: r.Status, Cause: r.Cause, Blamed: r.Blamed, HaltedBy: r.HaltedBy, Bundle: r.Bundle, SignedBy: r.SignedBy,
		Only: slices.Clone(r.Only), Dropped: slices.SortedFunc(maps.Keys(r.dropped), comparePorts), Answered: slices.Sorted(maps.Keys(r.answered)), Links: r.links.said()}
	for i := range r.Rack.Devices {
		name := r.Rack.Devices[i].Name
		d := r.devices[name]
		s.Devices = append(s.Devices, SavedDevice{name, *d, d.ordered, d.findings, d.proven})
	}
	for _, p := range slices.SortedFunc(maps.Keys(r.neighbours), comparePorts) {
		s.Neighbours = append(s.Neighbours, SavedFarEnd{p, r.neighbours[p]})
	}
	return s
}

// FollowerFrom is the run of a validated rack as a Snapshot of it says. The rack and the
// platforms must be those that the run had. Errors say why the snapshot does not fit;
// then the run is made from its events.
func FollowerFrom(rk *Rack, platforms map[string]Platform, s *Snapshot) (*Run, error) {
	switch {
	case s.Version != SnapshotVersion:
		return nil, fmt.Errorf("it is of version %d, this is version %d", s.Version, SnapshotVersion)
	case !slices.Contains(Statuses(), s.Status):
		return nil, fmt.Errorf("it says that the rack is %.40q", s.Status)
	case len(s.Devices) != len(rk.Devices):
		return nil, fmt.Errorf("it is of %d devices, the rack has %d", len(s.Devices), len(rk.Devices))
	}
	run := NewFollower(rk, platforms)
	for i := range s.Devices {
		d := &s.Devices[i]
		if name := rk.Devices[i].Name; d.Name != name {
			return nil, fmt.Errorf("it tells of a device %.80q where the rack has %s", d.Name, name)
		}
		state := d.DeviceState
		state.ordered, state.findings, state.proven = d.OrderedAt, d.Findings, d.Proven
		run.devices[d.Name] = &state
	}
	run.seq, run.ID, run.PlanHash, run.Status = s.Seq, s.ID, s.PlanHash, s.Status
	run.Bundle, run.SignedBy = s.Bundle, s.SignedBy
	run.Cause, run.Blamed, run.HaltedBy, run.Only = s.Cause, s.Blamed, s.HaltedBy, slices.Clone(s.Only)
	for _, l := range s.Links {
		if !slices.Contains(states[:], l.State) {
			return nil, fmt.Errorf("it says that a link is %.40q", l.State)
		}
		run.links.set(l.Near, l.State)
	}
	for _, p := range s.Dropped {
		run.dropped[p] = true
	}
	for _, n := range s.Neighbours {
		run.neighbours[n.Port] = n.Hears
	}
	for _, id := range s.Answered {
		run.answered[id] = true
	}
	return run, nil
}
