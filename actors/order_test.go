package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
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
		w := newWorld(t, newSystem(), r)
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
	events, err := w.state().Obey(rack.Order{Verb: rack.Resume, By: "tester", Only: only})
	if err != nil || len(events) != 1 {
		w.t.Fatalf("resume: %v, %v", events, err)
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

func TestOrders(t *testing.T) {
	skip := func(d string) rack.Order { return rack.Order{Verb: rack.Skip, Device: d, Reason: "no disk"} }
	for _, tt := range []struct {
		name    string
		prepare func(*world)
		act     func(*world)
	}{
		{"retry of a failed server while others are imaged",
			func(w *world) { w.breaks["server-01 install"] = 3; w.breaks["server-02 install"] = 2 },
			func(w *world) {
				w.until("server-01 fails", w.is("server-01", rack.Failed))
				w.must(rack.Order{Verb: rack.Retry, Device: "server-01"})
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.count(rack.RackCompleted, "", 1))
			}},
		{"skip of a server that is held", nil,
			func(w *world) {
				w.until("server-01 is held", func() bool { return w.state().Device("server-01").Held != "" })
				w.must(skip("server-01"))
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 5), w.count(rack.DeviceReady, "server-01", 0), w.gone("server-01"), w.untouched("server-01"))
			}},
		{"skip of a server whose action runs", nil,
			func(w *world) {
				w.until("server-01 is configured", w.in("server-01", "push"))
				w.must(skip("server-01"))
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 5), w.count(rack.DeviceReady, "server-01", 0), w.nothingAfter(rack.DeviceSkipped, "server-01"))
			}},
		{"skip of a server that may be writing", nil,
			func(w *world) {
				w.until("server-01 writes", w.in("server-01", "write"))
				w.refused(skip("server-01"), "it may be writing right now")
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.once())
			}},
		{"skip of a server that was never seen", func(w *world) { w.mute["server-01"] = true },
			func(w *world) {
				w.until("the servers are in reach", func() bool { return w.state().Reachable("server-01") })
				w.must(skip("server-01"))
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 5), w.count(rack.DeviceFailed, "", 0))
			}},
		{"skip, and think better of it", nil,
			func(w *world) {
				w.until("server-01 is installed", w.in("server-01", "boot-loader"))
				w.must(skip("server-01"))
				w.refused(skip("server-01"), "it is skipped")
				w.must(rack.Order{Verb: rack.Retry, Device: "server-01"})
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6))
			}},
		{"reimage of a ready server while the rack is imaged", func(w *world) { w.breaks["server-02 install"] = 2 },
			func(w *world) {
				w.until("server-01 is ready", w.is("server-01", rack.Ready))
				w.erased("server-01")
				w.must(rack.Order{Verb: rack.Reimage, Device: "server-01"})
				w.ends()
				w.check(w.count(rack.DeviceReady, "server-01", 2), w.count(rack.DeviceReady, "server-02", 1), w.count(rack.RackCompleted, "", 1))
				if n := w.servedTimes("server-01"); n != 2 {
					w.t.Errorf("server-01 was installed %d times", n)
				}
				again := w.find(rack.TicketIssued, "server-01")[1].Detail
				if want := "receipt:run-1/r2/server-01/1"; again.Overwrites != want {
					w.t.Errorf("its second ticket overwrites %q, want %q", again.Overwrites, want)
				}
			}},
		{"reimage of a switch while the servers wait for another", func(w *world) { w.breaks["tor-2 configuration"] = 2 },
			func(w *world) {
				w.until("tor-1 is ready", w.is("tor-1", rack.Ready))
				w.must(rack.Order{Verb: rack.Reimage, Device: "tor-1"})
				w.ends()
				w.check(w.count(rack.DeviceReady, "tor-1", 2), w.count(rack.RackCompleted, "", 1))
				if !w.did("tor-1 boot-installer") {
					w.t.Error("tor-1 was never sent back into its installer")
				}
			}},
		{"reimage and replace are refused while a ticket is live", nil,
			func(w *world) {
				w.until("server-01 is written", w.in("server-01", "write"))
				w.refused(rack.Order{Verb: rack.Reimage, Device: "server-01"}, "it may be writing right now")
				w.refused(rack.Order{Verb: rack.Replace, Device: "server-01"}, "it may be writing right now")
				w.refused(rack.Order{Verb: rack.Reimage, Device: "tor-1"}, "is being installed through it")
				w.ends()
				w.check(w.completed())
			}},
		{"replace of a server before it is touched", nil,
			func(w *world) {
				w.until("server-01 is held", func() bool { return w.state().Device("server-01").Held != "" })
				w.must(rack.Order{Verb: rack.Replace, Device: "server-01"})
				w.later(time.Minute, func() { w.dhcp("server-01", rack.DHCPBMC, rack.StageBMC, w.rack.Devices[4].Management) })
				w.ends()
				w.check(w.completed(), w.count(rack.DeviceDiscovered, "server-01", 2))
			}},
		{"replace of a server by one that is never seen", nil,
			func(w *world) {
				w.until("server-01 is held", func() bool { return w.state().Device("server-01").Held != "" })
				w.mu.Lock()
				w.mute["server-01"] = true
				w.mu.Unlock()
				w.must(rack.Order{Verb: rack.Replace, Device: "server-01"})
				w.ends()
				w.check(w.completed("server-01"))
				if e := w.find(rack.DeviceFailed, "server-01"); len(e) == 1 && !strings.Contains(e[0].Detail.Error, "never seen") {
					w.t.Error(e[0].Detail.Error)
				}
			}},
		{"a discovery deadline that passed as its device was replaced", nil,
			func(w *world) {
				w.until("server-01 is held", func() bool { return w.state().Device("server-01").Held != "" })
				w.mu.Lock()
				w.mute["server-01"] = true
				w.mu.Unlock()
				w.must(rack.Order{Verb: rack.Replace, Device: "server-01"})
				synctest.Wait()
				rs := actor.NewPID(w.system.Address(), w.pid.Id+"/rack")
				w.system.Root.Send(rs, &deadline{"server-01", 0})
				time.Sleep(time.Minute)
				w.check(w.count(rack.DeviceFailed, "", 0), w.gone("server-01"))
				w.mu.Lock()
				w.mute["server-01"] = false
				w.mu.Unlock()
				w.ends()
				w.check(w.completed())
			}},
		{"retry of a server whose system came up unheard", func(w *world) { w.breaks["server-02 install"] = 2 },
			func(w *world) {
				w.until("server-01 boots what was installed", w.in("server-01", "first-boot"))
				w.mu.Lock()
				w.mute["server-01"] = true
				w.mu.Unlock()
				w.until("server-01 fails", w.is("server-01", rack.Failed))
				w.mu.Lock()
				w.mute["server-01"] = false
				w.mu.Unlock()
				w.must(rack.Order{Verb: rack.Retry, Device: "server-01"})
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.once())
			}},
		{"bind makes an ambiguous component known", func(w *world) { w.silentBMC = "server-03" },
			func(w *world) {
				const mac = "52:54:00:00:00:77"
				w.until("server-02 is seen", func() bool { return w.state().Device("server-02").Seen })
				packet := func() {
					b, err := w.state().Binder().Bind(rack.Keys{MAC: mac, Stage: rack.StageBMC, Model: "sim"})
					m := &messages.DeviceSeen{Observation: &messages.Observation{Source: "dhcp", Mac: mac, Stage: "bmc", Proves: "dhcp:bmc"}}
					if err != nil {
						m.Unbound, m.Ambiguous = err.Error(), true
					} else {
						m.Observation.Device = b.Device
					}
					w.system.EventStream.Publish(m)
					synctest.Wait()
				}
				w.mu.Lock()
				w.mute["server-03"], w.silentBMC = true, "" // nothing else names it
				w.mu.Unlock()
				w.must(rack.Order{Verb: rack.Bind, Device: "server-03", MAC: mac})
				w.refused(rack.Order{Verb: rack.Bind, Device: "server-03", MAC: mac}, "bound already")
				packet()
				if !w.state().Device("server-03").Seen {
					w.t.Error("server-03 was not seen although its MAC was bound to it")
				}
				w.mu.Lock()
				w.mute["server-03"] = false
				w.mu.Unlock()
				w.ends()
				w.check(w.completed())
			}},
		{"halt drains, and another agent goes on", nil,
			func(w *world) {
				w.until("both ToR switches are installed", func() bool { return w.in("tor-1", "install")() && w.in("tor-2", "install")() })
				w.must(rack.Order{Verb: rack.HaltNow, Reason: "fire drill"})
				w.refused(rack.Order{Verb: rack.HaltNow}, "is not being imaged")
				w.refused(rack.Order{Verb: rack.Retry, Device: "tor-1"}, "is being halted")
				w.ends()
				h := w.find(rack.RackHalted, "")
				if len(h) != 1 || h[0].Device != "" || !strings.Contains(h[0].Detail.Error, "halted by tester: fire drill") {
					w.t.Errorf("rack-halted: %+v", h)
				}
				w.check(w.servedToTheEnd("tor-1"), w.servedToTheEnd("tor-2"), w.count(rack.DeviceFailed, "", 0))
				w.resume()
				w.again()
				w.ends()
				w.check(w.each(rack.DeviceReady, 1), w.count(rack.DeviceReady, "", 6), w.count(rack.RackCompleted, "", 1), w.once())
			}},
		{"halt while a server's power is changed", nil,
			func(w *world) {
				w.until("server-01 is powered", w.in("server-01", "power-on"))
				w.must(rack.Order{Verb: rack.HaltNow})
				w.ends()
				w.resume()
				w.again()
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.once())
			}},
		{"tor-1 fails while tor-2 is installed: retry and resume", func(w *world) { w.breaks["tor-1 configuration"] = 3; w.breaks["tor-2 install"] = 1 },
			func(w *world) {
				w.ends()
				w.check(w.halted("tor-1", ""))
				if err := w.agentAnswers(); err != nil {
					w.t.Error(err)
				}
				if _, err := w.order(rack.Order{Verb: rack.Retry, Device: "tor-1"}); !errors.Is(err, ErrEnding) {
					w.t.Errorf("an agent whose run has ended: %v", err)
				}
				events, err := w.state().Obey(rack.Order{Verb: rack.Retry, Device: "tor-1"})
				if err != nil {
					w.t.Fatal(err)
				}
				if _, err := w.log.Append(events...); err != nil {
					w.t.Fatal(err)
				}
				w.resume()
				w.again()
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.count(rack.RackCompleted, "", 1), w.each(rack.DeviceReady, 1), w.once())
			}},
		{"only the management switch, then all", func(w *world) { w.options = func(o *Options) { o.Only = []string{"mgmt-1"} } },
			func(w *world) {
				w.ends()
				h := w.find(rack.RackHalted, "")
				if len(h) != 1 || h[0].Detail.Reason != "only mgmt-1 was asked for" || h[0].Detail.Error != "" {
					w.t.Errorf("rack-halted: %+v", h)
				}
				w.check(w.count(rack.DeviceReady, "", 1), w.count(rack.TicketIssued, "", 1), w.count(rack.RackCompleted, "", 0))
				w.resume()
				w.again()
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.once(), w.count(rack.RackCompleted, "", 1))
			}},
		{"only one server at first, and more of them while it is imaged", func(w *world) {
			w.options = func(o *Options) { o.Only = []string{"mgmt-1", "tor-1", "tor-2", "server-01"} }
		},
			func(w *world) {
				w.until("server-01 is installed", w.in("server-01", "write"))
				w.refused(rack.Order{Verb: rack.Resume, Only: []string{"server-02"}}, "is being imaged")
				w.must(rack.Order{Verb: rack.Resume, Only: []string{"mgmt-1", "tor-1", "tor-2", "server-01", "server-02"}})
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 5), w.count(rack.DeviceReady, "server-02", 1), w.count(rack.RackHalted, "", 1), w.count(rack.RackCompleted, "", 0))
			}},
		{"only one server at first, then all while it is imaged", func(w *world) {
			w.options = func(o *Options) { o.Only = []string{"mgmt-1", "tor-1", "tor-2", "server-01"} }
		},
			func(w *world) {
				w.until("server-01 is installed", w.in("server-01", "write"))
				w.must(rack.Order{Verb: rack.Resume})
				w.ends()
				w.check(w.completed(), w.once())
			}},
	} {
		t.Run(tt.name, func(t *testing.T) { drama(t, testRack("r2", 2, 0, 3), tt.prepare, tt.act) })
	}
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

// TestManyOrdersAtOnce: each of many orders, given from many sides at every
// stage of a run, gets one answer, and the journal stays provable.
func TestManyOrdersAtOnce(t *testing.T) {
	r := testRack("r2", 2, 0, 3)
	for _, at := range []time.Duration{0, time.Minute, 12 * time.Minute, 13 * time.Minute, 20 * time.Minute, 25 * time.Minute, 31 * time.Minute, 40 * time.Minute} {
		t.Run(at.String(), func(t *testing.T) {
			drama(t, r, func(w *world) { w.breaks["server-03 install"] = 3 }, func(w *world) {
				time.Sleep(at)
				var wg sync.WaitGroup
				var mu sync.Mutex
				answers := map[string]int{}
				verbs := []rack.Verb{rack.Skip, rack.Retry, rack.Bind, rack.Skip, rack.Retry}
				for i := range 60 {
					o := rack.Order{Verb: verbs[i%len(verbs)], Device: fmt.Sprintf("server-%02d", 1+i%3), Reason: "many", MAC: ""}
					if o.Verb == rack.Bind {
						o.MAC = fmt.Sprintf("52:54:00:00:01:%02x", i/2)
					}
					wg.Go(func() {
						_, err := w.order(o)
						var no *rack.Refusal
						kind := "obeyed"
						switch {
						case errors.As(err, &no):
							kind = "refused"
						case errors.Is(err, ErrEnding), errors.Is(err, ErrGone):
							kind = "ending"
						case err != nil:
							kind = err.Error()
						}
						mu.Lock()
						answers[kind]++
						mu.Unlock()
					})
				}
				wg.Wait()
				if n := answers["obeyed"] + answers["refused"] + answers["ending"]; n != 60 {
					t.Errorf("answers: %v", answers)
				}
				for i := range 3 { // whatever came last, all are wanted again
					_, _ = w.order(rack.Order{Verb: rack.Retry, Device: fmt.Sprintf("server-%02d", 1+i)})
				}
				w.ends()
				if n := len(w.find(rack.RackCompleted, "")); n != 1 {
					t.Errorf("rack-completed: %d times", n)
				}
				run := w.state()
				for i := range 3 {
					name := fmt.Sprintf("server-%02d", 1+i)
					if s := run.Device(name).Status; !slices.Contains([]rack.DeviceStatus{rack.Ready, rack.Failed, rack.Skipped}, s) {
						t.Errorf("%s is %s", name, s)
					}
				}
			})
		})
	}
}

// gateLog is a journal whose tail can be held back: what is journalled comes to
// its readers late.
type gateLog struct {
	journal.Log
	mu   sync.Mutex
	gate chan struct{} // nil: open
}

func (l *gateLog) Wait(ctx context.Context, from uint64) error {
	err := l.Log.Wait(ctx, from)
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// hold keeps the tail back until the function that it returns is called.
func (l *gateLog) hold() (open func()) {
	gate := make(chan struct{})
	l.mu.Lock()
	l.gate = gate
	l.mu.Unlock()
	return func() {
		l.mu.Lock()
		l.gate = nil
		l.mu.Unlock()
		close(gate)
	}
}

// gated gives an agent a journal whose tail can be held back.
func (w *world) gated() *gateLog {
	l := &gateLog{Log: w.log}
	w.options = func(o *Options) { o.Log = l }
	return l
}

// TestAnOrderRacesWithTheEnd: Agent learns of the last device that became ready
// only after an order was journalled behind it.
func TestAnOrderRacesWithTheEnd(t *testing.T) {
	var log *gateLog
	failed := func(w *world) { w.breaks["server-01 configuration"] = 3; log = w.gated() }
	last := func(w *world) (open func()) { // the others are ready by the journal, not by what Agent knows
		w.until("server-01 has failed, and only server-02 is left", func() bool {
			r := w.state()
			return r.Device("server-01").Status == rack.Failed && r.Device("server-02").Step == "verify"
		})
		open = log.hold()
		time.Sleep(time.Minute)
		if !w.is("server-02", rack.Ready)() {
			w.t.Error("server-02 is not ready")
		}
		return open
	}
	slow := func(w *world) { failed(w); w.breaks["server-02 install"] = 1 }
	for _, o := range []rack.Order{
		{Verb: rack.Retry, Device: "server-01"},
		{Verb: rack.Reimage, Device: "server-01"},
		{Verb: rack.Reimage, Device: "server-02"},
		{Verb: rack.Skip, Device: "server-01", Reason: "broken"},
		{Verb: rack.Bind, Device: "server-01", MAC: "52:54:00:00:00:99"},
		{Verb: rack.Replace, Device: "server-01"},
	} {
		t.Run(string(o.Verb)+" "+o.Device, func(t *testing.T) {
			drama(t, testRack("r2", 2, 0, 2), slow, func(w *world) {
				open := last(w)
				w.erased(o.Device)
				_, err := w.order(o)
				open()
				var no *rack.Refusal
				if err != nil && !errors.As(err, &no) {
					w.t.Error(err)
				}
				if o.Verb == rack.Replace {
					w.later(time.Minute, func() { w.dhcp("server-01", rack.DHCPBMC, rack.StageBMC, w.rack.Devices[3].Management) })
				}
				w.ends()
				w.check(w.count(rack.RackCompleted, "", 1))
				ready := len(w.find(rack.DeviceReady, o.Device))
				switch {
				case o.Device == "server-02" && err == nil:
					if ready != 2 {
						w.t.Errorf("%s was ready %d times", o.Device, ready)
					}
				case o.Verb != rack.Skip && o.Verb != rack.Bind && err == nil && ready != 1:
					w.t.Errorf("%s was ready %d times", o.Device, ready)
				}
				if _, err := w.order(rack.Order{Verb: rack.Retry, Device: "server-01"}); err == nil {
					w.t.Error("an order was obeyed after the end of the run")
				}
			})
		})
	}
	t.Run("halt", func(t *testing.T) {
		drama(t, testRack("r2", 2, 0, 2), slow, func(w *world) {
			open := last(w)
			w.must(rack.Order{Verb: rack.HaltNow})
			open()
			w.ends()
			w.check(w.count(rack.RackHalted, "", 1), w.count(rack.RackCompleted, "", 0))
			w.resume()
			w.again()
			w.ends()
			w.check(w.count(rack.RackCompleted, "", 1))
		})
	})
}

// stuck blocks the actor of a device in the middle of a decision of a phase,
// until it is let go; then it crashes, or goes on.
type stuck struct {
	in     chan struct{} // closed once it is stuck
	let    chan struct{}
	crash  bool
	device string
	phase  rack.Phase
	once   sync.Once
}

func (w *world) stick(device string, phase rack.Phase, crash bool) *stuck {
	s := &stuck{in: make(chan struct{}), let: make(chan struct{}), crash: crash, device: device, phase: phase}
	w.inject = func(d string, p rack.Phase) {
		if d != s.device || p != s.phase {
			return
		}
		s.once.Do(func() {
			close(s.in)
			<-s.let
			if s.crash {
				panic("the code that drives it is wrong")
			}
		})
	}
	return s
}

// TestAnOrderMeetsAFailure: the device of an order fails, or the rack does, or
// the agent ends, while the order waits for the device's actor.
func TestAnOrderMeetsAFailure(t *testing.T) {
	skip := rack.Order{Verb: rack.Skip, Device: "server-01", Reason: "no disk"}
	// pending gives orders that cannot be decided yet, and returns their answers.
	pending := func(w *world, orders ...rack.Order) chan error {
		answers := make(chan error, len(orders))
		for _, o := range orders {
			go func() { _, err := w.order(o); answers <- err }()
			synctest.Wait()
		}
		if len(answers) > 0 {
			w.t.Errorf("an order was answered before the actor of its device had ended: %v", <-answers)
		}
		return answers
	}
	var s *stuck
	at := func(device string, crash bool) func(*world) {
		return func(w *world) { s = w.stick(device, rack.Configuration, crash) }
	}
	t.Run("the actor of a server crashes as it is stopped for a skip", func(t *testing.T) {
		drama(t, testRack("r2", 2, 0, 2), at("server-01", true), func(w *world) {
			<-s.in
			answer := pending(w, skip)
			close(s.let)
			if err := <-answer; err != nil {
				w.t.Error(err)
			}
			w.ends()
			w.check(w.count(rack.DeviceFailed, "", 0), w.count(rack.DeviceReady, "server-01", 0), w.count(rack.RackCompleted, "", 1),
				w.nothingAfter(rack.DeviceSkipped, "server-01"), w.gone("server-01"))
		})
	})
	t.Run("the actor of a server crashes as it is stopped for a replacement", func(t *testing.T) {
		drama(t, testRack("r2", 2, 0, 2), at("server-01", true), func(w *world) {
			<-s.in
			w.erased("server-01")
			answer := pending(w, rack.Order{Verb: rack.Replace, Device: "server-01"})
			close(s.let)
			if err := <-answer; err != nil {
				w.t.Error(err)
			}
			w.later(time.Minute, func() { w.dhcp("server-01", rack.DHCPBMC, rack.StageBMC, w.rack.Devices[3].Management) })
			w.ends()
			w.check(w.completed())
		})
	})
	t.Run("the actor of a switch crashes as it is stopped for a reimage", func(t *testing.T) {
		drama(t, testRack("r2", 2, 0, 2), at("tor-1", true), func(w *world) {
			<-s.in
			answer := pending(w, rack.Order{Verb: rack.Reimage, Device: "tor-1"}, skip)
			close(s.let)
			for range 2 {
				if err := <-answer; err == nil || !strings.Contains(err.Error(), "being halted") {
					w.t.Errorf("answered with %v", err)
				}
			}
			w.ends()
			w.check(w.halted("tor-1", "crashed"))
		})
	})
	t.Run("another switch fails while an order waits", func(t *testing.T) {
		drama(t, testRack("r2", 2, 0, 2), func(w *world) {
			s = w.stick("tor-2", rack.Configuration, false)
			w.breaks["tor-1 configuration"] = forever
		}, func(w *world) {
			<-s.in
			answer := pending(w, rack.Order{Verb: rack.Reimage, Device: "tor-2"}, skip)
			w.until("tor-1 has failed", w.is("tor-1", rack.Failed))
			close(s.let)
			for range 2 {
				if err := <-answer; err == nil || !strings.Contains(err.Error(), "being halted") {
					w.t.Errorf("answered with %v", err)
				}
			}
			w.ends()
			w.check(w.halted("tor-1", ""))
		})
	})
	t.Run("the agent is stopped while orders wait", func(t *testing.T) {
		drama(t, testRack("r2", 2, 0, 2), at("server-01", false), func(w *world) {
			<-s.in
			answers := pending(w, skip, rack.Order{Verb: rack.Skip, Device: "server-02", Reason: "no disk"}, rack.Order{Verb: rack.HaltNow})
			w.system.Root.Stop(w.pid)
			for range 3 {
				if err := <-answers; !errors.Is(err, ErrEnding) {
					w.t.Errorf("answered with %v", err)
				}
			}
			late := make(chan error, 1)
			go func() { _, err := w.order(skip); late <- err }()
			synctest.Wait()
			close(s.let)
			if err := <-late; !errors.Is(err, ErrEnding) && !errors.Is(err, ErrGone) {
				w.t.Errorf("answered with %v", err)
			}
			synctest.Wait()
			if _, err := w.order(skip); !errors.Is(err, ErrGone) {
				w.t.Errorf("a dead agent answered with %v", err)
			}
			if n := len(logged(t, w, rack.DeviceSkipped)); n != 0 {
				w.t.Error("an order that was refused is in the journal")
			}
		})
	})
}

// TestAnAskOfAnActorThatEnds: what lies in a mailbox when its actor ends is lost,
// and whoever asked is told.
func TestAnAskOfAnActorThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system, let := newSystem(), make(chan struct{})
		pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if c.Message() == "wait" {
				<-let
			}
		}))
		system.Root.Send(pid, "wait")
		answer := make(chan error, 1)
		go func() { _, err := Ask[int](context.Background(), system, pid, "never read"); answer <- err }()
		synctest.Wait()
		system.Root.Stop(pid)
		close(let)
		select {
		case err := <-answer:
			if !errors.Is(err, ErrGone) {
				t.Error(err)
			}
		case <-time.After(time.Hour):
			t.Error("it was never answered")
		}
		time.Sleep(settle)
	})
}

// TestHaltAtAnyTime halts a rack at every stage, in which some device or other
// is in flight; the next life brings it to its end.
func TestHaltAtAnyTime(t *testing.T) {
	every := 97 * time.Second
	if testing.Short() || underRace {
		every *= 5
	}
	for at := time.Second; at < 40*time.Minute; at += every {
		t.Run(at.String(), func(t *testing.T) {
			drama(t, testRack("r2", 2, 1, 2), func(w *world) { w.breaks["tor-1 install"], w.breaks["server-02 install"] = 1, 1 }, func(w *world) {
				time.Sleep(at)
				w.must(rack.Order{Verb: rack.HaltNow})
				w.ends()
				w.check(w.count(rack.RackHalted, "", 1), w.count(rack.DeviceFailed, "", 0))
				w.resume()
				w.again()
				w.ends()
				w.check(w.count(rack.RackCompleted, "", 1), w.count(rack.DeviceReady, "", 6), w.each(rack.DeviceReady, 1), w.once())
			})
		})
	}
}
