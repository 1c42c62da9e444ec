package actors

import (
	"maps"
	"slices"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
)

// tally is where the devices of a run stand, all of them together. It is kept up as
// events come: an event of one device is no reason to look at all of them.
type tally struct {
	sums
	run      *rack.Run // that was counted
	salvaged uint64    // as it was then
	rows     []tallied // in the order of the rack file
	changed  []string  // devices that an event told of since
	linked   bool      // ends may be another one
}

// sums are what a tally says.
type sums struct {
	counts                          map[DeviceCount]int // never changed once it was made
	devices, ready, failed, skipped uint32
	progress                        float64       // 0 to 1
	ends                            *fleet.Member // never changed once it was made
}

// row is all that is told of a run in the line of its rack.
type row struct {
	status           rack.Status
	cause, planHash  string
	bundle, signedBy string
	sums
}

// tallied is how one device was counted.
type tallied struct {
	DeviceCount
	is       rack.DeviceStatus
	progress float64
}

// saw takes in that the run applied an event.
func (t *tally) saw(e *rack.Event) {
	switch e.Kind {
	case rack.NeighbourSeen, rack.ReimageOrdered, rack.DeviceReplaced: // who starts over hears nobody
		t.linked = true
	}
	if e.Device != "" && !slices.Contains(t.changed, e.Device) {
		t.changed = append(t.changed, e.Device)
	}
}

// of brings the tally up to date with a run.
func (t *tally) of(run *rack.Run) *tally {
	all := t.run != run || t.salvaged != run.Salvaged
	if !all && len(t.changed) == 0 && !t.linked {
		return t
	}
	if all {
		t.run, t.salvaged, t.rows, t.linked = run, run.Salvaged, make([]tallied, len(run.Rack.Devices)), true
		t.counts, t.devices = map[DeviceCount]int{}, uint32(len(t.rows))
	} else {
		t.counts = maps.Clone(t.counts)
	}
	t.ready, t.failed, t.skipped, t.progress = 0, 0, 0, 0
	for i := range run.Rack.Devices {
		dev, row := &run.Rack.Devices[i], &t.rows[i]
		if all || slices.Contains(t.changed, dev.Name) {
			before := row.DeviceCount
			t.count(run, dev, row)
			if t.counts[row.DeviceCount]++; !all {
				if t.counts[before]--; t.counts[before] == 0 {
					delete(t.counts, before)
				}
			}
			t.linked = t.linked || dev.Role.IsSwitch()
		}
		t.progress += row.progress
		switch row.is {
		case rack.Ready:
			t.ready++
		case rack.Failed:
			t.failed++
		case rack.Skipped:
			t.skipped++
		}
	}
	t.progress /= float64(max(len(t.rows), 1))
	if t.linked {
		t.ends = fleet.MemberOf(run)
	}
	t.changed, t.linked = t.changed[:0], false
	return t
}

// count is where one device stands.
func (t *tally) count(run *rack.Run, dev *rack.Device, row *tallied) {
	d := run.Device(dev.Name)
	row.is, row.progress = d.Status, d.Progress
	row.DeviceCount = DeviceCount{dev.Role, string(d.Status)}
	if run.Uncertain(dev.Name) {
		row.Status = "uncertain"
	}
}
