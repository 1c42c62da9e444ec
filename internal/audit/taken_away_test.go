package audit

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// witnesses are, for every completed step that waits, the observations that it
// may rest on, told by this test's own means.
func witnesses(events []rack.Event, r *rack.Rack) [][]int {
	type state struct{ seen []int }
	proves := map[rack.Evidence][]rack.Evidence{
		rack.FetchedBootLoader: {rack.FetchedBootLoader, rack.FetchedImage, rack.ReportedInstalled},
		rack.FetchedImage:      {rack.FetchedImage, rack.ReportedInstalled},
	}
	of := map[string]*state{}
	var out [][]int
	for i, e := range events {
		dev, ok := r.Device(e.Device)
		if !ok {
			continue
		}
		st := of[e.Device]
		if st == nil {
			st = &state{}
			of[e.Device] = st
		}
		steps := platform.All()[dev.Platform].Steps
		n := slices.IndexFunc(steps, func(s rack.Step) bool { return s.Name == e.Detail.Step })
		switch {
		case e.Kind == rack.Observed:
			st.seen = append(st.seen, i)
		case e.Kind == rack.StepFailed, e.Kind == rack.StepStarted && steps[n].Action != rack.Wait:
			st.seen = nil
		case e.Kind == rack.StepCompleted && steps[n].Action == rack.Wait:
			want := append([]rack.Evidence{steps[n].Until}, proves[steps[n].Until]...)
			if dev.Role != rack.Server && dev.Role != rack.ManagementSwitch {
				want = append(want, rack.DHCPNOS) // ONIE's installer leaves by booting its system
			}
			var found []int
			for _, j := range st.seen {
				if slices.Contains(want, events[j].Detail.Seen.Proves) {
					found = append(found, j)
				}
			}
			out = append(out, found)
		}
	}
	return out
}

// Whoever takes away all that a completed step rests on is found out; most
// steps rest on one observation.
func TestNoEvidenceCanBeTakenAway(t *testing.T) {
	type journal struct {
		rack   *rack.Rack
		events []rack.Event
		steps  [][]int
	}
	var all []journal
	single := 0
	for _, x := range recorded {
		j := journal{rack: example(t, x.rack), events: record(t, x.name)}
		j.steps = witnesses(j.events, j.rack)
		for _, w := range j.steps {
			if len(w) == 0 {
				t.Fatalf("%s: a step was completed without any evidence", x.name)
			}
			if len(w) == 1 {
				single++
			}
		}
		all = append(all, j)
	}
	if single < 100 {
		t.Errorf("only %d steps rest on one observation: the property says little", single)
	}
	rapid.Check(t, func(rt *rapid.T) {
		j := all[rapid.IntRange(0, len(all)-1).Draw(rt, "journal")]
		w := j.steps[rapid.IntRange(0, len(j.steps)-1).Draw(rt, "step")]
		s := &story{t, slices.Clone(j.events)}
		s.drop(slices.Clone(w)...)
		var v *Violation
		if _, err := Prove(j.rack, platform.All(), renumber(s.events)); !errors.As(err, &v) {
			rt.Fatalf("events %v were taken away and nobody notices: %v", w, err)
		}
	})
}

// Dropping any event of a device's own work is found out, but for those that
// say only why it waits.
func TestNoWorkCanBeTakenAway(t *testing.T) {
	r, events := example(t, "rack-1"), record(t, "r1-server-fault")
	for i, e := range events {
		switch e.Kind {
		case rack.DeviceDiscovered, rack.PhaseStarted, rack.PhaseCompleted, rack.StepStarted, rack.StepCompleted, rack.TicketIssued, rack.DeviceReady, rack.StepFailed:
		default:
			continue
		}
		s := &story{t, slices.Clone(events)}
		s.drop(i)
		if _, err := Prove(r, platform.All(), renumber(s.events)); err == nil {
			t.Errorf("event %d, %s of %s %s, was taken away and nobody notices", e.Seq, e.Kind, e.Device, e.Detail.Step)
		}
	}
}
