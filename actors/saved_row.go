package actors

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
)

// SavedRow is what is told of a run in the line of its rack, so that it can be told
// before the run is read.
type SavedRow struct {
	Cause, Begun                    string `json:",omitzero"` // Begun: hash of the plan that was begun
	Bundle, SignedBy                string `json:",omitzero"`
	Devices, Ready, Failed, Skipped uint32
	Progress                        float64
	Counts                          []SavedCount
	Links                           []rack.Link        `json:",omitzero"` // to other racks
	Switches                        map[string]bool    // true: it is ready
	Heard                           []rack.SavedFarEnd `json:",omitzero"`
}

// SavedCount is how many devices of a role stand somewhere.
type SavedCount struct {
	DeviceCount
	N int
}

func savedRow(r *row) *SavedRow {
	s := &SavedRow{Cause: r.cause, Begun: r.planHash, Bundle: r.bundle, SignedBy: r.signedBy, Devices: r.devices, Ready: r.ready, Failed: r.failed, Skipped: r.skipped, Progress: r.progress,
		Links: r.ends.Links, Switches: r.ends.Ready}
	for _, c := range slices.SortedFunc(maps.Keys(r.counts), func(a, b DeviceCount) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Status, b.Status))
	}) {
		s.Counts = append(s.Counts, SavedCount{c, r.counts[c]})
	}
	for _, p := range slices.SortedFunc(maps.Keys(r.ends.Heard), func(a, b rack.Port) int { return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Name, b.Name)) }) {
		s.Heard = append(s.Heard, rack.SavedFarEnd{Port: p, Hears: r.ends.Heard[p]})
	}
	return s
}

func (s *SavedRow) row(of *Saved) row {
	r := row{status: of.Status, cause: s.Cause, planHash: s.Begun, bundle: s.Bundle, signedBy: s.SignedBy, sums: sums{devices: s.Devices, ready: s.Ready, failed: s.Failed, skipped: s.Skipped, progress: s.Progress,
		counts: map[DeviceCount]int{}, ends: &fleet.Member{Rack: of.Rack, Links: s.Links, Ready: s.Switches, Heard: map[rack.Port]string{}}}}
	if r.ends.Ready == nil {
		r.ends.Ready = map[string]bool{}
	}
	for _, c := range s.Counts {
		r.counts[c.DeviceCount] = c.N
	}
	for _, h := range s.Heard {
		r.ends.Heard[h.Port] = h.Hears
	}
	return r
}
