package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// order asks the agent of this life to obey, and fails the test when it is not
// answered within an hour.
func (w *world) order(o rack.Order) ([]rack.Event, error) {
	o.By = "tester"
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	got, err := Ask[Obeyed](ctx, w.system, w.pid, &Order{o})
	if errors.Is(err, context.DeadlineExceeded) {
		w.t.Errorf("%s %s was never answered", o.Verb, o.Device)
	}
	return got.Events, err
}

// must gives an order that has to be obeyed.
func (w *world) must(o rack.Order) {
	w.t.Helper()
	events, err := w.order(o)
	if err != nil || len(events) != 1 {
		w.t.Errorf("%s %s: %d events, %v", o.Verb, o.Device, len(events), err)
	}
}

// refused gives an order that must not be obeyed.
func (w *world) refused(o rack.Order, why string) {
	w.t.Helper()
	_, err := w.order(o)
	var no *rack.Refusal
	if !errors.As(err, &no) || !strings.Contains(err.Error(), why) {
		w.t.Errorf("%s %s: %v, want a refusal with %q", o.Verb, o.Device, err, why)
	}
}

// until waits in virtual time for something to be true.
func (w *world) until(what string, fn func() bool) {
	w.t.Helper()
	for range 24 * 3600 {
		synctest.Wait()
		if fn() {
			return
		}
		time.Sleep(time.Second)
	}
	w.t.Fatalf("within a day it never came to this: %s; last events: %s", what, lastWords(w.journalled()))
}

// in reports whether a device is in a step.
func (w *world) in(device, step string) func() bool {
	return func() bool {
		d := w.state().Device(device)
		return d.Step == step && d.Held == "" && d.Status != rack.Ready && d.Status != rack.Failed && d.Status != rack.Skipped
	}
}

// is reports whether a device has a status.
func (w *world) is(device string, s rack.DeviceStatus) func() bool {
	return func() bool { return w.state().Device(device).Status == s }
}

// state is the run by its journal.
func (w *world) state() *rack.Run {
	run := w.agent.o.newRun()
	for _, e := range w.journalled() {
		run.Apply(e)
	}
	return run
}

// drama plays a rack that an operator meddles with. The play must see to it
// that the run of the last life ends.
func drama(t *testing.T, r *rack.Rack, prepare func(*world), act func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), r)
		if prepare != nil {
			prepare(w)
		}
		w.start()
		act(w)
		synctest.Wait()
		w.finish()
		time.Sleep(settle)
		w.proven()
		if t.Failed() && testing.Verbose() {
			t.Log(lastWords(w.journalled()))
		}
	})
}

// again ends the agent of this life as a service manager would, and starts the next.
func (w *world) again() {
	w.mu.Lock()
	w.die()
	w.mu.Unlock()
	if err := w.system.Root.StopFuture(w.pid).Wait(); err != nil {
		w.t.Error("stop the agent:", err)
	}
	w.start()
}

// resume orders a rack to go on that nobody drives, as the CLI does.
func (w *world) resume(only ...string) {
	w.t.Helper()
	w.ordered(rack.Order{Verb: rack.Resume, By: "tester", Only: only})
}

// ordered journals what follows from an order while nobody drives the rack.
func (w *world) ordered(o rack.Order) {
	w.t.Helper()
	events, err := w.state().Obey(o)
	if err != nil || len(events) != 1 {
		w.t.Fatalf("%s: %v, %v", o.Verb, events, err)
	}
	if _, err := w.log.Append(events...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ends() {
	w.t.Helper()
	if w.outlast() {
		w.t.Error("it was cut")
	}
	synctest.Wait()
}

func (w *world) servedTimes(device string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.served {
		if d == device {
			n++
		}
	}
	return n
}

func (w *world) check(errs ...error) {
	w.t.Helper()
	if err := errors.Join(errs...); err != nil {
		w.t.Error(err)
	}
}

// once fails when a device was installed more than once.
func (w *world) once() error {
	var errs []error
	for _, d := range w.rack.Devices {
		if n := w.servedTimes(d.Name); n > 1 {
			errs = append(errs, fmt.Errorf("%s was installed %d times", d.Name, n))
		}
	}
	return errors.Join(errs...)
}

// untouched fails when a device got any command that changes it.
func (w *world) untouched(device string) error {
	for _, a := range []rack.Action{rack.PowerOn, rack.PowerCycle, rack.BootPXE, rack.PushConfig} {
		if w.did(device + " " + string(a)) {
			return fmt.Errorf("%s got the command %s", device, a)
		}
	}
	return nil
}

// nothingAfter fails when a device's own actor wrote anything behind an order.
func (w *world) nothingAfter(k rack.Kind, device string) error {
	var at uint64
	for _, e := range w.journalled() {
		switch {
		case e.Device != device:
		case e.Kind == k:
			at = e.Seq
		case at > 0 && ofDevice(e.Kind):
			return fmt.Errorf("%s of %s at %d, behind %s at %d", e.Kind, device, e.Seq, k, at)
		}
	}
	return nil
}
