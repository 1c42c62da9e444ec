package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// crash puts a nil-pointer panic into a device's actor in a phase, count times.
func crash(w *world, device string, phase rack.Phase, count int) {
	var left atomic.Int64
	left.Store(int64(count))
	w.inject = func(d string, p rack.Phase) {
		if d == device && p == phase && left.Add(-1) >= 0 {
			var nothing *rack.Device
			_ = nothing.Name
		}
	}
}

const forever = 1 << 30

// story is one failure and what it must lead to. Each check names the entry of
// the supervision table that it holds in place.
type story struct {
	name    string
	entry   string // of Supervision
	prepare func(*world)
	check   func(*world) error
}

var stories = []story{
	{"a switch whose retries are used up halts the rack", "halt",
		func(w *world) { w.breaks["tor-1 install"] = forever },
		func(w *world) error {
			return errors.Join(w.halted("tor-1", "installation"), w.untouchedServers(), w.servedToTheEnd("tor-2"))
		}},
	{"a bug in the code that drives a switch halts the rack at once", "halt",
		func(w *world) { crash(w, "tor-2", rack.Configuration, 1) },
		func(w *world) error {
			return errors.Join(w.halted("tor-2", "crashed"), w.untouchedServers(), w.servedToTheEnd("tor-1"))
		}},
	{"a switch that is never seen halts the rack", "halt",
		func(w *world) { w.mute["tor-1"] = true },
		func(w *world) error { return errors.Join(w.halted("tor-1", "never seen"), w.untouchedServers()) }},
	{"the last switch fails when everything else is settled", "rack",
		func(w *world) {
			for _, d := range []string{"server-01", "server-02", "server-03"} {
				w.mute[d] = true
			}
			crash(w, "tor-1", rack.Configuration, 1)
			w.breaks["tor-1 configuration"] = forever
		},
		func(w *world) error { return w.halted("tor-1", "crashed") }},
	{"a dead BMC of the management switch halts the rack before anything", "rack",
		func(w *world) { w.breaks["mgmt-1 bmc"] = forever },
		func(w *world) error { return w.halted("mgmt-1", "never seen") }},
	{"a halted rack keeps its agent, and its devices are left alone", "rack",
		func(w *world) { w.breaks["tor-1 configuration"] = forever },
		func(w *world) error { return errors.Join(w.halted("tor-1", "error"), w.agentAnswers()) }},
	{"a server whose retries are used up stands alone", "isolate",
		func(w *world) { w.breaks["server-01 configuration"] = forever },
		func(w *world) error {
			return errors.Join(w.completed("server-01"), w.count(rack.DeviceCrashed, "server-01", 0), w.gone("server-01"))
		}},
	{"a server that is never seen stands alone", "isolate",
		func(w *world) { w.mute["server-01"] = true },
		func(w *world) error { return w.completed("server-01") }},
	{"a bug in the code that drives a server: driven again twice, then it stands alone", "restart",
		func(w *world) { crash(w, "server-01", rack.Configuration, forever) },
		func(w *world) error {
			return errors.Join(w.completed("server-01"), w.count(rack.DeviceCrashed, "server-01", 3))
		}},
	{"a bug that goes away: driven again from the journal, and ready", "restart",
		func(w *world) { crash(w, "server-01", rack.Installation, 2) },
		func(w *world) error {
			return errors.Join(w.completed(), w.count(rack.DeviceCrashed, "server-01", 2), w.count(rack.TicketIssued, "server-01", 1))
		}},
	{"trouble that goes away is retried", "isolate",
		func(w *world) { w.breaks["server-01 install"] = 2 },
		func(w *world) error {
			return errors.Join(w.completed(), w.count(rack.TicketIssued, "server-01", 3))
		}},
}

func TestFailures(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			play(t, testRack("r2", 2, 0, 3), s.prepare, func(t *testing.T, w *world) {
				if err := s.check(w); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestEveryWrongDirectiveIsNoticed replaces each entry of the supervision table
// by each wrong strategy and demands that a story of that entry no longer holds.
func TestEveryWrongDirectiveIsNoticed(t *testing.T) {
	right := map[string]actor.Directive{"halt": actor.EscalateDirective, "isolate": actor.StopDirective, "restart": actor.RestartDirective, "rack": actor.StopDirective}
	for entry, good := range right {
		for _, wrong := range []actor.Directive{actor.ResumeDirective, actor.RestartDirective, actor.StopDirective, actor.EscalateDirective} {
			if wrong == good || (entry == "rack" && wrong == actor.EscalateDirective) { // without a guardian the top escalates by restarting: as Restart
				continue
			}
			t.Run(fmt.Sprintf("%s answered by %v", entry, wrong), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					held := true
					for _, s := range stories {
						if s.entry == entry && held {
							held = holds(t, s, entry, wrong)
						}
					}
					if held {
						t.Errorf("every story of %s still holds although its failures are answered by %v", entry, wrong)
					}
					time.Sleep(settle)
				})
			})
		}
	}
}

// holds plays a story with one wrong entry and reports whether its check still
// passes. A run that does not end within a day does not hold.
func holds(t *testing.T, s story, entry string, wrong actor.Directive) bool {
	w := newWorld(t, NewSystem(), testRack("r2", 2, 0, 3))
	s.prepare(w)
	strategy := actor.NewOneForOneStrategy(restartsPerWindow, restartWindow, always(wrong))
	if entry == "rack" {
		w.strategy.Rack = strategy
	} else {
		w.strategy.Devices[rack.Answer(entry)] = strategy
	}
	w.start()
	var err error
	select {
	case err = <-w.ended:
	case <-time.After(24 * time.Hour):
		err = errors.New("the run did not end within a day")
	}
	synctest.Wait()
	err = errors.Join(err, s.check(w))
	w.finish()
	return err == nil
}

func (w *world) halted(device, cause string) error {
	h := w.find(rack.RackHalted, "")
	if len(h) != 1 || h[0].Device != device || !strings.Contains(h[0].Detail.Error, cause) {
		return fmt.Errorf("rack-halted by %s with %q expected, got %+v", device, cause, h)
	}
	d, f := w.find(rack.RackDraining, device), w.find(rack.DeviceFailed, device)
	if len(d) != 1 || len(f) != 1 || f[0].Seq > d[0].Seq {
		return fmt.Errorf("one device-failed and then one rack-draining of %s expected, got %+v, %+v", device, f, d)
	}
	for _, e := range w.find(rack.StepStarted, "") {
		if e.Seq > h[0].Seq {
			return fmt.Errorf("step %s of %s started after the rack halted", e.Detail.Step, e.Device)
		}
	}
	return w.count(rack.RackCompleted, "", 0)
}

func (w *world) completed(failed ...string) error {
	errs := []error{w.count(rack.RackHalted, "", 0), w.count(rack.RackDraining, "", 0), w.count(rack.RackCompleted, "", 1), w.count(rack.DeviceFailed, "", len(failed)),
		w.count(rack.DeviceReady, "", len(w.rack.Devices)-len(failed))}
	for _, d := range failed {
		errs = append(errs, w.count(rack.DeviceFailed, d, 1))
	}
	return errors.Join(errs...)
}

func (w *world) count(k rack.Kind, device string, want int) error {
	if got := w.find(k, device); len(got) != want {
		return fmt.Errorf("%s of %q: %d times, want %d: %+v", k, device, len(got), want, got)
	}
	return nil
}

func (w *world) untouchedServers() error {
	for _, d := range w.rack.Devices {
		for _, a := range []rack.Action{rack.PowerOn, rack.PowerCycle, rack.BootPXE} {
			if d.Role == rack.Server && w.did(d.Name+" "+string(a)) {
				return fmt.Errorf("%s got the command %s", d.Name, a)
			}
		}
	}
	return nil
}

func (w *world) servedToTheEnd(device string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.imaged[device] {
		return fmt.Errorf("%s was in flight and was not served to the end", device)
	}
	return nil
}

// agentAnswers asks the agent for something that only a living actor answers.
func (w *world) agentAnswers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := Ask[Reported](ctx, w.system, w.pid, &Report{Ticket: "none"}); !errors.Is(err, ErrTicketClosed) {
		return fmt.Errorf("the agent should answer that the ticket is closed, got %w", err)
	}
	return nil
}

// gone says whether the actor of a device was stopped.
func (w *world) gone(device string) error {
	if _, there := w.system.ProcessRegistry.GetLocal(w.pid.Id + "/rack/" + device); there {
		return fmt.Errorf("the actor of %s should have been stopped", device)
	}
	return nil
}

// TestOneSwitchAlone: nothing else is in the rack that could keep a failed switch
// from looking like the last device of a completed run.
func TestOneSwitchAlone(t *testing.T) {
	play(t, testRack("r1", 1, 0, 0), func(w *world) { crash(w, "tor-1", rack.Configuration, 1) }, func(t *testing.T, w *world) {
		if err := w.halted("tor-1", "crashed"); err != nil {
			t.Error(err)
		}
		if e := w.find(rack.DeviceFailed, "tor-1"); len(e) == 1 && e[0].Phase != rack.Configuration {
			t.Errorf("it failed in %s, want configuration", e[0].Phase)
		}
	})
}

func TestDHCPComesBackWithGrowingDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, NewSystem(), testRack("r1", 2, 0, 1))
		w.start()
		defer func() { time.Sleep(settle) }()
		defer w.finish()
		var opened []time.Duration
		begin := time.Now()
		parent := w.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				c.Spawn(actor.PropsFromProducer(func() actor.Actor {
					return &dhcpActor{open: func(func(*messages.DeviceSeen)) (DHCPServer, error) {
						opened = append(opened, time.Since(begin))
						if len(opened) == 3 {
							return nil, errors.New("address in use")
						}
						return serverFunc(func(context.Context) error { return errors.New("socket gone") }), nil
					}}
				}))
			}
		}, actor.WithSupervisor(&Backoff{Base: time.Second, Max: 10 * time.Second, Window: time.Hour})))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := w.system.Root.StopFuture(parent).Wait(); err != nil {
			t.Error(err)
		}
		for i := 2; i < len(opened); i++ {
			delay, want := opened[i]-opened[i-1], min(time.Second<<(i-1), 10*time.Second)
			if delay < want || delay > want+want/5+time.Millisecond {
				t.Errorf("restart %d came after %s, want %s and at most a fifth more", i, delay, want)
			}
		}
		if len(opened) < 8 {
			t.Errorf("opened %d times in two minutes: %v", len(opened), opened)
		}
		if n := len(w.find(rack.RackDraining, "")); n != 0 {
			t.Errorf("the run was disturbed")
		}
	})
}
