package actors

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// Scanner looks for devices that do not speak up by themselves. Its methods
// end soon after their context does and are called from many goroutines.
type Scanner interface {
	// ProbeBMC asks whether the BMC of a device answers.
	ProbeBMC(ctx context.Context, device string) (rack.Observation, error)
	// MACTable reads which stations a ready switch has heard, one observation each.
	MACTable(ctx context.Context, device string) ([]rack.Observation, error)
	// Receipt asks a device at its own address for its receipt, and says what
	// that proves: rack.ReceiptFound when it is that of the last ticket,
	// rack.ReceiptForeign when it is not of this run. An error when nobody
	// answers, or when it is of an earlier ticket.
	Receipt(ctx context.Context, device string) (rack.Observation, error)
	// Neighbours reads what a ready switch hears at its ports: an observation for
	// each port that hears something, whose Via is the port and whose Message names
	// the neighbour as "RACK/DEVICE:PORT".
	Neighbours(ctx context.Context, device string) ([]rack.Observation, error)
}

// scan asks, again and again, the BMCs and the management switch for devices
// that were not heard yet. What it finds is published like a DHCP packet is.
// A probe that fails is no event: the device may simply not be there yet.
type scan struct {
	scanner Scanner
	every   time.Duration
	ctx     context.Context
	cancel  context.CancelFunc
	timer   *time.Timer
	running sync.WaitGroup
}

// Messages of a scan to the actor that owns it.
type (
	scanDue   struct{}
	scanEnded struct{}
	// heard is what a switch says of all of its ports.
	heard struct {
		device string
		ports  []rack.Observation
	}
	// tableRead is the MAC table of a switch. It is published, and is one message: its rows
	// may be many, and take no room from what devices say.
	tableRead struct{ rows []rack.Observation }
)

// scanWorkers bounds the probes of one rack that run at once.
const scanWorkers = 32

func newScan(s Scanner, every time.Duration, c actor.Context) *scan {
	n := &scan{scanner: s, every: every}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	c.Send(c.Self(), &scanDue{})
	return n
}

// arm lets the next round begin after the interval.
func (s *scan) arm(c actor.Context) {
	system, self := c.ActorSystem(), c.Self()
	s.timer = time.AfterFunc(s.every, func() { system.Root.Send(self, &scanDue{}) })
}

// round is whom one round of a scan asks.
type round struct {
	bmcs    []string // whose BMC is to be asked
	tables  []string // switches whose MAC table is to be read
	systems []string // who is to be asked for its receipt

	neighbours []string // switches that are to be asked whom they hear; their answers go to the actor
}

// start begins one round in the background; it ends with scanEnded.
func (s *scan) start(c actor.Context, r round) {
	system, self := c.ActorSystem(), c.Self()
	publish := func(o rack.Observation) {
		system.EventStream.Publish(&messages.DeviceSeen{Observation: messages.FromObservation(&o)})
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.ask(r, publish, func(t *tableRead) { system.EventStream.Publish(t) }, func(h *heard) { system.Root.Send(self, h) })
		if s.ctx.Err() == nil {
			system.Root.Send(self, &scanEnded{})
		}
	}()
}

// targets are the devices whose BMC is to be asked (nothing was heard through
// their management cable yet), and the switches whose table may name an unseen one.
func targets(run *rack.Run) (bmcs, tables []string) {
	unseen := false
	for i := range run.Rack.Devices {
		d := &run.Rack.Devices[i]
		seen := run.Device(d.Name).Seen
		unseen = unseen || !seen
		open := run.Gates(d.Name)[rack.ManagementOpen] && seen // one that was replaced is unseen behind an open link
		if d.BMC != nil && !open && run.Reachable(d.Name) && run.Wanted(d.Name) && run.Device(d.Name).Status != rack.Skipped {
			bmcs = append(bmcs, d.Name)
		}
	}
	if mgmt := run.Rack.ManagementSwitchName(); unseen && run.Device(mgmt).Status == rack.Ready {
		tables = append(tables, mgmt)
	}
	return bmcs, tables
}

// installed are the switches that should be in their installer and speak as an
// installed system instead: what they hold is asked for.
func installed(run *rack.Run) (systems []string) {
	for i := range run.Rack.Devices {
		dev := &run.Rack.Devices[i]
		d := run.Device(dev.Name)
		if !run.Wanted(dev.Name) {
			continue
		}
		if d.Status == rack.Waiting && d.Ordered != "" && run.Reachable(dev.Name) && waitsForONIE(run, dev) {
			systems = append(systems, dev.Name) // hardware that was ordered anew, and that may run a system in silence
			continue
		}
		if d.Status != rack.Discovering || d.Stage == rack.StageONIE || d.Stage == "" && d.Ordered == "" {
			continue
		}
		for _, s := range run.Platforms[dev.Platform].Steps {
			if s.Name == d.Step && s.Until == rack.DHCPONIE {
				systems = append(systems, dev.Name)
			}
		}
	}
	return systems
}

// waitsForONIE reports whether a device is discovered by its installer environment.
func waitsForONIE(run *rack.Run, dev *rack.Device) bool {
	return slices.ContainsFunc(run.Platforms[dev.Platform].Steps, func(s rack.Step) bool { return s.Until == rack.DHCPONIE })
}

// interrupted are the devices whose installation an earlier life began to wait
// for, and those that failed and are to go on. What they did while nobody
// listened they do not say again: an address that was acknowledged is not asked
// for twice.
func interrupted(run *rack.Run, born uint64) (systems []string) {
	for i := range run.Rack.Devices {
		name := run.Rack.Devices[i].Name
		if d := run.Device(name); d.Status == rack.Installing && d.Since > 0 && (d.Since <= born || d.Retried) && run.Wanted(name) {
			systems = append(systems, name)
		}
	}
	return systems
}

func (s *scan) ask(r round, publish func(rack.Observation), table func(*tableRead), hear func(*heard)) {
	ctx, cancel := context.WithTimeout(s.ctx, max(s.every, scanFloor))
	defer cancel()
	slots := make(chan struct{}, scanWorkers)
	var wg sync.WaitGroup
	each := func(ask func()) {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			ask()
		}()
	}
	for _, d := range r.bmcs {
		each(func() {
			if o, err := s.scanner.ProbeBMC(ctx, d); err == nil {
				publish(o)
			}
		})
	}
	for _, d := range r.systems {
		each(func() {
			if o, err := s.scanner.Receipt(ctx, d); err == nil {
				publish(o)
			}
		})
	}
	for _, d := range r.neighbours {
		each(func() {
			if ports, err := s.scanner.Neighbours(ctx, d); err == nil {
				hear(&heard{d, ports})
			}
		})
	}
	for _, d := range r.tables {
		each(func() {
			if rows, err := s.scanner.MACTable(ctx, d); err == nil && len(rows) > 0 {
				table(&tableRead{rows})
			}
		})
	}
	wg.Wait()
}

// scanFloor is the least time that one round gives its probes.
const scanFloor = 2 * time.Second

// end stops the scan and waits for its probes.
func (s *scan) end() {
	s.cancel()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.running.Wait()
}
