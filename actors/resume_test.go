package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

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
		w := newWorld(t, NewSystem(), r)
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
	{"all goes well", 2, func(w *world) { w.hear("tor-1:53", "r2/tor-2:53"); w.hear("tor-2:53", "r2/tor-1:53") },
		func(w *world) error { return errors.Join(w.completed(), w.each(rack.NeighbourSeen, 1)) }},
	{"the installation of a switch fails once", 1, func(w *world) { w.breaks["tor-1 install"] = 1 }, func(w *world) error { return w.completed() }},
	{"a server fails for good", 1, func(w *world) { w.withLamps(&lamps{}).breaks["server-01 install"] = forever },
		func(w *world) error {
			return errors.Join(w.completed("server-01"), w.count(rack.LightOn, "server-01", 1), w.count(rack.LightOff, "", 0))
		}},
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
				if testing.Short() || underRace {
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

// TestFactsOfAnEarlierLife: a packet that came before its link was ready is news
// once more when the link has become ready, also to an agent that was started
// since; or the link would never open.
func TestFactsOfAnEarlierLife(t *testing.T) {
	o := &rack.Observation{Source: rack.FromDHCP, Device: "server-01", Via: rack.Port{Device: "tor-1", Name: "1"}, Proves: rack.DHCPPXE}
	f := facts{}
	f.recall(rack.Event{Kind: rack.Observed, Device: "server-01", Detail: rack.Detail{Seen: o}})
	if f.isNew(o, "") {
		t.Error("it is journalled, and was taken for news")
	}
	f.recall(rack.Event{Kind: rack.LinkReady, Device: "server-01", Detail: rack.Detail{Link: "tor-1:1"}})
	if !f.isNew(o, "") {
		t.Error("it opens the link, and was taken for old")
	}
}

// TestASpeakerBeforeItsLink: the BMC of a server asks for an address while the
// management switch is verified, and again and again, but answers no probe; its
// agent is killed at every moment around that.
func TestASpeakerBeforeItsLink(t *testing.T) {
	prepare := func(w *world) {
		d := &w.rack.Devices[2]
		w.breaks["server-01 bmc"] = forever
		w.breaks["mgmt-1 verify"] = 3 // its BMCs speak before it is ready
		var speak func()
		speak = func() {
			w.mu.Lock()
			forwards := w.forwards
			w.mu.Unlock()
			if forwards {
				w.dhcp(d.Name, rack.DHCPBMC, rack.StageBMC, d.Management)
			}
			w.later(20*time.Second, speak)
		}
		w.later(time.Second, speak)
	}
	early := false
	for n, reached := 20, true; reached && n < 90; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			reached = survive(t, testRack("r2", 1, 0, 1), prepare, cut{events: n, down: time.Minute}, func(w *world) error {
				if seen := w.find(rack.Observed, "server-01"); len(seen) > 0 && seen[0].Seq < w.find(rack.LinkReady, "")[0].Seq {
					early = true
				}
				return w.completed()
			})
		})
	}
	if !early {
		t.Error("the BMC never spoke before its link was ready: this test holds nothing")
	}
}

// copied begins a world on what is durable of another run.
func (w *world) copied(events []rack.Event) {
	for _, e := range events {
		if _, err := w.log.Append(e); err != nil {
			w.t.Fatal(err)
		}
	}
}

// recorded is the journal of a whole run.
func recorded(t *testing.T, r *rack.Rack, prepare func(*world)) (events []rack.Event) {
	play(t, r, prepare, func(_ *testing.T, w *world) { events = w.journalled() })
	return events
}

// upTo is a journal up to and with the first event that fits.
func upTo(t *testing.T, events []rack.Event, fits func(rack.Event) bool) []rack.Event {
	for i, e := range events {
		if fits(e) {
			return events[:i+1]
		}
	}
	t.Fatal("the recorded run has no such event")
	return nil
}

func started(device, step string) func(rack.Event) bool {
	return func(e rack.Event) bool {
		return e.Device == device && e.Kind == rack.StepStarted && e.Detail.Step == step
	}
}

// warnings collects what an agent warns of.
type warnings struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (x *warnings) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.Write(p)
}

func (x *warnings) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// TestSalvaged: a device that was not ready when its journal was damaged is left
// alone, whatever is seen of it, and nothing is served to it, until an operator
// says what to do. The agent says once which devices it waits for.
func TestSalvaged(t *testing.T) {
	r := testRack("r2", 1, 0, 3)
	whole := recorded(t, r, nil)
	for _, tt := range []struct {
		name   string
		silent string // a device that says nothing until the operator has looked
		end    func(rack.Event) bool
	}{
		{"servers are installed", "", started("server-02", "image-transfer")},
		{"servers are held", "", func(e rack.Event) bool { return e.Kind == rack.DeviceHeld && e.Device == "server-02" }},
		{"a switch is installed", "", started("tor-1", "image-transfer")},
		{"nothing but the start is known", "", func(e rack.Event) bool { return e.Kind == rack.RackStarted }},
		{"a server was not seen yet", "server-03", func(e rack.Event) bool { return e.Kind == rack.DeviceReady && e.Device == "mgmt-1" }},
		{"nothing was ever seen", "mgmt-1", func(e rack.Event) bool { return e.Kind == rack.RackStarted }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log warnings
			prefix := upTo(t, whole, tt.end)
			salvaged := uint64(len(prefix))
			drama(t, r, func(w *world) {
				w.copied(prefix)
				w.mute[tt.silent] = true
				w.forwards = slices.ContainsFunc(prefix, func(e rack.Event) bool { return e.Kind == rack.DeviceReady && e.Device == "mgmt-1" })
				w.options = func(o *Options) {
					o.Salvaged = salvaged
					o.Logger = slog.New(slog.NewTextHandler(&log, nil))
				}
			}, func(w *world) {
				for i := range r.Devices { // they speak up, and nobody does anything
					d := &r.Devices[i]
					if w.is(d.Name, rack.Ready)() {
						continue
					}
					w.dhcp(d.Name, rack.DHCPPXE, rack.StageIPXE, firstData(d))
				}
				time.Sleep(3 * time.Hour)
				var uncertain []string
				w.mu.Lock()
				w.mute[tt.silent] = false
				jobs := slices.Clone(w.jobs)
				if len(w.served) > 0 {
					t.Errorf("%v were installed", w.served)
				}
				for ticket, open := range w.open {
					if open {
						t.Errorf("ticket %s is served to an uncertain device", ticket)
					}
				}
				w.mu.Unlock()
				for _, d := range r.Devices {
					if w.state().Uncertain(d.Name) {
						uncertain = append(uncertain, d.Name)
					}
				}
				if len(jobs) != 0 {
					t.Errorf("uncertain devices were given %v", jobs)
				}
				for _, e := range w.journalled()[salvaged:] {
					if ofDevice(e.Kind) || e.Kind == rack.DeviceFailed {
						t.Errorf("%s of %s", e.Kind, e.Device)
					}
				}
				if n := strings.Count(log.String(), "level=WARN"); n != 1 || len(uncertain) == 0 || !strings.Contains(log.String(), fmt.Sprint(uncertain)) {
					t.Errorf("%v are uncertain, warned %d times: %s", uncertain, n, log.String())
				}
				// An operator has looked: they may go on where the journal ends.
				for _, d := range uncertain {
					w.must(rack.Order{Verb: rack.Retry, Device: d})
				}
				for _, d := range r.Devices {
					if d.Role == rack.ToRSwitch && slices.Contains(uncertain, d.Name) {
						w.later(time.Minute, func() { w.onie(&d) })
					}
				}
				w.ends()
				w.check(w.count(rack.RackCompleted, "", 1), w.count(rack.DeviceReady, "", len(r.Devices)), w.once())
			})
		})
	}
}

// TestAHaltedRackStillListens: a device that may still have been writing when
// its rack was halted says how it ended to the next agent, and is answered.
func TestAHaltedRackStillListens(t *testing.T) {
	r := testRack("r2", 1, 0, 1)
	prefix := upTo(t, recorded(t, r, nil), started("server-01", "write"))
	drama(t, r, func(w *world) {
		w.copied(append(slices.Clone(prefix),
			rack.Event{Rack: r.Name, Kind: rack.RackDraining, Detail: rack.Detail{Error: "halted"}},
			rack.Event{Rack: r.Name, Kind: rack.RackHalted, Detail: rack.Detail{Error: "halted"}}))
	}, func(w *world) {
		w.ends()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		ticket := w.state().Device("server-01").Ticket.ID
		said := &Report{Ticket: ticket, Observation: rack.Observation{Source: rack.FromHTTP, Device: "server-01", Proves: rack.ReportedInstalled}}
		if _, err := Ask[Reported](ctx, w.system, w.pid, said); err != nil {
			t.Error(err)
		}
		if _, err := Ask[Reported](ctx, w.system, w.pid, said); !errors.Is(err, ErrTicketClosed) {
			t.Error(err)
		}
	})
}

// TestADrainingRackAsksForWhatItMissed: a switch that is installed while nobody
// hears it does not say so again. The life that goes on with the draining asks
// it, and the rack is halted soon, knowing that it does not write any more.
func TestADrainingRackAsksForWhatItMissed(t *testing.T) {
	drama(t, testRack("r2", 2, 0, 1), nil, func(w *world) {
		deaf := func(to bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.mute["tor-1"] = to
		}
		w.until("tor-1 writes", w.in("tor-1", "install"))
		deaf(true)
		w.must(rack.Order{Verb: rack.HaltNow})
		w.again()
		w.until("tor-1 is installed", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.imaged["tor-1"]
		})
		time.Sleep(time.Minute)
		deaf(false)
		w.ends()
		w.check(w.count(rack.RackHalted, "", 1))
		if e := w.find(rack.RackHalted, ""); len(e) != 1 || e[0].Detail.Reason != "" {
			t.Errorf("%+v", e)
		}
		w.resume()
		w.again()
		w.ends()
		w.check(w.count(rack.RackCompleted, "", 1), w.each(rack.DeviceReady, 1), w.once())
	})
}
