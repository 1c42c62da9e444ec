package main

import (
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// TestOutlook: a rack that starts has all of its time before it; a step that
// runs longer than in nine of ten cases is called slow until it ends. A rack
// that runs sixty times faster is foretold at its own speed.
func TestOutlook(t *testing.T) {
	r, err := load(example("rack-1.yaml"), platform.All())
	if err != nil {
		t.Fatal(err)
	}
	plan, _, err := planned(r, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var left [2]outlook
	for i, speed := range []float64{1, 60} {
		f, err := newForecaster(r, platform.All(), plan, speed)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := f.look(t.Context(), at); err != nil || o.String() != "" {
			t.Errorf("before the first event: %q %v", o, err)
		}
		seq := uint64(0)
		tell := func(k rack.Kind, device string, p rack.Phase, d rack.Detail) {
			seq++
			f.take([]rack.Event{{Seq: seq, Time: at, Rack: "r1", Device: device, Kind: k, Phase: p, Detail: d}})
		}
		tell(rack.RackStarted, "", "", rack.Detail{})
		if left[i], err = f.look(t.Context(), at); err != nil || left[i].p50 <= 0 || left[i].p90 < left[i].p50 {
			t.Errorf("%+v %v", left[i], err)
		}
		tell(rack.Observed, "mgmt-1", "", rack.Detail{Seen: &rack.Observation{Source: rack.FromBMC, Device: "mgmt-1"}})
		tell(rack.DeviceDiscovered, "mgmt-1", rack.Discovery, rack.Detail{})
		tell(rack.PhaseStarted, "mgmt-1", rack.Discovery, rack.Detail{})
		tell(rack.StepStarted, "mgmt-1", rack.Discovery, rack.Detail{Step: "bmc-login", Attempt: 1})
		real := func(d time.Duration) time.Time { return at.Add(time.Duration(float64(d) / speed)) }
		if o, err := f.look(t.Context(), real(time.Second)); err != nil || o.slow["mgmt-1"] != "" {
			t.Errorf("slow after a second: %+v %v", o, err)
		}
		if o, err := f.look(t.Context(), real(50*time.Second)); err != nil || o.slow["mgmt-1"] != "bmc-login" {
			t.Errorf("not slow after 50 seconds: %+v %v", o, err)
		}
		tell(rack.StepCompleted, "mgmt-1", rack.Discovery, rack.Detail{Step: "bmc-login", Attempt: 1})
		if o, err := f.look(t.Context(), real(50*time.Second)); err != nil || o.slow["mgmt-1"] != "" {
			t.Errorf("slow after its end: %+v %v", o, err)
		}
	}
	if ratio := float64(left[0].p50) / float64(left[1].p50); ratio < 50 || ratio > 70 {
		t.Errorf("%s at speed 1, %s at speed 60", left[0].p50, left[1].p50)
	}
}
