package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of one simulated rack. Neither is reached by a platform whose limits
// and retries are bounded; they turn a mistake into an answer.
const (
	maxVirtual       = 30 * 24 * time.Hour
	maxTurns         = 20_000 // per device
	turnsPerDeadline = 1024   // between two looks at the context
)

// simulation is one rack in virtual time. It plays Agent and RackSupervisor;
// device.go plays the DeviceActors, world.go the hardware.
type simulation struct {
	*setup
	rng *rand.Rand
	queue
	epoch   time.Time // virtual time 0
	run     *rack.Run
	devices []*device
	trace   trace
	record  func(rack.Event) // may be nil

	seq     uint64
	journal [][]rack.Event     // appended, not applied yet
	opening map[rack.Port]bool // links whose next event is in the journal
	closing bool               // rack-halted or rack-completed was journalled
	driving bool               // the RackSupervisor lives
	armed   []bool             // discovery deadlines, by device
	pool    pool
}

// newSimulation is a rack before anything happens. number is its place among
// the racks of the simulation.
func newSimulation(s *setup, number int, epoch time.Time) *simulation {
	n := &simulation{setup: s, rng: rand.New(rand.NewPCG(s.o.Seed, uint64(number))), epoch: epoch,
		run: rack.NewRun(s.o.Rack, s.o.Platforms), opening: map[rack.Port]bool{}, driving: true,
		armed: make([]bool, len(s.devices)), trace: newTrace(s)}
	for _, d := range s.devices {
		n.devices = append(n.devices, newDevice(n, d))
	}
	return n
}

// begin starts the run of a rack from its first event.
func (s *simulation) begin() {
	s.append(s.event(rack.RackStarted, rack.Detail{PlanHash: "simulation"}))
	for _, d := range s.devices {
		if d.gate < 0 {
			s.expect(d, 0)
		}
	}
}

// play lets the rack run until it has ended, or nothing happens any more.
func (s *simulation) play(ctx context.Context) error {
	for turns := 0; ; turns++ {
		s.deliver()
		if s.run.Status == rack.Completed || s.run.Status == rack.Halted {
			return nil
		}
		if turns > maxTurns*len(s.devices) {
			return fmt.Errorf("rack %s does not come to rest: after %d turns it is %s", s.o.Rack.Name, turns, s.now)
		}
		if turns%turnsPerDeadline == 0 && ctx.Err() != nil {
			return fmt.Errorf("simulate %s: %w", s.o.Rack.Name, context.Cause(ctx))
		}
		if !s.next(maxVirtual) {
			return nil
		}
	}
}

// append journals events: they get their place and their time, and are applied
// by deliver, in order.
func (s *simulation) append(events ...rack.Event) []rack.Event {
	if len(events) == 0 {
		return nil
	}
	at := s.epoch.Add(s.now)
	for i := range events {
		s.seq++
		events[i].Seq, events[i].Time = s.seq, at
	}
	s.journal = append(s.journal, events)
	return events
}

// deliver is the journal's tail, as Agent and RackSupervisor hear of it.
func (s *simulation) deliver() {
	for i := 0; i < len(s.journal); i++ {
		events := s.journal[i]
		for _, e := range events {
			s.apply(e)
		}
		if s.driving {
			s.supervise(events)
		}
	}
	s.journal = s.journal[:0]
}

// apply is what Agent does with an event.
func (s *simulation) apply(e rack.Event) {
	s.run.Apply(e)
	s.trace.apply(s, e)
	if s.record != nil {
		s.record(e)
	}
	switch e.Kind {
	case rack.TicketIssued:
		if t := s.run.Device(e.Device).Ticket; t.Open {
			s.ticket(s.devices[s.byName[e.Device]], t.ID)
		}
	case rack.LinkOpen, rack.LinkClosed:
		if p, err := rack.ParsePort(e.Detail.Link); err == nil {
			delete(s.opening, p)
		}
	case rack.Observed, rack.RackDraining:
		s.drained(false)
	case rack.DeviceReady, rack.DeviceFailed:
		s.completed()
	}
}

// supervise is what RackSupervisor does with events: the gates first, then what
// each of them asks for.
func (s *simulation) supervise(events []rack.Event) {
	for _, e := range events {
		switch e.Kind {
		case rack.LinkReady, rack.LinkOpen, rack.LinkClosed:
			// A link is about the gates of the device at its end only.
			d := s.devices[s.byName[e.Device]]
			s.armDeadline(d)
			s.gates(d)
		case rack.DeviceReady:
			if e.Role.IsSwitch() && s.run.SwitchesReady() {
				for _, d := range s.devices {
					s.gates(d)
				}
			}
		}
	}
	for _, e := range events {
		s.follow(e)
	}
}

func (s *simulation) follow(e rack.Event) {
	switch e.Kind {
	case rack.RackStarted:
		for _, d := range s.devices {
			s.armDeadline(d)
		}
	case rack.Observed:
		if d := s.devices[s.byName[e.Device]]; !d.ended {
			d.machine.Apply(e)
			if d.spawned {
				s.drive(d, rack.Input{Kind: rack.Woken})
			} else {
				s.spawn(d, "")
			}
		}
	case rack.DeviceReady:
		s.linksReady(e)
		if what := s.run.Unproven(e.Device); what != "" && e.Role == rack.Server {
			s.append(rack.Event{Rack: e.Rack, Device: e.Device, Role: e.Role, Kind: rack.DeviceFinding, Detail: rack.Detail{Reason: what}})
		}
	}
}

func (s *simulation) linksReady(e rack.Event) {
	var events []rack.Event
	for _, x := range s.run.LinksToReady(e.Device) {
		far := s.devices[s.byName[x.Device]].dev
		route, _ := s.run.Cabling.Route(x)
		events = append(events, rack.Event{Rack: e.Rack, Device: x.Device, Role: far.Role, Kind: rack.LinkReady,
			Detail: rack.Detail{Link: x.Near.String(), Path: strings.Join(route, " > ")}})
	}
	s.append(events...)
}

// armDeadline starts the discovery deadline of an unseen device whose route has
// become ready.
func (s *simulation) armDeadline(d *device) { s.armDeadlineIn(d, s.o.DiscoveryLimit) }

func (s *simulation) armDeadlineIn(d *device, in time.Duration) {
	if s.armed[d.index] || s.run.Device(d.dev.Name).Seen || !s.run.Reachable(d.dev.Name) {
		return
	}
	s.armed[d.index] = true
	s.after(in, func() {
		if s.driving && !d.spawned && !s.run.Device(d.dev.Name).Seen {
			s.spawn(d, fmt.Sprintf("no DHCP packet, no answer of a BMC and no row of a MAC table within %s of its route becoming ready", s.o.DiscoveryLimit))
		}
	})
}

// observe is what Agent does with something seen on a wire.
func (s *simulation) observe(o rack.Observation) {
	d := s.devices[s.byName[o.Device]].dev
	events := []rack.Event{{Rack: s.o.Rack.Name, Device: d.Name, Role: d.Role, Kind: rack.Observed, Detail: rack.Detail{Seen: &o}}}
	judge := func(k rack.Kind, ports []rack.Port) {
		for _, p := range ports {
			cable, _ := s.run.Cabling.At(p)
			if far, ok := s.byName[cable.Device]; ok && !s.opening[p] {
				s.opening[p] = true
				events = append(events, rack.Event{Rack: s.o.Rack.Name, Device: cable.Device, Role: s.devices[far].dev.Role, Kind: k, Detail: rack.Detail{Link: p.String()}})
			}
		}
	}
	judge(rack.LinkOpen, s.run.LinksOpenedBy(&o))
	judge(rack.LinkClosed, s.run.LinksClosedBy(&o))
	s.append(events...)
}

// report is what Agent does with a device's own word about its job; false when
// its ticket is closed.
func (s *simulation) report(ticket string, o rack.Observation) bool {
	if t := s.run.Device(o.Device).Ticket; !t.Open || t.ID != ticket {
		return false
	}
	s.observe(o)
	return true
}

// completed journals the end of the run once every device is ready or failed.
func (s *simulation) completed() {
	if s.run.Status != rack.Imaging || !s.driving || !s.run.Settled() || s.closing {
		return
	}
	s.closing = true
	ready, failed := s.run.Tally()
	s.append(s.event(rack.RackCompleted, rack.Detail{Ready: ready, Failed: failed}))
}

// fail is what the supervisors do with the fault of a device: rack.OnFailure
// decides.
func (s *simulation) fail(d *device, cause string) {
	d.ended = true
	phase := d.machine.Phase()
	if phase == "" {
		phase = rack.Discovery
	}
	s.append(rack.Event{Rack: s.o.Rack.Name, Device: d.dev.Name, Role: d.dev.Role, Kind: rack.DeviceFailed, Phase: phase, Detail: rack.Detail{Error: cause}})
	if rack.OnFailure(d.dev.Role, rack.Fault) != rack.Halt {
		return
	}
	// Escalated: the rack drains, its RackSupervisor is gone with its children.
	s.driving = false
	s.pool.drain()
	e := s.event(rack.RackDraining, rack.Detail{Error: cause,
		Reason: "no new ticket, power or configuration command; what is being installed is served to its end"})
	e.Device, e.Role = d.dev.Name, d.dev.Role
	s.append(e)
	s.armDrainLimit(0)
}

// armDrainLimit bounds draining, of which elapsed has passed.
func (s *simulation) armDrainLimit(elapsed time.Duration) {
	var limit time.Duration
	for _, d := range s.devices {
		limit = max(limit, s.run.DrainLimit(d.dev.Name))
	}
	s.after(limit-elapsed, func() { s.drained(true) })
}

// drained journals the halt once nothing is in flight any more, or when the
// time for it is up.
func (s *simulation) drained(timeUp bool) {
	if s.run.Status != rack.Draining || s.closing || s.driving {
		return
	}
	open := s.run.OpenTickets()
	if !timeUp && (len(open) > 0 || s.pool.holding > 0) {
		return
	}
	s.closing = true
	ready, failed := s.run.Tally()
	e := s.event(rack.RackHalted, rack.Detail{Error: s.run.Cause, Ready: ready, Failed: failed})
	if len(open) > 0 {
		e.Detail.Reason = fmt.Sprintf("%v did not finish in time and may still be writing", open)
	}
	if i, ok := s.byName[s.run.Blamed]; ok {
		e.Device, e.Role = s.run.Blamed, s.devices[i].dev.Role
	}
	s.append(e)
}

func (s *simulation) event(k rack.Kind, d rack.Detail) rack.Event {
	return rack.Event{Rack: s.o.Rack.Name, Kind: k, Detail: d}
}
