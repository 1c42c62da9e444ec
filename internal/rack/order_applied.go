package rack

import "maps"

// resumed takes up a rack that was stopped.
func (r *Run) resumed(e Event) {
	r.Status, r.Cause, r.Blamed, r.HaltedBy, r.Only = Imaging, "", "", "", e.Detail.Only
	for name, d := range r.devices {
		r.enliven(d, name)
	}
}

// enliven makes the open ticket of a device live when its step waits for what
// the ticket stands for, and the rack is being imaged.
func (r *Run) enliven(d *DeviceState, name string) {
	if r.Status != Imaging || !d.Ticket.Open {
		return
	}
	dev, ok := r.Rack.Device(name)
	if !ok {
		return
	}
	for _, s := range r.Platforms[dev.Platform].Steps {
		if s.Name == d.Step && s.Phase == d.Phase {
			d.Ticket.Live = s.Action.Looks() && s.Phase == Installation
		}
	}
}

// receipt is how a device names what it was given under a ticket of this run.
func (r *Run) receipt(ticket string) string {
	if ticket == "" {
		return ""
	}
	return "receipt:" + r.ID + "/" + ticket
}

// applyOrder changes a device by what an operator ordered.
func (r *Run) applyOrder(d *DeviceState, e Event) {
	switch e.Kind {
	case DeviceRetried:
		if against := r.Against()[e.Device]; len(against) > 0 {
			r.binder = r.binder.unlearned(e.Device, against[Management] != "")
		}
		r.forgetStations(e.Device)
		d.Status, d.Error, d.Held, d.Writing = DeviceStatus(d.Phase), "", "", false
		if d.Phase == "" {
			d.Status = Waiting
		}
		r.enliven(d, e.Device)
	case DeviceSkipped:
		d.Status, d.Held, d.Ticket.Live = Skipped, "", false
	case ReimageOrdered:
		*d = DeviceState{Status: Waiting, Seen: d.Seen, Stage: d.Stage, Holds: d.Holds, Overwrites: e.Detail.Overwrites, Ticket: d.Ticket, findings: d.findings}
		d.Ticket.Open = false
		r.closeThrough(e.Device)
		r.forgetNeighbours(e.Device)
		r.forgetStations(e.Device)
	case DeviceReplaced:
		*d = DeviceState{Status: Waiting}
		r.binder = r.binder.Forgotten(e.Device)
		r.closeThrough(e.Device)
		r.forgetNeighbours(e.Device)
		r.forgetStations(e.Device)
	case DeviceBound:
		r.forgetStations(e.Device)
		if e.Detail.Seen != nil {
			r.binder = r.binder.Bound(e.Device, e.Detail.Seen)
		}
	default:
		return
	}
	d.ordered, d.Retried = e.Seq, e.Kind == DeviceRetried
	d.Ordered = map[Kind]string{DeviceRetried: "to be tried again", DeviceSkipped: "skipped", ReimageOrdered: "to be imaged anew", DeviceBound: "bound", DeviceReplaced: "replaced"}[e.Kind] +
		" by order of " + orSomebody(e.Detail.By)
	if e.Detail.Reason != "" {
		d.Ordered += ": " + e.Detail.Reason
	}
}

// forgetNeighbours forgets what a switch that starts over has heard.
func (r *Run) forgetNeighbours(device string) {
	maps.DeleteFunc(r.neighbours, func(p Port, _ string) bool { return p.Device == device })
}

// closeThrough closes what lies behind a switch that starts over.
func (r *Run) closeThrough(device string) {
	for _, c := range r.through(device) {
		r.links.set(c.Near, LinkIsClosed)
		delete(r.dropped, c.Near)
	}
}
