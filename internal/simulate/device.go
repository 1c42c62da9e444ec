package simulate

import (
	"fmt"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// device is one device of a simulated rack: what drives it, and its hardware.
type device struct {
	*spec
	machine *rack.Machine
	spawned bool // its DeviceActor was started
	ended   bool // ready, or failed: nothing more is decided for it

	// Hardware; world.go.
	has        map[*Fault]bool // what it suffers from for good
	dark       []bool          // data cables that nothing passes
	boot       int             // counts its boots and jobs: what an older one had in mind is void
	pxe        bool            // its firmware asked for an address and waits for a boot file
	forwarding bool            // a switch whose configuration is in force
	expected   bool            // it is on its way to its first contact
	cause      map[string]string
}

func newDevice(s *simulation, d *spec) *device {
	n := &device{spec: d, machine: rack.NewMachine(s.o.Rack.Name, d.dev, d.platform, d.image), dark: make([]bool, len(d.dev.Data))}
	n.befall(s)
	return n
}

// spawn starts to drive a device. unseen is empty, or where it was looked for
// in vain.
func (s *simulation) spawn(d *device, unseen string) {
	d.spawned = true
	d.machine.SetGates(s.run.Gates(d.dev.Name))
	if unseen != "" {
		s.drive(d, rack.Input{Kind: rack.NeverSeen, Error: unseen})
		return
	}
	s.drive(d, rack.Input{Kind: rack.Resumed})
	s.drive(d, rack.Input{Kind: rack.Woken})
}

// gates tells a device which gates hold.
func (s *simulation) gates(d *device) {
	if d.spawned && !d.ended {
		d.machine.SetGates(s.run.Gates(d.dev.Name))
		s.drive(d, rack.Input{Kind: rack.Woken})
	}
}

// drive is the loop of a DeviceActor: decide, journal, apply, act, until the
// machine has nothing more to say.
func (s *simulation) drive(d *device, in rack.Input) {
	for s.driving && !d.ended {
		events, commands := d.machine.Step(in)
		for _, e := range s.append(events...) {
			d.machine.Apply(e)
			d.ended = d.ended || e.Kind == rack.DeviceReady
		}
		for _, c := range commands {
			s.act(d, c, 0)
		}
		if len(events) == 0 {
			return
		}
		in = rack.Input{Kind: rack.Woken}
	}
}

// act carries out a command that was given elapsed ago.
func (s *simulation) act(d *device, c rack.Command, elapsed time.Duration) {
	in := rack.Input{Step: c.Step.Name, Attempt: c.Attempt}
	switch c.Kind {
	case rack.Do:
		s.command(d, c, elapsed)
	case rack.ArmLimit:
		s.await(d, c, elapsed)
		in.Kind = rack.LimitPassed
		s.after(c.After-elapsed, func() { s.drive(d, in) })
	case rack.ArmRetry:
		in.Kind = rack.RetryDue
		s.after(c.After-elapsed, func() { s.drive(d, in) })
	case rack.RaiseFault:
		s.fail(d, c.Error)
	}
}

// poolWorkers bounds the actions of one rack that run at once, as in a real run.
const poolWorkers = 64

// pool is the work pool of a rack. Once it drains it starts nothing more.
type pool struct {
	running  int
	holding  int // running actions that must not be interrupted
	waiting  []func()
	draining bool
}

func (p *pool) run(job func()) {
	switch {
	case p.draining:
	case p.running == poolWorkers:
		p.waiting = append(p.waiting, job)
	default:
		p.running++
		job()
	}
}

// done frees the place of a job and starts the next one.
func (p *pool) done() {
	p.running--
	for len(p.waiting) > 0 && p.running < poolWorkers {
		job := p.waiting[0]
		p.waiting = p.waiting[1:]
		p.running++
		job()
	}
}

func (p *pool) drain() { p.draining, p.waiting = true, nil }

// command is one action of a device in the work pool. Its step's limit counts
// from the moment it was given, not from the moment a place was free.
func (s *simulation) command(d *device, c rack.Command, elapsed time.Duration) {
	end := s.now + c.Step.Limit - elapsed
	s.pool.run(func() {
		if s.now >= end {
			s.pool.done() // the machine hears of its limit
			return
		}
		n := d.step[c.Step.Name]
		takes := d.takes[n].Draw(s.rng)
		if elapsed > 0 {
			takes = d.takes[n].Rest(s.rng, elapsed)
		}
		fault := s.strikes(d, n)
		answers := (fault == nil || fault.Kind != Silent) && s.now+takes < end
		if !answers {
			takes = end - s.now
		}
		if c.Step.Uninterruptible {
			s.pool.holding++
		}
		s.after(takes, func() {
			if c.Step.Uninterruptible {
				s.pool.holding--
			}
			s.pool.done()
			if answers {
				s.answer(d, c, fault)
			}
			s.drained(false)
		})
	})
}

// answer is the end of an action: its effect on the device, then its result.
func (s *simulation) answer(d *device, c rack.Command, fault *Fault) {
	if !s.driving && !c.Step.Uninterruptible {
		return // it was interrupted when its actor ended
	}
	in := rack.Input{Kind: rack.ActionDone, Step: c.Step.Name, Attempt: c.Attempt}
	if fault != nil {
		in.Error = fmt.Sprintf("%s: %s", c.Step.Action, fault.Reason)
	} else {
		s.effect(d, c.Step.Action)
	}
	s.drive(d, in)
}
