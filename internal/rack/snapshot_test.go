package rack_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// sameFromSnapshot holds a run that is made of a snapshot, as it is stored, and the
// events behind it against one that is made of all events.
func sameFromSnapshot(t *rapid.T, r *rack.Rack, events []rack.Event, cut int) {
	whole, part := rack.NewFollower(r, platform.All()), rack.NewFollower(r, platform.All())
	for _, e := range events {
		whole.Apply(e)
	}
	for _, e := range events[:cut] {
		part.Apply(e)
	}
	b, err := json.Marshal(part.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events[cut:] {
		part.Apply(e) // what was saved does not change with the run
	}
	var s rack.Snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	run, err := rack.FollowerFrom(r, platform.All(), &s)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events[cut:] {
		run.Apply(e)
	}
	if !reflect.DeepEqual(run, whole) {
		a, b := stateOf(run), stateOf(whole)
		for k := range a {
			if !reflect.DeepEqual(a[k], b[k]) {
				t.Errorf("%s: %+v from the snapshot, %+v from all events", k, a[k], b[k])
			}
		}
		t.Fatalf("a snapshot after event %d of %d makes another run:\n%+v\n%+v", cut, len(events), run, whole)
	}
}

var kinds = []rack.Kind{rack.RackStarted, rack.Observed, rack.ComponentAmbiguous, rack.LinkOpen, rack.LinkClosed, rack.RackResumed, rack.RackDraining, rack.RackHalted,
	rack.RackCompleted, rack.NeighbourSeen, rack.OrderAnswered, rack.RecoveryMade, rack.HardwareFound, rack.WeaknessFound, rack.LightOn, rack.LightOff, rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceBound, rack.DeviceReplaced,
	rack.LinkReady, rack.DeviceCrashed, rack.DeviceFailed, rack.DeviceFinding, rack.DeviceDiscovered, rack.PhaseStarted, rack.PhaseCompleted, rack.StepStarted,
	rack.StepCompleted, rack.StepFailed, rack.StepWaiting, rack.TicketIssued, rack.DeviceHeld, rack.DeviceReleased, rack.DeviceReady, "unheard-of"}

// anyEvent is an event as nobody but a hostile agent would write it.
func anyEvent(t *rapid.T, r *rack.Rack) rack.Event {
	word := rapid.SampledFrom([]string{"", "a", "b:c", "rack:r9/x", `"`})
	port := rapid.Custom(func(t *rapid.T) rack.Port {
		d := &r.Devices[rapid.IntRange(0, len(r.Devices)-1).Draw(t, "device")]
		return rapid.SampledFrom(append([]rack.Port{d.Management, {Device: word.Draw(t, "far"), Name: word.Draw(t, "port")}}, d.Data...)).Draw(t, "port")
	})
	name := rapid.SampledFrom([]string{"", "nobody", r.Devices[0].Name, r.Devices[1].Name, r.Devices[len(r.Devices)-1].Name})
	e := rack.Event{Rack: r.Name, Device: name.Draw(t, "of"), Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Phase: rapid.SampledFrom(append(rack.Phases(), "")).Draw(t, "phase")}
	e.Detail = rack.Detail{Step: word.Draw(t, "step"), Attempt: rapid.IntRange(0, 3).Draw(t, "attempt"), Error: word.Draw(t, "error"), Reason: word.Draw(t, "reason"),
		Writing: rapid.Bool().Draw(t, "writing"), Link: port.Draw(t, "link").String(), Ticket: word.Draw(t, "ticket"), PlanHash: word.Draw(t, "hash"), Run: word.Draw(t, "run"),
		By: word.Draw(t, "by"), Order: word.Draw(t, "order"), Overwrites: word.Draw(t, "overwrites"), Bundle: word.Draw(t, "bundle"), SignedBy: word.Draw(t, "signed by"), Only: rapid.SampledFrom([][]string{nil, {"nobody"}, {r.Devices[1].Name}}).Draw(t, "only")}
	if steps := platform.All()[r.Devices[1].Platform].Steps; rapid.Bool().Draw(t, "a step") {
		s := rapid.SampledFrom(steps).Draw(t, "which")
		e.Detail.Step, e.Phase = s.Name, s.Phase
	}
	if rapid.Bool().Draw(t, "seen") {
		e.Detail.Seen = &rack.Observation{Source: rapid.SampledFrom([]rack.Source{rack.FromDHCP, rack.FromBMC, rack.FromLLDP}).Draw(t, "source"), Device: name.Draw(t, "speaker"),
			MAC: rapid.SampledFrom(append(macs, "")).Draw(t, "mac"), UUID: word.Draw(t, "uuid"), Serial: word.Draw(t, "serial"), Via: port.Draw(t, "via"),
			Stage:   rapid.SampledFrom([]rack.Stage{"", rack.StageBMC, rack.StageONIE, rack.StageOS}).Draw(t, "stage"),
			Message: word.Draw(t, "message"), Holds: word.Draw(t, "holds"),
			Proves: rapid.SampledFrom([]rack.Evidence{"", rack.FetchedImage, rack.ReportedRefused, rack.ReportedFailed, rack.DHCPONIE}).Draw(t, "proves")}
	}
	return e
}

// TestASnapshotIsTheEventsBeforeIt holds for any events at all.
func TestASnapshotIsTheEventsBeforeIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := small()
		var events []rack.Event
		for i := range rapid.IntRange(0, 60).Draw(t, "length") {
			e := anyEvent(t, r)
			e.Seq = uint64(i + 1)
			events = append(events, e)
		}
		sameFromSnapshot(t, r, events, rapid.IntRange(0, len(events)).Draw(t, "cut"))
	})
}

// TestASnapshotHoldsAllOfARun: whoever gives a run something more to remember gives
// it to Snapshot and FollowerFrom, and raises SnapshotVersion.
func TestASnapshotHoldsAllOfARun(t *testing.T) {
	run := reflect.TypeFor[rack.Run]()
	devices, _ := run.FieldByName("devices")
	// Of stations a follower knows nothing.
	for is, fields := range map[reflect.Type]int{run: 21, devices.Type.Elem().Elem(): 21, reflect.TypeFor[rack.TicketState](): 6} {
		if is.NumField() != fields {
			t.Errorf("%s has %d fields, and had %d when Snapshot was written", is, is.NumField(), fields)
		}
	}
}

// TestASnapshotOfSomethingElse is refused.
func TestASnapshotOfSomethingElse(t *testing.T) {
	r := small()
	for name, spoil := range map[string]func(s *rack.Snapshot){
		"another version":       func(s *rack.Snapshot) { s.Version++ },
		"no status":             func(s *rack.Snapshot) { s.Status = "" },
		"a status that is none": func(s *rack.Snapshot) { s.Status = "melted" },
		"fewer devices":         func(s *rack.Snapshot) { s.Devices = s.Devices[1:] },
		"other devices":         func(s *rack.Snapshot) { s.Devices[1].Name = "nobody" },
	} {
		s := rack.NewRun(r, platform.All()).Snapshot()
		if _, err := rack.FollowerFrom(r, platform.All(), s); err != nil {
			t.Fatal(err)
		}
		spoil(s)
		if run, err := rack.FollowerFrom(r, platform.All(), s); err == nil {
			t.Errorf("%s: it was taken for %s", name, fmt.Sprint(run.Status))
		}
	}
}

// TestAFollowerShowsTheSame as a run that binds packets, whatever happens.
func TestAFollowerShowsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := small()
		run, follower := rack.NewRun(r, platform.All()), rack.NewFollower(r, platform.All())
		for i := range rapid.IntRange(0, 40).Draw(t, "length") {
			e := anyEvent(t, r)
			e.Seq = uint64(i + 1)
			run.Apply(e)
			follower.Apply(e)
		}
		a, b := stateOf(run), stateOf(follower)
		for k := range a {
			if strings.HasPrefix(k, "mac ") || strings.HasPrefix(k, "owner ") || strings.HasPrefix(k, "class ") {
				continue // the binder's
			}
			if !reflect.DeepEqual(a[k], b[k]) {
				t.Errorf("%s: %+v of the run, %+v of the follower", k, a[k], b[k])
			}
		}
	})
}
