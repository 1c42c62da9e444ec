package journal

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

func each(events []rack.Event, then error) iter.Seq2[rack.Event, error] {
	return func(yield func(rack.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if then != nil {
			yield(rack.Event{}, then)
		}
	}
}

// TestSeed: a seeded journal holds what it was seeded with, in more than one
// group, and can be written on.
func TestSeed(t *testing.T) {
	from, err := Open(t.TempDir(), Options{Rack: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var some []rack.Event
		for range copyGroup / 2 {
			some = append(some, rack.Event{Rack: "r1", Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "x"}})
		}
		if _, err := from.Append(some...); err != nil {
			t.Fatal(err)
		}
	}
	want, err := from.Read(1, 1<<20)
	if err := errors.Join(err, from.Close()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	meta := Meta{Rack: "r1", Run: "other", SalvagedFrom: "a coordinator"}
	if last, err := Seed(dir, meta, each(want, nil)); err != nil || last != uint64(len(want)) {
		t.Fatal(last, err)
	}
	if _, err := Seed(dir, meta, each(want, nil)); err == nil || !strings.Contains(err.Error(), "there is one already") {
		t.Error("seeded twice:", err)
	}
	meta.Salvaged = uint64(len(want))
	to, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := to.Read(1, 1<<20)
	if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(to.Meta(), meta) {
		t.Errorf("%d events, want %d, %+v, %v", len(got), len(want), to.Meta(), err)
	}
	more, err := to.Append(rack.Event{Rack: "r1", Kind: rack.RackResumed})
	if err := errors.Join(err, to.Close()); err != nil || more[0].Seq != uint64(len(want)+1) {
		t.Error(more, err)
	}
}

// TestSeedRefuses what is not the whole history of the rack, and leaves nothing
// behind that could be taken for a journal.
// The clock of a machine that takes a rack over is an hour behind that of the lost
// one: time stands still in the journal until it has come so far.
func TestSeedFromAClockAhead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	ahead := time.Now().Add(time.Hour).UTC().Round(0)
	lost := []rack.Event{{Seq: 1, Time: ahead, Rack: "r1", Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "x"}}}
	if _, err := Seed(dir, Meta{Rack: "r1", Run: "other"}, each(lost, nil)); err != nil {
		t.Fatal(err)
	}
	to, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := to.Append(rack.Event{Rack: "r1", Kind: rack.OrderAnswered, Detail: rack.Detail{Order: "y"}})
	if err := errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	if !got[0].Time.Equal(ahead) {
		t.Errorf("event 1 is of %s, event 2 of %s", ahead, got[0].Time)
	}
}

func TestSeedRefuses(t *testing.T) {
	event := func(seq uint64, of string) rack.Event {
		return rack.Event{Seq: seq, Rack: of, Kind: rack.RackStarted}
	}
	torn := errors.New("the connection was lost")
	for name, c := range map[string]struct {
		events []rack.Event
		then   error
		says   string
	}{
		"a gap at the beginning": {events: []rack.Event{event(2, "r1")}, says: "event 2 follows event 0"},
		"a gap":                  {events: []rack.Event{event(1, "r1"), event(3, "r1")}, says: "event 3 follows event 1"},
		"one twice":              {events: []rack.Event{event(1, "r1"), event(1, "r1")}, says: "event 1 follows event 1"},
		"of another rack":        {events: []rack.Event{event(1, "r2")}, says: `the rack "r2", not of r1`},
		"torn off":               {events: []rack.Event{event(1, "r1")}, then: torn, says: torn.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := Seed(dir, Meta{Rack: "r1"}, each(c.events, c.then)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s", err, c.says)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
	dir := t.TempDir()
	if last, err := Seed(dir, Meta{Rack: "r1"}, each(nil, nil)); err != nil || last != 0 {
		t.Error("a history without events:", last, err)
	}
}
