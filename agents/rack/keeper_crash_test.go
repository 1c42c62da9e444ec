package rackagent

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// TestOrdersAcrossACrash: the process ends at the moment at which the answer to an
// order is durable and nobody was told. The next one is given the order again, and
// has nothing to do.
func TestOrdersAcrossACrash(t *testing.T) {
	plan, err := resolved(t, smallRack).Encode()
	if err != nil {
		t.Fatal(err)
	}
	began := func(k *Keeper) error {
		return k.Obey(t.Context(), &messages.Order{Id: "begin", Rack: "r4", Verb: "apply", Plan: plan})
	}
	for name, c := range map[string]struct {
		before func(*Keeper) error
		order  *messages.Order
		answer rack.Kind
	}{
		"apply":         {nil, &messages.Order{Verb: "apply", Plan: plan}, rack.RackStarted},
		"no plan":       {nil, &messages.Order{Verb: "apply", Plan: []byte("{}")}, rack.OrderAnswered},
		"without":       {nil, &messages.Order{Verb: "resume"}, rack.OrderAnswered},
		"applied again": {began, &messages.Order{Verb: "apply", Plan: plan}, rack.OrderAnswered},
		"skip":          {began, &messages.Order{Verb: "skip", Device: "server-01", Reason: "x"}, rack.DeviceSkipped},
		"refused":       {began, &messages.Order{Verb: "skip", Device: "tor-1", Reason: "x"}, rack.OrderAnswered},
		"halt":          {began, &messages.Order{Verb: "halt"}, rack.RackDraining},
		"no such verb":  {began, &messages.Order{Verb: "explode", Device: "tor-1"}, rack.OrderAnswered},
	} {
		t.Run(name, func(t *testing.T) {
			home := state.Home(t.TempDir())
			image := home.Rack("image") // what is durable at that moment
			k := opened(t, home.Rack("r4"), func(actors.Point, uint64) {
				if err := os.CopyFS(string(image), os.DirFS(string(home.Rack("r4")))); err != nil {
					t.Error(err)
				}
			})
			if c.before != nil {
				if err := c.before(k); err != nil {
					t.Fatal(err)
				}
				if err := os.RemoveAll(string(image)); err != nil {
					t.Fatal(err)
				}
			}
			c.order.Id, c.order.Rack, c.order.By = "o", "r4", "ada"
			if err := k.Obey(t.Context(), c.order); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(string(image), "lock")); err != nil {
				t.Fatal(err)
			}
			next := opened(t, image, nil)
			before := next.Journal().Last()
			if err := next.Obey(t.Context(), c.order); err != nil {
				t.Fatal(err)
			}
			events, err := next.Journal().Read(1, 100)
			if err != nil {
				t.Fatal(err)
			}
			if last := events[len(events)-1]; last.Detail.Order != "o" || last.Kind != c.answer || last.Seq != before || last.Detail.By != "ada" {
				t.Errorf("answered at event %d: %+v", before, last)
			}
		})
	}
}

// opened is a keeper without lives, until the test ends.
func opened(t *testing.T, dir state.Dir, at func(actors.Point, uint64)) *Keeper {
	t.Helper()
	kept, err := OpenWaiting(dir, "r4")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	k, err := NewKeeper(KeeperOptions{Kept: kept, At: at, Open: func(context.Context, *Kept) (Life, error) { return &fakeLife{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestAPlanThatNobodyBegan: a process ended between the plan and the first event
// that speaks of it. The order is given again, with that plan or another.
func TestAPlanThatNobodyBegan(t *testing.T) {
	dir := state.Home(t.TempDir()).Rack("r4")
	torn := resolved(t, example) // even one of another rack
	if err := dir.WritePlan(torn); err != nil {
		t.Fatal(err)
	}
	k := opened(t, dir, nil)
	if k.Plan() != nil {
		t.Error("a plan that was not begun is carried out")
	}
	p := resolved(t, smallRack)
	plan, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Obey(t.Context(), &messages.Order{Id: "o", Rack: "r4", Verb: "apply", Plan: plan}); err != nil {
		t.Fatal(err)
	}
	if got, err := dir.ReadPlan(); err != nil || got.Plan.Hash != p.Plan.Hash {
		t.Errorf("%v %v", got, err)
	}
}
