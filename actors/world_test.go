package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// world is a rack without wires, in virtual time: it answers the commands of an
// agent with the observations that real devices would cause. It stands in for
// sockets, which cannot live in a synctest bubble; internal/sim has the wires.
type world struct {
	t      *testing.T
	system *actor.ActorSystem
	agent  *Agent
	pid    *actor.PID
	rack   *rack.Rack
	log    *journal.Memory
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	events    []rack.Event
	jobs      []string // "device action", as they were started
	tickets   map[string]bool
	delivered map[string]bool // tickets that were offered as delivered
	served    []string        // devices that reported their installation
	mute      map[string]bool
	breaks    map[string]int // "device action" or "device install": how often it goes wrong
	imaged    map[string]bool
	ended     chan error
	inject    func(string, rack.Phase)
	hold      chan struct{} // what Announce waits for
	// silentBMC is a server whose BMC sends no DHCP packet and answers only
	// once the management switch forwards.
	silentBMC string
	forwards  bool
	strategy  Supervision
	only      []string // devices that the run is asked for first
	wg        sync.WaitGroup
}

func newSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}))
}

// testRack is 1 management switch, tors ToR switches, spines inter-rack
// switches and servers servers.
func testRack(name string, tors, spines, servers int) *rack.Rack {
	addr := func(third, last int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, byte(third), byte(last)}) }
	r := &rack.Rack{Name: name, Number: 2, Agent: rack.Agent{Cable: rack.Port{Device: "mgmt-1", Name: "99"}},
		Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("192.168.2.0/24")}
	r.Devices = append(r.Devices, rack.Device{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: platform.SimManagement, Address: addr(100, 1),
		BMC: &rack.BMC{Protocol: "ipmi", Address: addr(100, 201), Credentials: "env:X"}})
	for i := range tors {
		r.Devices = append(r.Devices, rack.Device{Name: fmt.Sprintf("tor-%d", i+1), Role: rack.ToRSwitch, Platform: platform.SimToR, Address: addr(100, 2+i),
			Management: rack.Port{Device: "mgmt-1", Name: fmt.Sprint(60 + i)}, Data: []rack.Port{{Device: "mgmt-1", Name: fmt.Sprint(70 + i)}}})
	}
	for i := range spines {
		r.Devices = append(r.Devices, rack.Device{Name: fmt.Sprintf("inter-rack-%d", i+1), Role: rack.InterRackSwitch, Platform: platform.SimSpine, Address: addr(100, 20+i),
			Management: rack.Port{Device: "mgmt-1", Name: fmt.Sprint(80 + i)}})
	}
	for i := range servers {
		d := rack.Device{Name: fmt.Sprintf("server-%02d", i+1), Role: rack.Server, Platform: platform.SimServer, Address: addr(2, 10+i),
			BMC:        &rack.BMC{Protocol: "ipmi", Address: addr(100, 100+i), Credentials: "env:X"},
			Management: rack.Port{Device: "mgmt-1", Name: fmt.Sprint(1 + i)}}
		for n := range tors {
			d.Data = append(d.Data, rack.Port{Device: fmt.Sprintf("tor-%d", n+1), Name: fmt.Sprint(1 + i)})
		}
		r.Devices = append(r.Devices, d)
	}
	return r
}

func newWorld(t *testing.T, system *actor.ActorSystem, r *rack.Rack) *world {
	w := &world{t: t, system: system, rack: r, log: journal.NewMemory(), tickets: map[string]bool{}, delivered: map[string]bool{}, mute: map[string]bool{},
		breaks: map[string]int{}, imaged: map[string]bool{}, ended: make(chan error, 1), strategy: DefaultSupervision()}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *world) start() {
	images := map[string]rack.Image{}
	for _, d := range w.rack.Devices {
		images[d.Name] = rack.Image{Name: "image-of-" + string(d.Role), Digest: "sha256:00", Size: 1}
	}
	w.agent = NewAgent(Options{
		Log: w.log, Rack: w.rack, Platforms: platform.All(), Images: images, PlanHash: "test", Only: w.only,
		Executor: w, Scanner: w, Offer: w.offer, Announce: w.announce,
		Ended: func(err error) { w.ended <- err },
		DHCP: func(func(*messages.DeviceSeen)) (DHCPServer, error) {
			return serverFunc(func(ctx context.Context) error { <-ctx.Done(); return nil }), nil
		},
		DiscoveryLimit: 10 * time.Minute, ScanEvery: 10 * time.Second, Supervision: w.strategy, Inject: w.inject,
	})
	w.pid = actor.NewPID(w.system.Address(), "agent-"+w.rack.Name)
	if _, err := w.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return w.agent }), w.pid.Id); err != nil {
		w.t.Fatal(err)
	}
}

type serverFunc func(context.Context) error

func (f serverFunc) Serve(ctx context.Context) error { return f(ctx) }

// finish ends the agent and everything that the world still had in mind. It
// leaves time for the library's dead letter throttle to end.
func (w *world) finish() {
	w.cancel()
	if err := w.system.Root.StopFuture(w.pid).Wait(); err != nil {
		w.t.Error("stop the agent:", err)
	}
	w.wg.Wait()
}

// later runs fn after virtual time, unless the world ends before.
func (w *world) later(d time.Duration, fn func()) {
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		select {
		case <-time.After(d):
			fn()
		case <-w.ctx.Done():
		}
	}()
}

func (w *world) publish(o rack.Observation) {
	w.mu.Lock()
	muted := w.mute[o.Device]
	w.mu.Unlock()
	if !muted {
		w.system.EventStream.Publish(&messages.DeviceSeen{Observation: messages.FromObservation(&o)})
	}
}

func (w *world) dhcp(device string, e rack.Evidence, stage rack.Stage, via rack.Port) {
	w.publish(rack.Observation{Source: rack.FromDHCP, Device: device, Via: via, Stage: stage, Proves: e})
}

// broken uses up one failure of "device what".
func (w *world) broken(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.breaks[what] == 0 {
		return false
	}
	w.breaks[what]--
	return true
}

func (w *world) ProbeBMC(_ context.Context, device string) (rack.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dev, _ := w.rack.Device(device)
	if w.mute[device] || w.breaks[device+" bmc"] > 0 || (dev.Role == rack.Server && !w.forwards) {
		return rack.Observation{}, errors.New("no answer")
	}
	return rack.Observation{Source: rack.FromBMC, Device: device, UUID: device}, nil
}

func (w *world) Receipt(_ context.Context, device string) (rack.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.imaged[device] || w.mute[device] {
		return rack.Observation{}, errors.New("no answer")
	}
	return rack.Observation{Source: rack.FromReceipt, Device: device, Proves: rack.ReceiptFound}, nil
}

func (w *world) MACTable(context.Context, string) ([]rack.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.rack.Device(w.silentBMC)
	if !ok {
		return nil, nil
	}
	return []rack.Observation{{Source: rack.FromMACTable, MAC: "52:54:00:00:00:aa", Via: d.Management}}, nil
}

// Do is what the devices do when they are told.
func (w *world) Do(ctx context.Context, job Job) error {
	w.mu.Lock()
	w.jobs = append(w.jobs, job.Device+" "+string(job.Step.Action))
	w.mu.Unlock()
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.broken(job.Device + " " + string(job.Step.Action)) {
		return errors.New("the device answered with an error")
	}
	dev, _ := w.rack.Device(job.Device)
	switch job.Step.Action {
	case rack.PowerCycle, rack.PowerOn:
		w.later(time.Minute, func() { w.dhcp(dev.Name, rack.DHCPPXE, rack.StageIPXE, firstData(dev)) })
	case rack.PushConfig:
		if dev.Role == rack.ManagementSwitch {
			w.opened()
		}
	}
	return nil
}

func firstData(d *rack.Device) rack.Port {
	if d.Role == rack.Server {
		return d.Data[0]
	}
	return rack.Port{}
}

// opened is what happens behind the management switch when it forwards.
func (w *world) opened() {
	w.mu.Lock()
	w.forwards = true
	silent := w.silentBMC
	w.mu.Unlock()
	for i := range w.rack.Devices {
		d := &w.rack.Devices[i]
		switch d.Role {
		case rack.ToRSwitch, rack.InterRackSwitch:
			w.later(20*time.Second, func() { w.dhcp(d.Name, rack.DHCPONIE, rack.StageONIE, d.Management) })
		case rack.Server:
			if d.Name == silent {
				continue
			}
			w.later(30*time.Second, func() { w.dhcp(d.Name, rack.DHCPBMC, rack.StageBMC, d.Management) })
		}
	}
}

// offer is what the devices do with a ticket: they fetch, write, report.
func (w *world) offer(o Offer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range o.Tickets {
		if t.Delivered {
			w.delivered[t.ID] = true
		}
		if w.tickets[t.ID] || !t.Open {
			continue
		}
		w.tickets[t.ID] = true
		d, _ := w.rack.Device(t.Device)
		w.later(2*time.Minute, func() { w.install(t, d) })
	}
}

func (w *world) install(t Ticket, d *rack.Device) {
	onie := d.Role == rack.ToRSwitch || d.Role == rack.InterRackSwitch
	if !onie {
		w.publish(rack.Observation{Source: rack.FromTFTP, Device: d.Name, Proves: rack.FetchedBootLoader})
	}
	w.later(time.Minute, func() { w.publish(rack.Observation{Source: rack.FromHTTP, Device: d.Name, Proves: rack.FetchedImage}) })
	w.later(5*time.Minute, func() {
		failed := w.broken(d.Name + " install")
		if onie {
			if failed {
				w.dhcp(d.Name, rack.DHCPONIE, rack.StageONIE, d.Management)
				return
			}
			w.installed(d.Name)
			w.dhcp(d.Name, rack.DHCPNOS, rack.StageNOS, d.Management)
			return
		}
		proves := rack.ReportedInstalled
		if failed {
			proves = rack.ReportedFailed
		}
		if _, err := Ask[Reported](w.ctx, w.system, w.pid, &Report{Ticket: t.ID,
			Observation: rack.Observation{Source: rack.FromHTTP, Device: d.Name, Proves: proves, Message: "disk broken"}}); err != nil || failed {
			return
		}
		w.installed(d.Name)
		w.later(time.Minute, func() {
			if d.Role == rack.Server {
				for _, p := range d.Data {
					w.dhcp(d.Name, rack.DHCPOS, rack.StageOS, p)
				}
			} else {
				w.dhcp(d.Name, rack.DHCPNOS, rack.StageNOS, rack.Port{})
			}
		})
	})
}

func (w *world) installed(device string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.served = append(w.served, device)
	w.imaged[device] = true
}

func (w *world) announce(e rack.Event) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// find lists the events of a kind about a device ("" for any).
func (w *world) find(k rack.Kind, device string) []rack.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []rack.Event
	for _, e := range w.events {
		if e.Kind == k && (device == "" || e.Device == device) {
			out = append(out, e)
		}
	}
	return out
}

func (w *world) did(job string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.jobs, job)
}

// play runs a world in virtual time until its run ends, and fails the test when
// it does not end within a day of it.
func play(t *testing.T, r *rack.Rack, prepare func(*world), check func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newSystem(), r)
		if prepare != nil {
			prepare(w)
		}
		w.start()
		select {
		case err := <-w.ended:
			if err != nil {
				t.Error("the agent ended with", err)
			}
		case <-time.After(24 * time.Hour):
			t.Error("the run did not end within a day")
		}
		synctest.Wait()
		check(t, w)
		failed := len(w.find(rack.DeviceFailed, ""))
		w.finish()
		time.Sleep(settle)
		if n := len(logged(t, w, rack.DeviceFailed)); n != failed {
			t.Errorf("%d devices failed during the run, and %d when the agent was stopped", failed, n-failed)
		}
		w.proven()
	})
}

// proven holds what was journalled against the rules of an audit.
func (w *world) proven() {
	var events []rack.Event
	if _, err := replay(w.log, 1, func(e rack.Event) { events = append(events, e) }); err != nil {
		w.t.Error(err)
	}
	if _, err := audit.Prove(w.rack, w.agent.o.Platforms, events); err != nil {
		w.t.Error("the journal does not hold:", err)
	}
}

// logged reads the events of a kind from the journal itself.
func logged(t *testing.T, w *world, k rack.Kind) (out []rack.Event) {
	_, err := replay(w.log, 1, func(e rack.Event) {
		if e.Kind == k {
			out = append(out, e)
		}
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// settle is the virtual time after which the library's throttles, and the last restart
// of a Backoff, have ended.
const settle = time.Minute
