package actors

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// changesOffer reports whether an event may change what is served.
func changesOffer(e rack.Event) bool {
	switch e.Kind {
	case rack.TicketIssued, rack.StepStarted, rack.StepFailed, rack.DeviceReady, rack.DeviceFailed, rack.RackDraining, rack.RackResumed,
		rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceReplaced, rack.DeviceHeld, rack.RackHalted, rack.RackCompleted:
		return true
	case rack.Observed:
		return e.Detail.Seen.Proves != rack.NoEvidence
	}
	return false
}

// offer hands out what may be served now.
func (a *Agent) offer() {
	o := Offer{Run: a.run.ID, Binder: a.run.Binder(), Pending: map[string]bool{}}
	for i := range a.o.Rack.Devices {
		name := a.o.Rack.Devices[i].Name
		if a.run.BootPending(name) {
			o.Pending[name] = true
		}
		if t := a.run.Device(name).Ticket; t.ID != "" {
			o.Tickets = append(o.Tickets, Ticket{ID: t.ID, Device: name, Image: a.o.Images[name], Open: t.Open && t.Live && !a.run.Uncertain(name), Delivered: t.Delivered, Overwrites: t.Overwrites})
		}
	}
	a.o.Offer(o)
}

// observe journals something seen on a wire, if it is new.
func (a *Agent) observe(m *messages.DeviceSeen) {
	o, err := messages.ToObservation(m.GetObservation())
	if err != nil || o == nil || a.broken {
		return
	}
	if o.Source == rack.FromSyslog || o.Source == rack.FromInstaller {
		a.listen(o)
		if dev, ok := a.o.Rack.Device(o.Device); ok && a.awaits(dev, o) && a.facts.isNew(o, "") {
			a.observed(dev, o)
		}
		return
	}
	if m.GetUnbound() == "" && o.Device == "" {
		b, err := a.run.Binder().Bind(rack.Keys{MAC: o.MAC, UUID: o.UUID, Via: o.Via, Direct: m.GetDirect(), Stage: o.Stage, Model: o.Model, Serial: o.Serial})
		if o.Source == rack.FromMACTable && !a.tells(o, b, err) {
			return
		}
		if err != nil {
			m.Unbound, m.Ambiguous = err.Error(), errors.Is(err, rack.ErrAmbiguous)
			if !m.GetAmbiguous() || o.Source != rack.FromMACTable {
				return
			}
		}
		o.Device = b.Device
	}
	if m.GetUnbound() != "" && !m.GetAmbiguous() || !a.facts.isNew(o, m.GetUnbound()) {
		return // no device of this rack, or nothing new
	}
	if m.GetAmbiguous() {
		a.journal(a.event(rack.ComponentAmbiguous, rack.Detail{Seen: o, Reason: m.GetUnbound(), Next: "compare its cable and its labels with the rack file"}))
		return
	}
	if dev, ok := a.o.Rack.Device(o.Device); ok && m.GetUnbound() == "" {
		a.observed(dev, o)
	}
}

// readTable takes in the rows of a MAC table.
func (a *Agent) readTable(m *tableRead) {
	for i := range m.rows {
		a.observe(&messages.DeviceSeen{Observation: messages.FromObservation(&m.rows[i])})
	}
}

// tells reports whether a row of a MAC table is news. Who is heard at a trunk stands
// behind it, and so may who is heard at a port without a cable; a station that was heard at that port last says nothing by being there; and
// a strange one at a port of a switch that servers' data cables end at is not taken for
// what should stand there: a packet of it will say more.
func (a *Agent) tells(o *rack.Observation, b rack.Binding, err error) bool {
	if a.run.Cabling.Trunk(o.Via) || a.run.Placed(o.MAC, o.Via) || a.run.Behind(o.MAC, o.Via) {
		return false
	}
	return err != nil || b.How == rack.ByMAC || o.Via.Device == a.o.Rack.ManagementSwitchName()
}

// observed journals an observation together with what it proves about links, so
// that whoever hears of the one hears of the other.
func (a *Agent) observed(dev *rack.Device, o *rack.Observation) []rack.Event {
	if o.Proves == rack.DHCPUnnamed {
		o.Proves = rack.NoEvidence
		if a.run.OwnSystem(&rack.Observation{Device: dev.Name, MAC: o.MAC, Proves: rack.DHCPUnnamed}) {
			o.Proves = rack.DHCPOS
		}
	}
	events := []rack.Event{{Rack: a.o.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: rack.Observed, Detail: rack.Detail{Seen: o}}}
	return a.journal(append(events, a.judgeLinks(o)...)...)
}

// report journals a device's own word about its job and answers once it is
// applied, so that whoever is told has left no way back: the ticket is closed.
func (a *Agent) report(c actor.Context, m *Report) {
	o := m.Observation
	dev, ok := a.o.Rack.Device(o.Device)
	d := a.run.Device(o.Device)
	if !ok || a.broken || !d.Ticket.Open || d.Ticket.ID != m.Ticket {
		c.Respond(ErrTicketClosed)
		return
	}
	if stored := a.observed(dev, &o); len(stored) > 0 {
		a.waiting[stored[0].Seq] = c.Sender()
	}
}

// judgeLinks decides which links an observation proves to be open or closed.
func (a *Agent) judgeLinks(o *rack.Observation) []rack.Event {
	var events []rack.Event
	add := func(k rack.Kind, p rack.Port) {
		cable, _ := a.run.Cabling.At(p)
		far, ok := a.o.Rack.Device(cable.Device)
		if !ok || a.opening[p] {
			return
		}
		a.opening[p] = true
		events = append(events, rack.Event{Rack: a.o.Rack.Name, Device: far.Name, Role: far.Role, Kind: k, Detail: rack.Detail{Link: p.String()}})
	}
	for _, p := range a.run.LinksOpenedBy(o) {
		add(rack.LinkOpen, p)
	}
	for _, p := range a.run.LinksClosedBy(o) {
		add(rack.LinkClosed, p)
	}
	return events
}
