package actors

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
)

// rackSupervisor owns the slots and routes of one run. It receives every event
// of the journal from Agent, spawns a DeviceActor at a component's first bound
// observation or at its discovery deadline, and tells the DeviceActors which
// gates hold. It implements actor.SupervisorStrategy for them.
type rackSupervisor struct {
	o         *Options
	pool      *pool
	run       *rack.Run
	head      uint64                // last event applied
	devices   map[string]*actor.PID // live DeviceActors by slot
	crashed   map[string]error      // last bug of a live DeviceActor
	deadlines map[string]*armed
	arms      uint64            // deadlines that were armed so far
	free      map[string]*freed // slots that an order is decided for: no actor drives them
	born      uint64            // last event of the lives before this one
	scan      *scan
	against   map[string]map[rack.Network]string // what speaks against cables, by device
	stopping  bool
}

// Messages of a RackSupervisor.
type (
	happened struct{ events []rack.Event } // from Agent: what was journalled, in order
	deadline struct {                      // the discovery deadline of a slot passed
		device string
		arm    uint64
	}
)

// armed is a discovery deadline. One that passed as it was taken back is known by
// its number.
type armed struct {
	timer *time.Timer
	arm   uint64
}

// freed is a slot that an order is decided for.
type freed struct {
	asks    *actor.PID // who waits until its actor is gone; nil once told
	decided bool       // and it is to be driven again once this event is applied:
	after   uint64
}

var _ actor.SupervisorStrategy = (*rackSupervisor)(nil)

func newRackSupervisor(o *Options, p *pool) *rackSupervisor {
	return &rackSupervisor{o: o, pool: p, run: o.newRun(), free: map[string]*freed{}, devices: map[string]*actor.PID{},
		crashed: map[string]error{}, deadlines: map[string]*armed{}}
}

func (s *rackSupervisor) Receive(c actor.Context) {
	if s.stopping {
		// The library goes on delivering what was queued until the last child
		// has ended: a DeviceActor spawned now would never be told to stop.
		return
	}
	switch m := c.Message().(type) {
	case *actor.Started:
		s.start(c)
	case *happened:
		s.apply(c, m.events)
	case *deviceUp:
		if pid := s.devices[m.device]; pid != nil {
			c.Send(pid, &gates{s.run.Gates(m.device), s.against[m.device]})
		}
	case *deadline:
		d := s.deadlines[m.device]
		switch {
		case d == nil || d.arm != m.arm: // of hardware that was replaced
		case s.free[m.device] != nil:
			delete(s.deadlines, m.device) // armed again when it is driven again
		case !s.run.Device(m.device).Seen && s.devices[m.device] == nil:
			s.spawn(c, m.device, fmt.Sprintf("no DHCP packet, no answer of a BMC and no row of a MAC table within %s of its route becoming ready",
				s.o.DiscoveryLimit))
		}
	case *release:
		s.release(c, m.device)
	case *takeUp:
		if f := s.free[m.device]; f != nil {
			f.decided, f.after = true, m.after
			s.takeUp(c)
		}
	case *scanDue:
		bmcs, tables := targets(s.run)
		s.scan.start(c, round{bmcs: bmcs, tables: tables, systems: append(interrupted(s.run, s.born), installed(s.run)...)})
	case *scanEnded:
		s.scan.arm(c)
	case *actor.Terminated:
		s.terminated(c, m.Who)
	case *actor.Stopping, *actor.Restarting:
		s.stopping = true // also: its children end because it ends, not because of what they did
		for _, d := range s.deadlines {
			d.timer.Stop()
		}
		if s.scan != nil {
			s.scan.end()
		}
	}
}

// start rebuilds the run from the journal and takes it up.
func (s *rackSupervisor) start(c actor.Context) {
	head, err := replay(s.o.Log, 1, func(e rack.Event) { s.run.Apply(e) })
	if err != nil {
		panic(fmt.Errorf("read the journal: %w", err))
	}
	s.head, s.born, s.against = head, head, s.run.Against()
	s.look(c)
	for i := range s.o.Rack.Devices {
		name := s.o.Rack.Devices[i].Name
		s.drive(c, name)
		// What an earlier life had to say of a device that became ready, and
		// could not any more.
		if s.run.Device(name).Status == rack.Ready {
			s.becameReady(&s.o.Rack.Devices[i])
		}
	}
}

// look begins to scan once the rack is imaged, and at once then: a management switch
// whose BMC has its address already is known by nothing else.
func (s *rackSupervisor) look(c actor.Context) {
	if s.scan == nil && s.run.Status == rack.Imaging {
		s.scan = newScan(s.o.Scanner, s.o.ScanEvery, c)
	}
}

// drive starts the actor of a device that there is something to do for, or its
// discovery deadline.
func (s *rackSupervisor) drive(c actor.Context, name string) {
	d := s.run.Device(name)
	switch {
	case d.Status == rack.Ready || d.Status == rack.Failed || d.Status == rack.Skipped || !s.run.Wanted(name):
	case s.run.Uncertain(name): // inspected, never touched, until an operator says what to do
	case d.Seen:
		s.spawn(c, name, "")
	case d.Error != "": // its deadline passed in an earlier life
		s.spawn(c, name, d.Error)
	default:
		s.armDeadline(c, name)
	}
}

// apply takes in journalled events. The DeviceActors hear of the gates first:
// what was seen came through links that it proved to be open.
func (s *rackSupervisor) apply(c actor.Context, events []rack.Event) {
	fresh := events[:0:0]
	moved, cabled := false, false
	for _, e := range events {
		if e.Seq <= s.head {
			continue
		}
		s.head = e.Seq
		s.run.Apply(e)
		fresh = append(fresh, e)
		switch e.Kind {
		case rack.DeviceReady, rack.LinkReady, rack.LinkOpen, rack.LinkClosed:
			moved = true
		case rack.Observed, rack.ComponentAmbiguous, rack.NeighbourSeen, rack.DeviceRetried, rack.DeviceBound, rack.ReimageOrdered, rack.DeviceReplaced:
			cabled = true
		}
	}
	s.look(c)
	if moved {
		s.armDeadlines(c)
	}
	if (cabled && s.compare()) || moved {
		s.sendGates(c)
	}
	for _, e := range fresh {
		s.follow(c, e)
	}
	s.takeUp(c)
}

// compare holds the cables against the rack file, and reports whether something speaks
// against others than before.
func (s *rackSupervisor) compare() bool {
	now := s.run.Against()
	same := maps.EqualFunc(now, s.against, maps.Equal[map[rack.Network]string])
	s.against = now
	return !same
}

// follow does what an event asks of this actor, after it was applied.
func (s *rackSupervisor) follow(c actor.Context, e rack.Event) {
	switch e.Kind {
	case rack.RackStarted:
		s.armDeadlines(c)
	case rack.RackResumed: // more devices are to be imaged than before
		for i := range s.o.Rack.Devices {
			if name := s.o.Rack.Devices[i].Name; s.free[name] == nil {
				s.drive(c, name)
			}
		}
	case rack.Observed:
		if pid := s.devices[e.Device]; pid != nil {
			c.Send(pid, &applied{e})
		} else if s.free[e.Device] == nil {
			s.drive(c, e.Device)
		}
	case rack.DeviceReady:
		if dev, ok := s.o.Rack.Device(e.Device); ok {
			s.becameReady(dev)
		}
	case rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceReplaced:
		if d := s.deadlines[e.Device]; d != nil {
			d.timer.Stop()
			delete(s.deadlines, e.Device)
		}
		s.sendGates(c) // links behind a switch that starts over are closed
	}
}

// release lets no actor drive a device, and tells who asked once that is so.
func (s *rackSupervisor) release(c actor.Context, name string) {
	if pid := s.devices[name]; pid != nil {
		s.free[name] = &freed{asks: c.Sender()}
		c.Stop(pid)
		return
	}
	s.free[name] = &freed{}
	c.Respond(&released{})
}

// takeUp drives the devices again whose orders were decided, once what was
// decided is applied. An order that came in meanwhile frees its device anew.
func (s *rackSupervisor) takeUp(c actor.Context) {
	for name, f := range s.free {
		if f.decided && f.after <= s.head {
			delete(s.free, name)
			s.drive(c, name)
		}
	}
}

// becameReady journals what follows from a device that is ready: the links
// whose last switch it is, or what a server did not prove. What was journalled
// already is not journalled again.
func (s *rackSupervisor) becameReady(dev *rack.Device) {
	var events []rack.Event
	for _, x := range s.run.LinksToReady(dev.Name) {
		far, _ := s.o.Rack.Device(x.Device)
		route, _ := s.run.Cabling.Route(x)
		events = append(events, rack.Event{Rack: s.o.Rack.Name, Device: x.Device, Role: far.Role, Kind: rack.LinkReady,
			Detail: rack.Detail{Link: x.Near.String(), Path: strings.Join(route, " > ")}})
	}
	if what := s.run.Unproven(dev.Name); what != "" && dev.Role == rack.Server && !s.run.Found(dev.Name) {
		events = append(events, rack.Event{Rack: s.o.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: rack.DeviceFinding, Detail: rack.Detail{Reason: what}})
	}
	s.journal(events...)
}

func (s *rackSupervisor) sendGates(c actor.Context) {
	for name, pid := range s.devices {
		c.Send(pid, &gates{s.run.Gates(name), s.against[name]})
	}
}

// spawn starts the actor of a component. unseen is empty, or where it was
// looked for in vain.
func (s *rackSupervisor) spawn(c actor.Context, name, unseen string) {
	if s.devices[name] != nil {
		return
	}
	dev, ok := s.o.Rack.Device(name)
	if !ok {
		return
	}
	o, p := s.o, s.pool
	props := actor.PropsFromProducer(func() actor.Actor {
		return &deviceActor{log: o.Log, device: name, image: o.Images[name], unseen: unseen, pool: p, inject: o.Inject, at: o.At,
			machine: rack.NewMachine(o.Rack.Name, dev, o.Platforms[dev.Platform], o.Images[name])}
	})
	pid, err := c.SpawnNamed(props, name)
	if err != nil {
		panic(fmt.Errorf("spawn the actor of %s: %w", name, err))
	}
	s.devices[name] = pid
}

// armDeadlines starts the discovery deadline of every unseen slot whose route
// has become ready.
func (s *rackSupervisor) armDeadlines(c actor.Context) {
	for i := range s.o.Rack.Devices {
		s.armDeadline(c, s.o.Rack.Devices[i].Name)
	}
}

func (s *rackSupervisor) armDeadline(c actor.Context, name string) {
	if s.deadlines[name] != nil || s.run.Device(name).Seen || !s.run.Reachable(name) || !s.run.Wanted(name) || s.run.Uncertain(name) || s.run.Device(name).Status == rack.Skipped {
		return
	}
	s.arms++
	system, self, arm := c.ActorSystem(), c.Self(), s.arms
	s.deadlines[name] = &armed{time.AfterFunc(s.o.DiscoveryLimit, func() { system.Root.Send(self, &deadline{name, arm}) }), arm}
}

// HandleFailure journals what happened to a DeviceActor and hands it to the
// strategy that rack.OnFailure asks for.
func (s *rackSupervisor) HandleFailure(system *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, rs *actor.RestartStatistics, reason, message any) {
	name := slot(child)
	dev, ok := s.o.Rack.Device(name)
	if !ok {
		s.o.Supervision.Rack.HandleFailure(system, supervisor, child, rs, reason, message)
		return
	}
	fault := faultOf(name, reason)
	answer := rack.OnFailure(dev.Role, fault.Kind)
	if answer == rack.Restart {
		s.crashed[name] = fault.Err
		s.journal(rack.Event{Rack: s.o.Rack.Name, Device: name, Role: dev.Role, Kind: rack.DeviceCrashed, Phase: s.phase(name), Detail: rack.Detail{Error: fault.Err.Error()}})
	} else {
		delete(s.crashed, name)
		s.fail(dev, fault.Err)
	}
	s.o.Supervision.Devices[answer].HandleFailure(system, supervisor, child, rs, fault, message)
}

// terminated is told that a DeviceActor is gone. One that crashed too often was
// stopped by its strategy: that is when the device has failed.
func (s *rackSupervisor) terminated(c actor.Context, who *actor.PID) {
	name := slot(who)
	delete(s.devices, name)
	if f := s.free[name]; f != nil && f.asks != nil {
		delete(s.crashed, name) // what it crashed of, also as it was stopped, is over
		c.Send(f.asks, &released{})
		f.asks = nil
	}
	dev, ok := s.o.Rack.Device(name)
	if err := s.crashed[name]; ok && err != nil {
		delete(s.crashed, name)
		s.fail(dev, fmt.Errorf("%w (driven again from the journal %d times)", err, restartsPerWindow))
	}
}

func (s *rackSupervisor) fail(dev *rack.Device, cause error) {
	s.journal(rack.Event{Rack: s.o.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: rack.DeviceFailed,
		Phase: s.phase(dev.Name), Detail: rack.Detail{Error: cause.Error()}})
}

// phase is the last phase that a device started, from the journal: this actor's
// own copy of the run may be behind the DeviceActor.
func (s *rackSupervisor) phase(device string) rack.Phase {
	last := rack.Discovery
	if p := s.run.Device(device).Phase; p != "" {
		last = p
	}
	_, err := replay(s.o.Log, s.head+1, func(e rack.Event) {
		if e.Device == device && e.Kind == rack.PhaseStarted {
			last = e.Phase
		}
	})
	if err != nil {
		panic(fmt.Errorf("read the journal: %w", err))
	}
	return last
}

// journal appends events. A journal that cannot be written ends the run: its
// supervisor fails, and Agent stops it.
func (s *rackSupervisor) journal(events ...rack.Event) {
	if len(events) == 0 {
		return
	}
	stored, err := s.o.Log.Append(events...)
	if err != nil {
		panic(fmt.Errorf("write the journal: %w", err))
	}
	s.o.At(Appended, stored[len(stored)-1].Seq)
}

// slot is the device of a DeviceActor: the last part of its name.
func slot(pid *actor.PID) string { return pid.Id[strings.LastIndexByte(pid.Id, '/')+1:] }
