package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/simulate"
)

// Bounds of a forecast that is drawn anew while a rack is imaged.
const (
	forecastEvery   = 5 * time.Second
	forecastSamples = 40
)

// outlook is what is foretold of a rack at a moment.
type outlook struct {
	p50, p90 time.Duration     // until it completes or halts
	slow     map[string]string // by device: its step, when that takes longer than in nine of ten cases
}

// String is what people read.
func (o outlook) String() string {
	if o.p50 == 0 {
		return ""
	}
	return fmt.Sprintf("about %s left, %s in nine of ten cases (estimated)", o.p50, o.p90)
}

// forecaster foretells, from a table of estimates, how much longer a rack takes.
// A simulated rack that runs faster than a real one is foretold at its speed.
type forecaster struct {
	options simulate.Options
	usual   map[string]map[string]time.Duration
	speed   float64

	mu     sync.Mutex
	events []rack.Event
	run    *rack.Run
	began  map[string]time.Time // by device: its running step
}

// newForecaster needs the platforms with the limits of real hardware.
func newForecaster(r *rack.Rack, platforms map[string]rack.Platform, plan *rack.Plan, speed float64) (*forecaster, error) {
	images := map[string]rack.Image{}
	for _, d := range plan.Devices {
		images[d.Name] = rack.Image(d.Image)
	}
	o := simulate.Options{Rack: r, Platforms: platforms, Images: images, Racks: forecastSamples, Seed: forecastSeed, Faults: simulate.Realistic(), Workers: 1}
	usual, err := simulate.Usual(o)
	if err != nil {
		return nil, err
	}
	return &forecaster{options: o, usual: usual, speed: max(speed, 1), run: rack.NewRun(r, platforms), began: map[string]time.Time{}}, nil
}

// take hears of events.
func (f *forecaster) take(events []rack.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		f.events = append(f.events, e)
		f.run.Apply(e)
		switch e.Kind {
		case rack.StepStarted:
			f.began[e.Device] = e.Time
		case rack.StepCompleted, rack.StepFailed, rack.DeviceHeld, rack.DeviceReady, rack.DeviceFailed, rack.DeviceSkipped, rack.DeviceRetried, rack.ReimageOrdered, rack.DeviceReplaced:
			delete(f.began, e.Device)
		}
	}
}

// look foretells from where the rack stands now.
func (f *forecaster) look(ctx context.Context, now time.Time) (outlook, error) {
	f.mu.Lock()
	events, slow := slices.Clone(f.events), map[string]string{}
	for device, began := range f.began {
		step := f.run.Device(device).Step
		if usual := f.usual[device][step]; usual > 0 && f.real(now.Sub(began)) > usual {
			slow[device] = step
		}
	}
	f.mu.Unlock()
	if len(events) == 0 {
		return outlook{slow: slow}, nil
	}
	first := events[0].Time
	for i := range events {
		events[i].Time = first.Add(f.real(events[i].Time.Sub(first)))
	}
	left, err := simulate.Forecast(ctx, f.options, events, first.Add(f.real(now.Sub(first))))
	if err != nil {
		return outlook{}, err
	}
	return outlook{p50: f.shown(left.P50), p90: f.shown(left.P90), slow: slow}, nil
}

// real is how long something would have taken on real hardware.
func (f *forecaster) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) * f.speed)
}

func (f *forecaster) shown(ms int64) time.Duration {
	d := time.Duration(float64(ms) / f.speed * float64(time.Millisecond))
	if d < time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Second)
}

// loop hands out an outlook again and again until ctx ends. Trouble with it is no
// trouble of the rack: there is no outlook then.
func (f *forecaster) loop(ctx context.Context, show func(outlook)) {
	t := time.NewTicker(forecastEvery)
	defer t.Stop()
	for {
		if o, err := f.look(ctx, time.Now()); err == nil {
			show(o)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
