package actors

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

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
		system, let := NewSystem(), make(chan struct{})
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
