package simulate

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

func forecast(t testing.TB, o Options, history []rack.Event, now time.Time) *Remaining {
	t.Helper()
	r, err := Forecast(t.Context(), o, history, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestForecastOfARackThatStartsNow(t *testing.T) {
	o := options(t, "rack-2.yaml", 40, None())
	got, want := forecast(t, o, nil, epoch()), run(t, o).Makespan
	if got.P50 != want.P50 || got.P90 != want.P90 || got.Samples != 40 || got.Halts != 0 || len(got.Devices) != len(o.Rack.Devices) {
		t.Errorf("forecast %+v, simulated racks take %+v", got, want)
	}
	o.Workers = 1
	if a, b := marshal(t, got), marshal(t, forecast(t, o, nil, epoch())); !bytes.Equal(a, b) {
		t.Error("with one worker the forecast has other bytes")
	}
}

// TestForecastIsRight forecasts racks whose end is known, from many moments.
func TestForecastIsRight(t *testing.T) {
	truth := options(t, "rack-1.yaml", 1, None())
	guess := truth
	guess.Racks = 40
	n, over50, over90 := 0, 0, 0
	for i := range 10 {
		_, events := one(t, truth, i)
		start, end := events[0].Time, events[len(events)-1].Time
		for percent := range 10 {
			now := start.Add(end.Sub(start) * time.Duration(percent) / 10)
			cut := len(events)
			for cut > 1 && events[cut-1].Time.After(now) {
				cut--
			}
			guess.Seed = uint64(1000*i + percent)
			r := forecast(t, guess, events[:cut], now)
			left := end.Sub(now).Milliseconds()
			n++
			if left > r.P50 {
				over50++
			}
			if left > r.P90 {
				over90++
			}
			if r.P50 < left/2 || r.P50 > left*2+int64(time.Minute/time.Millisecond) {
				t.Errorf("rack %d after %d %%: %d ms are left, the forecast is %+v", i, percent*10, left, r)
			}
		}
	}
	if over50 < n/4 || over50 > n*3/4 || over90 > n/4 {
		t.Errorf("of %d forecasts %d times the rack took longer than p50, %d times longer than p90", n, over50, over90)
	}
}

func TestForecastOfARackThatHasEnded(t *testing.T) {
	o := options(t, "rack-1.yaml", 20, None())
	_, events := one(t, o, 0)
	r := forecast(t, o, events, events[len(events)-1].Time.Add(time.Hour))
	if r.P50 != 0 || r.P90 != 0 || len(r.Devices) != 0 {
		t.Errorf("%+v is left of a rack that has completed", r)
	}
}

func TestForecastOfALateStep(t *testing.T) {
	o := options(t, "rack-1.yaml", 20, None())
	_, events := one(t, o, 0)
	for i, e := range events {
		if e.Role == rack.Server && e.Kind == rack.StepStarted && e.Detail.Step == "first-boot" {
			// It takes at most 6 minutes by the table, and 14 have passed.
			r := forecast(t, o, events[:i+1], e.Time.Add(14*time.Minute))
			if r.P50 < 1 || r.P90 > (30*time.Minute).Milliseconds() {
				t.Errorf("the forecast is %+v", r)
			}
			return
		}
	}
	t.Fatal("no server booted for the first time")
}

// TestAnyRackGoesOn cuts racks at any event and lets them go on from there: what
// must hold of any rack holds of both parts together.
func TestAnyRackGoesOn(t *testing.T) {
	r := example(t, "rack-1.yaml")
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Rack: r, Platforms: platform.All(), Racks: 1, Seed: rapid.Uint64().Draw(t, "seed"),
			Faults: bad(t, r, rapid.Float64Range(0, 0.2).Draw(t, "probability"))}
		_, events := one(t, o, 0)
		cut := rapid.IntRange(1, len(events)).Draw(t, "cut")
		for cut < len(events) && events[cut].Time.Equal(events[cut-1].Time) {
			cut++ // what is decided at the same moment stays together
		}
		history := events[:cut:cut]
		now := history[cut-1].Time.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "later")) * time.Second)
		s, err := newSetup(o)
		if err != nil {
			t.Fatal(err)
		}
		of, err := s.recall(history, now)
		if err != nil {
			t.Fatal(err)
		}
		n := newSimulation(s, 1, now)
		n.record = func(e rack.Event) { history = append(history, e) }
		n.takeUp(events[:cut], of)
		if err := n.play(context.Background()); err != nil {
			t.Fatal(err)
		}
		holds(t, r, history)
	})
}

func TestForeignEventsAreRefused(t *testing.T) {
	o := options(t, "rack-1.yaml", 2, None())
	_, events := one(t, o, 0)
	foreign := append([]rack.Event{}, events...)
	foreign[3].Rack = "r77"
	twice := append(events[:5:5], events[4])
	odd := append([]rack.Event{}, events...)
	for i := range odd {
		if odd[i].Kind == rack.StepStarted {
			odd[i].Detail.Step = "sing"
		}
	}
	for what, h := range map[string][]rack.Event{"r77": foreign, "does not follow": twice, "sing": odd} {
		if _, err := Forecast(t.Context(), o, h, epoch().Add(time.Hour)); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
