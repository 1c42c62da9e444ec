package actors

import (
	"context"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Lamp switches the identify lights of devices. Light is called from many goroutines,
// for one device at a time, and ends soon after its context does.
type Lamp interface {
	Light(ctx context.Context, device string, on bool) error
}

const (
	// lightLimit bounds the switching of one light.
	lightLimit = 20 * time.Second
	// lightGrace is how long the end of an agent waits for lights: a device that failed
	// last should show it.
	lightGrace = 3 * time.Second
)

// lit is how the light of a device is to be.
type lit struct {
	on  bool
	own bool // because the device failed: it goes out with the failure
	out bool // somebody put it out since the device failed
}

// lights are the identify lights of a rack: what was journalled of them, and the work of
// switching them, which decides nothing and fails alone.
type lights struct {
	of   map[string]lit // devices whose light was ever switched
	lamp Lamp           // nil: nothing is switched
	ctx  context.Context
	stop context.CancelFunc

	wg    sync.WaitGroup
	mu    sync.Mutex
	wants map[string]bool // by device: what its light is to be next, while one goroutine switches it
}

func newLights(lamp Lamp) *lights {
	l := &lights{of: map[string]lit{}, lamp: lamp, wants: map[string]bool{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// recall takes in an event of this life or an earlier one.
func (l *lights) recall(e rack.Event) {
	switch e.Kind {
	case rack.LightOn:
		l.of[e.Device] = lit{on: true, own: e.Detail.By == ""}
	case rack.LightOff:
		l.of[e.Device] = lit{out: e.Detail.By != ""}
	case rack.DeviceFailed:
		if now, ok := l.of[e.Device]; ok {
			now.out = false
			l.of[e.Device] = now
		}
	}
}

// end waits for the lights that are being switched, but not for long.
func (l *lights) end() {
	giveUp := time.AfterFunc(lightGrace, l.stop)
	l.wg.Wait()
	giveUp.Stop()
	l.stop()
}

// light takes in an event of this life: it switches the light that it speaks of, and
// journals that the light of a device which failed is to shine, or no longer.
func (a *Agent) light(e rack.Event) {
	a.lights.recall(e)
	switch e.Kind {
	case rack.LightOn, rack.LightOff:
		a.shine(e.Device, e.Kind == rack.LightOn)
	case rack.DeviceFailed, rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceReplaced, rack.DeviceReady:
		a.judgeLight(e.Device)
	}
}

// rekindle does what an earlier life left undone: a BMC may have forgotten its light, or
// never heard of it.
func (a *Agent) rekindle() {
	for i := range a.o.Rack.Devices {
		name := a.o.Rack.Devices[i].Name
		if l, ok := a.lights.of[name]; ok {
			a.shine(name, l.on)
		}
		a.judgeLight(name)
	}
}

// judgeLight journals what follows for the light of a device from where it stands.
func (a *Agent) judgeLight(device string) {
	dev, ok := a.o.Rack.Device(device)
	if !ok || dev.BMC == nil || a.lights.lamp == nil || a.broken || a.closing {
		return
	}
	failed, now := a.run.Device(device).Status == rack.Failed, a.lights.of[device]
	e := rack.Event{Rack: a.o.Rack.Name, Device: dev.Name, Role: dev.Role}
	switch {
	case failed && !now.on && !now.out:
		e.Kind, e.Detail.Reason = rack.LightOn, "it failed"
	case !failed && now.on && now.own:
		e.Kind, e.Detail.Reason = rack.LightOff, "its failure was cleared"
	default:
		return
	}
	if a.journal(e) != nil {
		a.lights.recall(e)
	}
}

// shine switches a light, in the work pool. That it could not be is logged, and no more:
// nothing waits for it.
func (a *Agent) shine(device string, on bool) {
	l := a.lights
	if l.lamp == nil {
		return
	}
	l.mu.Lock()
	_, busy := l.wants[device]
	l.wants[device] = on
	l.mu.Unlock()
	if busy {
		return
	}
	l.wg.Go(func() {
		for {
			l.mu.Lock()
			on := l.wants[device]
			l.mu.Unlock()
			if err := a.pool.aside(l.ctx, lightLimit, func(ctx context.Context) error { return l.lamp.Light(ctx, device, on) }); err != nil {
				a.o.Logger.Warn("the identify light could not be switched", "device", device, "on", on, "error", err)
			}
			l.mu.Lock()
			done := l.wants[device] == on
			if done {
				delete(l.wants, device)
			}
			l.mu.Unlock()
			if done {
				return
			}
		}
	})
}
