package rackagent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/simimage"
	"github.com/rackreach/rackreach/internal/state"
)

// resolved is everything that a run of the rack of a file carries out.
func resolved(t *testing.T, file string) *state.Plan {
	t.Helper()
	r, err := rackfile.Read(file, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	images, err := simimage.New(simimage.Specs())
	if err != nil {
		t.Fatal(err)
	}
	plan, err := rack.NewPlan(r, platform.All(), images.Describe)
	if err != nil {
		t.Fatal(err)
	}
	p := &state.Plan{Rack: r, Plan: plan, Platforms: map[string]rack.Platform{}}
	for i := range r.Devices {
		p.Platforms[r.Devices[i].Platform] = platform.All()[r.Devices[i].Platform]
	}
	return p
}

// TestOrdersOfARackThatDrainedInVain: its agent was killed while it drained, and
// nobody would ever end that: it counts as halted.
func TestOrdersOfARackThatDrainedInVain(t *testing.T) {
	fresh := resolved(t, example)
	r := fresh.Rack
	dir := state.Home(t.TempDir()).Rack(r.Name)
	k, err := OpenKept(dir, r.Name, fresh)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := k.Journal.Append(
		rack.Event{Rack: r.Name, Kind: rack.RackStarted, Detail: rack.Detail{PlanHash: fresh.Plan.Hash}},
		rack.Event{Rack: r.Name, Kind: rack.RackDraining, Detail: rack.Detail{By: "ada"}},
	); err != nil {
		t.Fatal(err)
	}
	for _, o := range []rack.Order{
		{Verb: rack.Skip, Device: "server-01", Reason: "no power"},
		{Verb: rack.Resume},
	} {
		if events, err := k.Order(context.Background(), o); err != nil || len(events) != 1 {
			t.Errorf("%s: %v, %v", o.Verb, events, err)
		}
	}
}

// TestReimageOfAnInterruptedPush: the agent died while it pushed a
// configuration. Nothing is being pushed any more, so the order is taken.
func TestReimageOfAnInterruptedPush(t *testing.T) {
	fresh := resolved(t, example)
	r := fresh.Rack
	k, err := OpenKept(state.Home(t.TempDir()).Rack(r.Name), r.Name, fresh)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}()
	event := func(kind rack.Kind, p rack.Phase, d rack.Detail) rack.Event {
		return rack.Event{Rack: r.Name, Device: "mgmt-1", Role: rack.ManagementSwitch, Kind: kind, Phase: p, Detail: d}
	}
	if _, err := k.Journal.Append(
		rack.Event{Rack: r.Name, Kind: rack.RackStarted, Detail: rack.Detail{PlanHash: fresh.Plan.Hash}},
		event(rack.Observed, "", rack.Detail{Seen: &rack.Observation{Source: rack.FromBMC, Device: "mgmt-1"}}),
		event(rack.PhaseStarted, rack.Configuration, rack.Detail{}),
		event(rack.StepStarted, rack.Configuration, rack.Detail{Step: "push", Attempt: 1}),
	); err != nil {
		t.Fatal(err)
	}
	if events, err := k.Order(t.Context(), rack.Order{Verb: rack.Reimage, Device: "mgmt-1"}); err != nil || len(events) != 1 {
		t.Errorf("%v, %v", events, err)
	}
}

// A plan that is lost or damaged is seen to by somebody; one that cannot be read at this
// moment may be read the next time: a service manager must try again.
func TestAPlanThatCannotBeRead(t *testing.T) {
	fresh := resolved(t, example)
	name := fresh.Rack.Name
	for what, x := range map[string]struct {
		spoil func(path string) error
		unfit bool
	}{
		"lost":      {os.Remove, true},
		"damaged":   {func(path string) error { return os.WriteFile(path, []byte("nonsense"), 0o600) }, true},
		"not today": {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, false}, // EISDIR, as EIO or EMFILE
	} {
		t.Run(what, func(t *testing.T) {
			dir := state.Home(t.TempDir()).Rack(name)
			k, err := OpenKept(dir, name, fresh)
			if err != nil {
				t.Fatal(err)
			}
			_, err = k.Journal.Append(rack.Event{Rack: name, Kind: rack.RackStarted, Detail: rack.Detail{PlanHash: fresh.Plan.Hash}})
			if err = errors.Join(err, k.Close(), x.spoil(filepath.Join(string(dir), "plan.json"))); err != nil {
				t.Fatal(err)
			}
			_, err = OpenWaiting(dir, name)
			var unfit *state.Unfit
			if err == nil || errors.As(err, &unfit) != x.unfit || !strings.Contains(err.Error(), "plan.json") {
				t.Errorf("unfit is %v: %v", unfit != nil, err)
			}
		})
	}
}
