package simulate

import (
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// befall decides what a device suffers from, at its first attempt or for good.
func (d *device) befall(s *simulation) {
	for _, of := range append([][]*Fault{d.absent}, d.faults...) {
		for _, f := range of {
			if (f.Scope == PerDevice || f.Scope == PerFirst) && s.hits(f) {
				if d.has == nil {
					d.has = map[*Fault]bool{}
				}
				d.has[f] = true
			}
		}
	}
	for i := range d.dark {
		for _, f := range d.cables {
			if s.hits(f) {
				d.dark[i] = true
			}
		}
	}
}

func (s *simulation) hits(f *Fault) bool { return f.Probability > 0 && s.rng.Float64() < f.Probability }

// strikes is what goes wrong in an attempt of a step, or nil.
func (s *simulation) strikes(d *device, step int) *Fault {
	for _, f := range d.faults[step] {
		if d.has[f] || (f.Scope == PerAttempt && s.hits(f)) {
			d.blame(d.waiting(step), f.Reason)
			if f.Scope == PerFirst {
				delete(d.has, f)
			}
			return f
		}
	}
	return nil
}

// waiting names the step that fails when something goes wrong in another one:
// when a host boots again for its installation, that is the first step of it
// that waits.
func (d *device) waiting(step int) string {
	if step == d.netboot && d.machine.Phase() == rack.Installation && len(d.install) > 0 {
		step = d.install[0]
	}
	return d.platform.Steps[step].Name
}

// blame keeps why a step is about to fail, for the count of failures.
func (d *device) blame(step, reason string) {
	if d.cause == nil {
		d.cause = map[string]string{}
	}
	d.cause[step] = reason
}

// effect is what a device does once an action has reached it.
func (s *simulation) effect(d *device, a rack.Action) {
	switch a {
	case rack.BMCLogin:
		s.observe(rack.Observation{Source: rack.FromBMC, Device: d.dev.Name})
	case rack.PowerOn, rack.PowerCycle:
		d.boot++
		d.pxe = false
		if d.netboot >= 0 {
			s.firmware(d, d.takes[d.netboot].Draw(s.rng))
		}
	case rack.PushConfig:
		if !d.forwarding {
			d.forwarding = true
			for _, i := range d.behind {
				s.expect(s.devices[i], 0)
			}
		}
	}
}

// expect lets a device make its first contact, whose way has been open for
// elapsed.
func (s *simulation) expect(d *device, elapsed time.Duration) {
	if d.expected {
		return
	}
	d.expected = true
	for _, f := range d.absent {
		if d.has[f] {
			d.blame(FirstContact, f.Reason)
			return
		}
	}
	in := d.contact.Draw(s.rng)
	if elapsed > 0 {
		in = d.contact.Rest(s.rng, elapsed)
	}
	s.after(in, func() { s.speak(d) })
}

// speak is a device that nobody has told anything yet: it repeats itself until
// its management link is open. What says nothing new is not journalled.
func (s *simulation) speak(d *device) {
	state := s.run.Device(d.dev.Name)
	link := s.run.Link(d.dev.Management)
	open := d.gate < 0 || link == rack.LinkIsOpen
	if d.ended || (state.Seen && open) || !s.driving {
		return
	}
	if !state.Seen || link == rack.LinkIsReady {
		switch {
		case d.onie:
			s.dhcp(d, rack.DHCPONIE, rack.StageONIE, d.dev.Management)
		case d.ztp:
			s.dhcp(d, rack.DHCPNOS, rack.StageNOS, d.dev.Management)
		case d.dev.BMC == nil:
			s.dhcp(d, rack.DHCPPXE, rack.StagePXE, d.dev.Management)
		case state.Seen || d.gate < 0:
			s.observe(rack.Observation{Source: rack.FromBMC, Device: d.dev.Name}) // the agent's scan
		default:
			s.dhcp(d, rack.DHCPBMC, rack.StageBMC, d.dev.Management)
		}
	}
	if d.gate < 0 {
		return
	}
	again := s.o.ScanEvery
	if d.onie || d.ztp {
		again = s.pause.Draw(s.rng)
	}
	s.after(again, func() { s.speak(d) })
}

func (s *simulation) dhcp(d *device, e rack.Evidence, stage rack.Stage, via rack.Port) {
	s.observe(rack.Observation{Source: rack.FromDHCP, Device: d.dev.Name, Via: via, Stage: stage, Proves: e})
}

// firmware boots from the network: after its self test it asks for an address
// on its first port, and on the next one after a time-out.
func (s *simulation) firmware(d *device, selfTest time.Duration) {
	boot := d.boot
	via := rack.Port{}
	if d.dev.Role == rack.Server && len(d.dev.Data) > 0 {
		nic := slices.Index(d.dark, false)
		if nic < 0 {
			d.blame(d.waiting(d.netboot), d.cables[0].Reason)
			return
		}
		via = d.dev.Data[nic]
		for range nic {
			selfTest += s.timeout.Draw(s.rng)
		}
	}
	s.after(selfTest, func() {
		if d.boot != boot {
			return
		}
		switch fault := s.strikes(d, d.netboot); {
		case fault == nil:
			d.pxe = true
			s.dhcp(d, rack.DHCPPXE, rack.StagePXE, via)
			if t := s.run.Device(d.dev.Name).Ticket; t.Open {
				s.ticket(d, t.ID)
			}
		case fault.Kind == Refused:
			s.deny(d, d.netboot, "", fault)
		}
	})
}

// ticket is a device that may start its job: its boot file or its installer is
// served from now on.
func (s *simulation) ticket(d *device, id string) {
	if len(d.install) == 0 || (!d.onie && !d.ztp && !d.pxe) {
		return
	}
	d.pxe = false
	d.boot++
	s.install(d, id, 0, d.takes[d.install[0]].Draw(s.rng))
}

// install is the part i of a job, which takes that long from now.
func (s *simulation) install(d *device, ticket string, i int, takes time.Duration) {
	boot, n := d.boot, d.install[i]
	s.after(takes, func() {
		if d.boot != boot {
			return
		}
		fault := s.strikes(d, n)
		switch {
		case fault == nil:
			if !s.shows(d, ticket, d.platform.Steps[n].Until) {
				return
			}
			if i+1 < len(d.install) {
				s.install(d, ticket, i+1, d.takes[d.install[i+1]].Draw(s.rng))
			}
		case fault.Kind == Refused:
			s.deny(d, n, ticket, fault)
		}
	})
}

// shows lets a device give evidence; false when it is sent away.
func (s *simulation) shows(d *device, ticket string, e rack.Evidence) bool {
	name := d.dev.Name
	switch e {
	case rack.FetchedBootLoader:
		return s.report(ticket, rack.Observation{Source: rack.FromTFTP, Device: name, Proves: e})
	case rack.FetchedImage, rack.ReportedInstalled:
		return s.report(ticket, rack.Observation{Source: rack.FromHTTP, Device: name, Proves: e})
	case rack.DHCPOS:
		for i, p := range d.dev.Data {
			if !d.dark[i] {
				s.dhcp(d, e, rack.StageOS, p)
			}
		}
		return true
	}
	if _, said := e.Line(); said {
		s.observe(rack.Observation{Source: rack.FromSyslog, Device: name, Proves: e})
		return true
	}
	s.dhcp(d, e, rack.StageNOS, d.dev.Management)
	return true
}

// await lets a device give what a step waits for that is part of no boot: a line of its
// log, or a restart with its configuration.
func (s *simulation) await(d *device, c rack.Command, elapsed time.Duration) {
	n, boot := d.step[c.Step.Name], d.boot
	_, said := c.Step.Until.Line()
	if c.Step.Action != rack.Wait || c.Step.Phase != rack.Configuration && !(said && c.Step.Phase == rack.Discovery) {
		return
	}
	s.after(max(0, d.takes[n].Draw(s.rng)-elapsed), func() {
		switch fault := s.strikes(d, n); {
		case d.boot != boot || d.ended:
		case fault == nil:
			s.shows(d, "", c.Step.Until)
		case fault.Kind == Refused:
			s.deny(d, n, "", fault)
		}
	})
}

// deny lets a device contradict a step, in the first way that the step knows.
func (s *simulation) deny(d *device, step int, ticket string, f *Fault) {
	e := d.platform.Steps[step].Unless[0]
	switch e {
	case rack.ReportedFailed:
		s.report(ticket, rack.Observation{Source: rack.FromHTTP, Device: d.dev.Name, Proves: e, Message: f.Reason})
	case rack.DHCPONIE:
		s.dhcp(d, e, rack.StageONIE, d.dev.Management)
	default:
		s.dhcp(d, e, rack.StageUnknown, d.dev.Management)
	}
}
