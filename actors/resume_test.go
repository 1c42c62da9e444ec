package actors

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

// errKilled is what an agent gets of its journal once it is to be dead.
var errKilled = errors.New("the process was killed")

// cut is the moment at which an agent dies.
type cut struct {
	events int  // of its journal that are durable
	before bool // it dies as it appends the next event, with all acted on that came before; else directly after the last, with nothing of it acted on
	down   time.Duration
}

// cutLog is a journal whose process dies at a cut. From then on it takes in and
// gives out nothing.
type cutLog struct {
	journal.Log
	cut    cut
	die    func()        // called once, at the cut
	killed chan struct{} // closed at the cut
	gone   chan struct{} // closed when the process may end

	mu   sync.Mutex
	n    int
	dead bool
}

func (l *cutLog) Append(events ...rack.Event) ([]rack.Event, error) {
	l.mu.Lock()
	if !l.dead && l.n+len(events) > l.cut.events {
		l.kill()
	}
	if l.dead {
		l.mu.Unlock()
		<-l.gone
		return nil, errKilled
	}
	defer l.mu.Unlock()
	stored, err := l.Log.Append(events...)
	l.n += len(stored)
	if l.n == l.cut.events && !l.cut.before {
		l.kill()
		l.mu.Unlock()
		<-l.gone
		l.mu.Lock()
		return nil, errKilled
	}
	return stored, err
}

func (l *cutLog) kill() {
	l.dead = true
	l.die()
	close(l.killed)
}

func (l *cutLog) alive() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errKilled
	}
	return nil
}

func (l *cutLog) Read(from uint64, limit int) ([]rack.Event, error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	return l.Log.Read(from, limit)
}

func (l *cutLog) Wait(ctx context.Context, from uint64) error {
	if err := l.Log.Wait(ctx, from); err != nil {
		return err
	}
	return l.alive()
}

// killAt lets the next agent die at a cut.
func (w *world) killAt(c cut) {
	w.cut = &cutLog{Log: w.log, cut: c, killed: make(chan struct{}), gone: make(chan struct{}), die: func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.die()
	}}
}

// bury ends what is left of an agent that was killed, so that another one may
// begin on what is durable. It returns that.
func (w *world) bury() []rack.Event {
	close(w.cut.gone)
	if err := w.system.Root.StopFuture(w.pid).Wait(); err != nil {
		w.t.Error("stop the killed agent:", err)
	}
	w.mu.Lock()
	w.cut = nil
	w.system = newSystem()
	w.mu.Unlock()
	return w.journalled()
}

// journalled is the whole journal.
func (w *world) journalled() (out []rack.Event) {
	if _, err := replay(w.log, 1, func(e rack.Event) { out = append(out, e) }); err != nil {
		w.t.Error(err)
	}
	return out
}

// outlast waits until the run of this life ends, by itself or by its cut. It
// reports whether it was cut.
func (w *world) outlast() bool {
	var killed chan struct{}
	if w.cut != nil {
		killed = w.cut.killed
	}
	select {
	case <-killed:
		return true
	case err := <-w.ended:
		if err != nil && (w.cut == nil || w.cut.alive() == nil) {
			w.t.Error("the agent ended with", err)
		}
		if w.cut != nil && w.cut.alive() != nil {
			return true
		}
	case <-time.After(24 * time.Hour):
		w.t.Errorf("the run did not end within a day; its last events: %s", lastWords(w.journalled()))
	}
	return false
}

func lastWords(events []rack.Event) (out string) {
	for _, e := range events[max(0, len(events)-12):] {
		out += fmt.Sprintf("\n  %d %s %s %s %s %d %s %s", e.Seq, e.Device, e.Kind, e.Phase, e.Detail.Step, e.Detail.Attempt, e.Detail.Reason, e.Detail.Error)
		if e.Detail.Seen != nil {
			out += " " + string(e.Detail.Seen.Source) + " " + string(e.Detail.Seen.Proves)
		}
	}
	return out
}

// survive plays a rack whose agent is killed at a cut; another one goes on with
// what is durable. It reports false when the run ended before.
func survive(t *testing.T, r *rack.Rack, prepare func(*world), c cut, check func(*world) error) (reached bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSystem(), r)
		if prepare != nil {
			prepare(w)
		}
		w.killAt(c)
		w.start()
		if reached = w.outlast(); reached {
			prefix := w.bury()
			if len(prefix) > c.events {
				t.Fatalf("%d events were journalled, the cut is at %d", len(prefix), c.events)
			}
			time.Sleep(c.down)
			w.start()
			w.outlast()
			if got := w.journalled(); len(prefix) > 0 && !reflect.DeepEqual(got[:len(prefix)], prefix) {
				t.Error("what was journalled before the cut was changed")
			}
		}
		synctest.Wait()
		if err := errors.Join(check(w), w.each(rack.DeviceReady, 1)); err != nil {
			t.Error(err)
		}
		w.finish()
		time.Sleep(settle)
		w.proven()
		if t.Failed() && testing.Verbose() {
			for _, e := range w.journalled() {
				t.Log(lastWords([]rack.Event{e}))
			}
		}
	})
	return reached
}

// each fails when an event came more often for any one device.
func (w *world) each(k rack.Kind, most int) error {
	var errs []error
	for _, d := range w.rack.Devices {
		if n := len(w.find(k, d.Name)); n > most {
			errs = append(errs, fmt.Errorf("%s of %s: %d times", k, d.Name, n))
		}
	}
	return errors.Join(errs...)
}

// lives are the racks whose agent is killed after and before every event.
var lives = []struct {
	name    string
	tors    int
	prepare func(*world)
	check   func(*world) error
}{
	{"all goes well", 2, nil, func(w *world) error { return w.completed() }},
	{"the installation of a switch fails once", 1, func(w *world) { w.breaks["tor-1 install"] = 1 }, func(w *world) error { return w.completed() }},
	{"a server fails for good", 1, func(w *world) { w.breaks["server-01 install"] = forever }, func(w *world) error { return w.completed("server-01") }},
	{"a switch fails for good", 2, func(w *world) { w.breaks["tor-1 configuration"] = forever },
		func(w *world) error { return errors.Join(w.halted("tor-1", ""), w.untouchedServers()) }},
	{"a switch is never seen", 2, func(w *world) { w.mute["tor-1"] = true },
		func(w *world) error { return errors.Join(w.halted("tor-1", "never seen"), w.untouchedServers()) }},
}

// TestResumeFromEveryPrefix kills an agent after every single event, and before
// every single event with all consequences of the ones before, while the devices
// of its rack live on. What they said in between is lost: to an agent that is
// down they say it again, to one that heard it and died they do not. Whatever
// the moment, the next agent brings the rack to its end, and no device is
// written, powered or booted again that was about to be installed, or was.
func TestResumeFromEveryPrefix(t *testing.T) {
	for _, l := range lives {
		for _, c := range []cut{{down: time.Second}, {down: 8 * time.Minute, before: true}} {
			when := "after"
			if c.before {
				when = "before"
			}
			t.Run(fmt.Sprintf("%s, killed %s an event", l.name, when), func(t *testing.T) {
				t.Parallel()
				step := 1
				if testing.Short() {
					step = 11
				}
				if !c.before {
					c.events = 1
				}
				for reached := true; reached; c.events += step {
					t.Run(fmt.Sprint(c.events), func(t *testing.T) {
						reached = survive(t, testRack("r2", l.tors, 1, 2), l.prepare, c, l.check)
					})
				}
			})
		}
	}
}
