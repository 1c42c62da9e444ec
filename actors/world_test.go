package actors

import (
	"context"
	"errors"
	"fmt"
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
	t         *testing.T
	system    *actor.ActorSystem
	agent     *Agent
	pid       *actor.PID
	platforms map[string]rack.Platform
	rack      *rack.Rack
	log       *journal.Memory
	ctx       context.Context
	cancel    context.CancelFunc

	mu        sync.Mutex
	events    []rack.Event
	jobs      []string // "device action", as they were started
	tickets   map[string]bool
	delivered map[string]bool // tickets that were offered as delivered
	served    []string        // devices that reported their installation
	mute      map[string]bool
	unnamed   bool           // the systems of servers have a DHCP client that names no boot stage
	breaks    map[string]int // "device action" or "device install": how often it goes wrong
	imaged    map[string]bool
	ended     chan error
	inject    func(string, rack.Phase)
	hold      chan struct{} // what Announce waits for
	// silentBMC is a server whose BMC sends no DHCP packet and answers only
	// once the management switch forwards.
	silentBMC string
	// hears is what each port of a switch hears; a switch that is not ready is
	// not to be asked. asked counts the questions.
	hears    map[rack.Port]string
	asked    map[string]int
	forwards bool
	strategy Supervision
	table    []rack.Observation // what the management switch's MAC table begins with
	options  func(*Options)     // the last word on what the agent is built from; may be nil
	wg       sync.WaitGroup

	// An agent may die and another one go on; the devices live on meanwhile.
	life    int
	alive   context.Context // of this life; ends when it is killed
	die     context.CancelFunc
	up      chan struct{}   // closed once the agent of this life has said what it serves
	writing map[string]bool // it is being installed right now
	running map[string]bool // its installed system answers at its own address
	boots   map[string]int  // power cycles: one that comes later cuts an earlier boot short
	open    map[string]bool // tickets that are served now
	cut     *cutLog         // the journal of an agent that is to die; nil: of one that is not
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
	w := &world{t: t, system: system, rack: r, platforms: platform.All(), log: journal.NewMemory(), tickets: map[string]bool{}, delivered: map[string]bool{}, mute: map[string]bool{},
		breaks: map[string]int{}, imaged: map[string]bool{}, strategy: DefaultSupervision(),
		writing: map[string]bool{}, running: map[string]bool{}, boots: map[string]int{}, open: map[string]bool{}, hears: map[rack.Port]string{}, asked: map[string]int{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// start begins a life of the agent: the first one, or one after a kill.
func (w *world) start() {
	images := map[string]rack.Image{}
	for _, d := range w.rack.Devices {
		images[d.Name] = rack.Image{Name: "image-of-" + string(d.Role), Digest: "sha256:00", Size: 1}
	}
	w.mu.Lock()
	w.life++
	life, ended := w.life, make(chan error, 1)
	w.ended, w.events, w.up = ended, nil, make(chan struct{})
	w.alive, w.die = context.WithCancel(w.ctx)
	o := Options{
		Log: w.log, Rack: w.rack, Platforms: w.platforms, Images: images, PlanHash: "test", RunID: "run-1",
		Executor: w, Scanner: w,
		Offer:    func(o Offer) { w.offer(life, o) },
		Announce: func(e rack.Event) { w.announce(life, e) },
		Ended:    func(err error) { ended <- err },
		DHCP: func(func(*messages.DeviceSeen)) (DHCPServer, error) {
			return serverFunc(func(ctx context.Context) error { <-ctx.Done(); return nil }), nil
		},
		DiscoveryLimit: 10 * time.Minute, ScanEvery: 10 * time.Second, Supervision: w.strategy, Inject: w.inject,
	}
	if w.cut != nil {
		o.Log = w.cut
	}
	if w.options != nil {
		w.options(&o)
	}
	agent := NewAgent(o)
	w.agent = agent
	w.pid = actor.NewPID(w.system.Address(), fmt.Sprintf("agent-%s-%d", w.rack.Name, life))
	system, pid := w.system, w.pid
	w.mu.Unlock()
	if _, err := system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return agent }), pid.Id); err != nil {
		w.t.Fatal(err)
	}
}

// agentUp waits until an agent serves: a device that gets no answer asks again.
// It reports false when the world ends before.
func (w *world) agentUp() (*actor.ActorSystem, *actor.PID, context.Context, bool) {
	for {
		w.mu.Lock()
		system, pid, alive, up := w.system, w.pid, w.alive, w.up
		w.mu.Unlock()
		select {
		case <-up:
			if alive.Err() == nil {
				return system, pid, alive, true
			}
		case <-w.ctx.Done():
		case <-alive.Done():
		}
		select {
		case <-time.After(time.Second):
		case <-w.ctx.Done():
			return nil, nil, nil, false
		}
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
	if muted {
		return
	}
	if system, _, _, ok := w.agentUp(); ok {
		system.EventStream.Publish(&messages.DeviceSeen{Observation: messages.FromObservation(&o)})
	}
}

func (w *world) dhcp(device string, e rack.Evidence, stage rack.Stage, via rack.Port) {
	mac := ""
	if d, ok := w.rack.Device(device); ok && w.unnamed && d.Role == rack.Server && stage != rack.StageBMC {
		mac = "52:54:00:00:00:" + device[len(device)-2:]
		if stage == rack.StageOS {
			e, stage = rack.DHCPUnnamed, rack.StageUnknown
		}
	}
	w.publish(rack.Observation{Source: rack.FromDHCP, Device: device, MAC: mac, Via: via, Stage: stage, Proves: e})
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
	if !w.running[device] || w.mute[device] {
		return rack.Observation{}, errors.New("no answer")
	}
	return rack.Observation{Source: rack.FromReceipt, Device: device, Proves: rack.ReceiptFound}, nil
}

func (w *world) Neighbours(_ context.Context, device string) (out []rack.Observation, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.events, func(e rack.Event) bool { return e.Kind == rack.DeviceReady && e.Device == device }) {
		w.t.Errorf("%s was asked for its neighbours before it was ready", device)
	}
	w.asked[device]++
	if w.mute[device] {
		return nil, errors.New("no answer")
	}
	for p, far := range w.hears {
		if p.Device == device && far != "" {
			out = append(out, rack.Observation{Source: rack.FromLLDP, Via: p, Message: far})
		}
	}
	return out, nil
}

func (w *world) MACTable(context.Context, string) ([]rack.Observation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, ok := w.rack.Device(w.silentBMC)
	if !ok {
		return nil, nil
	}
	return append(slices.Clone(w.table), rack.Observation{Source: rack.FromMACTable, MAC: "52:54:00:00:00:aa", Via: d.Management}), nil
}

// Do is what the devices do when they are told. What an agent that dies had
// told them reaches them all the same.
func (w *world) Do(ctx context.Context, job Job) error {
	w.mu.Lock()
	w.jobs = append(w.jobs, job.Device+" "+string(job.Step.Action))
	alive := w.alive
	w.mu.Unlock()
	w.untouchable(job)
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		if alive.Err() == nil {
			return ctx.Err()
		}
	}
	if w.broken(job.Device + " " + string(job.Step.Action)) {
		return errors.New("the device answered with an error")
	}
	dev, _ := w.rack.Device(job.Device)
	switch job.Step.Action {
	case rack.PowerCycle, rack.PowerOn:
		w.mu.Lock()
		w.boots[dev.Name]++
		boot := w.boots[dev.Name]
		w.mu.Unlock()
		w.later(time.Minute, func() {
			w.mu.Lock()
			last := w.boots[dev.Name] == boot
			w.mu.Unlock()
			if last {
				w.dhcp(dev.Name, rack.DHCPPXE, rack.StageIPXE, firstData(dev))
			}
		})
	case rack.BootInstaller:
		w.erased(dev.Name)
		w.later(time.Minute, func() { w.onie(dev) })
	case rack.PushConfig:
		if dev.Role == rack.ManagementSwitch {
			w.opened()
		}
	}
	return nil
}

// untouchable fails the test when a device is powered or has its boot device
// changed while it is written, or when it runs what it was given.
func (w *world) untouchable(job Job) {
	switch job.Step.Action {
	case rack.BootPXE, rack.PowerOn, rack.PowerCycle:
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing[job.Device] || w.imaged[job.Device] {
		w.t.Errorf("%s got %s (step %s, attempt %d) while it was written, or after", job.Device, job.Step.Action, job.Step.Name, job.Attempt)
	}
}

// erased takes back what was installed: an operator ordered the device anew.
func (w *world) erased(device string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.imaged, device)
	delete(w.running, device)
	delete(w.writing, device)
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
	before := w.forwards
	w.forwards = true
	silent := w.silentBMC
	w.mu.Unlock()
	if before {
		return
	}
	for i := range w.rack.Devices {
		d := &w.rack.Devices[i]
		switch d.Role {
		case rack.ToRSwitch, rack.InterRackSwitch:
			w.later(20*time.Second, func() { w.onie(d) })
		case rack.Server:
			if d.Name == silent {
				continue
			}
			w.later(30*time.Second, func() { w.dhcp(d.Name, rack.DHCPBMC, rack.StageBMC, d.Management) })
		}
	}
}

func (w *world) announce(life int, e rack.Event) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if life == w.life {
		w.events = append(w.events, e)
	}
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
		w := newWorld(t, NewSystem(), r)
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
