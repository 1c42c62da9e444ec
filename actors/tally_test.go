package actors

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// TestATallyKeepsUp: one that was kept up, whenever it was asked for, says the same
// as one that looks at all devices.
func TestATallyKeepsUp(t *testing.T) {
	r := testRack("r1", 2, 1, 2)
	kinds := []rack.Kind{rack.RackStarted, rack.RackDraining, rack.RackResumed, rack.NeighbourSeen, rack.PhaseStarted, rack.StepStarted, rack.StepCompleted, rack.StepFailed,
		rack.DeviceReady, rack.DeviceFailed, rack.DeviceSkipped, rack.DeviceRetried, rack.ReimageOrdered, rack.DeviceReplaced, rack.Observed}
	rapid.Check(t, func(t *rapid.T) {
		run := rack.NewRun(r, platform.All())
		var kept tally
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			d := &r.Devices[rapid.IntRange(0, len(r.Devices)-1).Draw(t, "device")]
			step := rapid.SampledFrom(platform.All()[d.Platform].Steps).Draw(t, "step")
			e := rack.Event{Seq: uint64(i + 1), Rack: "r1", Device: d.Name, Role: d.Role, Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Phase: step.Phase,
				Detail: rack.Detail{Step: step.Name, Seen: &rack.Observation{Device: d.Name, Via: rack.Port{Device: d.Name, Name: "7"}, Message: "r2/tor-1:1"}}}
			run.Apply(e)
			kept.saw(&e)
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0, 1:
				same(t, kept.of(run), run)
			case 2:
				run.Salvaged = run.Seq()
			}
		}
		same(t, kept.of(run), run)
		other := rack.NewRun(r, platform.All())
		same(t, kept.of(other), other)
	})
}

func same(t *rapid.T, kept *tally, run *rack.Run) {
	var anew tally
	anew.of(run)
	if !reflect.DeepEqual(kept.counts, anew.counts) || kept.ready != anew.ready || kept.failed != anew.failed || kept.skipped != anew.skipped ||
		kept.progress != anew.progress || !reflect.DeepEqual(kept.ends, anew.ends) {
		t.Fatalf("it was kept up as %+v, and is %+v", kept, anew)
	}
}
