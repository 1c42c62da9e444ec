package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

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
		{"systems whose DHCP client names no boot stage", func(w *world) { w.unnamed = true },
			func(w *world) {
				// A client of that kind before its installer has reported proves nothing.
				w.until("server-01 is installed", w.in("server-01", "write"))
				w.dhcp("server-01", rack.DHCPOS, rack.StageOS, w.rack.Devices[4].Data[0])
				w.ends()
				w.check(w.completed(), w.each(rack.DeviceReady, 1), w.once())
				var proved []string
				for _, e := range w.find(rack.Observed, "server-01") {
					if e.Detail.Seen.Stage == rack.StageUnknown {
						proved = append(proved, string(e.Detail.Seen.Proves))
					}
				}
				if len(proved) < 2 || proved[0] != "" || proved[1] != string(rack.DHCPOS) {
					w.t.Errorf("it proved %q", proved)
				}
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
				w.ordered(rack.Order{Verb: rack.Resume, All: true})
				w.again()
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 6), w.once(), w.count(rack.RackCompleted, "", 1))
			}},
		{"only the management switch, halted and resumed", func(w *world) { w.options = func(o *Options) { o.Only = []string{"mgmt-1"} } },
			func(w *world) {
				w.until("mgmt-1 is installed", w.in("mgmt-1", "write"))
				w.must(rack.Order{Verb: rack.HaltNow})
				w.ends()
				w.resume()
				w.again()
				w.ends()
				w.check(w.count(rack.DeviceReady, "", 1), w.count(rack.TicketIssued, "", 1), w.count(rack.RackHalted, "", 2), w.count(rack.RackCompleted, "", 0))
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
				w.must(rack.Order{Verb: rack.Resume, All: true})
				w.ends()
				w.check(w.completed(), w.once())
			}},
	} {
		t.Run(tt.name, func(t *testing.T) { drama(t, testRack("r2", 2, 0, 3), tt.prepare, tt.act) })
	}
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
