package audit

import (
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// grace is how long a gate that has closed still counts, and how long a rack
// that drains may still hear of what was decided before. The events of several
// actors interleave: one that writes a step may not have been told yet what
// another one journalled just before. A mailbox is read within milliseconds;
// two seconds leave room for a loaded machine.
const grace = 2 * time.Second

// flag is a condition, and when it last ceased to hold.
type flag struct {
	on   bool
	lost time.Time // zero: never
}

func (f *flag) set(on bool, at time.Time) {
	if f.on && !on {
		f.lost = at
	}
	f.on = on
}

// held reports whether the condition holds, or did within grace.
func (f flag) held(at time.Time) bool {
	return f.on || !f.lost.IsZero() && at.Sub(f.lost) <= grace
}

// link is a cable that ends at a device, and what may be sent through it.
type link struct {
	cable   rack.Cable
	route   []string // the switches before the device, the near one last; empty: no route can exist
	ready   flag
	open    flag
	readyAt time.Time // when it last became ready
}

// ledger keeps the books of a run from its events alone. It judges nothing and
// takes in journals that break rules as well; Prove looks at it before each
// event is entered.
type ledger struct {
	rack      *rack.Rack
	platforms map[string]rack.Platform
	cabling   *rack.Cabling

	status rack.Status
	stop   *rack.Event // rack-draining or rack-halted that holds now
	only   []string    // devices to be imaged; empty: all
	began  Moment
	images string      // rack.BundleSentence
	taken  Moment      // the last rack-started or rack-resumed
	odd    *rack.Event // the last component-ambiguous
	last   Moment
	lives  map[string]*life
	links  map[string]*link // by near end
}

func newLedger(r *rack.Rack, platforms map[string]rack.Platform) *ledger {
	l := &ledger{rack: r, platforms: platforms, cabling: rack.NewCabling(r), status: rack.Idle,
		lives: map[string]*life{}, links: map[string]*link{}}
	for i := range r.Devices {
		d := &r.Devices[i]
		l.lives[d.Name] = newLife(d, platforms[d.Platform])
	}
	for _, c := range l.cabling.Cables() {
		route, _ := l.cabling.Route(c)
		l.links[c.Near.String()] = &link{cable: c, route: route}
	}
	return l
}

// ends are the links of a device: management first, then data by NIC.
func (l *ledger) ends(device string) []*link {
	var out []*link
	for _, c := range l.cabling.Ends(device) {
		out = append(out, l.links[c.Near.String()])
	}
	return out
}

// enter takes in one event.
func (l *ledger) enter(e rack.Event) {
	l.last = Moment{e.Seq, e.Time}
	switch e.Kind {
	case rack.RackStarted:
		l.status, l.only, l.began, l.taken = rack.Imaging, e.Detail.Only, l.last, l.last
		l.images = rack.BundleSentence(e.Detail.Bundle, e.Detail.SignedBy)
	case rack.RackResumed:
		l.status, l.only, l.stop, l.taken = rack.Imaging, e.Detail.Only, nil, l.last
	case rack.RackDraining:
		l.status, l.stop = rack.Draining, &e
	case rack.RackHalted:
		l.status = rack.Halted
		if l.stop == nil {
			l.stop = &e
		}
	case rack.RackCompleted:
		l.status = rack.Completed
	case rack.ComponentAmbiguous:
		l.odd = &e
	case rack.LinkReady, rack.LinkOpen, rack.LinkClosed:
		if x := l.links[e.Detail.Link]; x != nil {
			x.enter(e)
		}
	case rack.ReimageOrdered, rack.DeviceReplaced:
		// A switch that starts over forwards nothing that counts: what is
		// behind it must be proven again.
		for _, x := range l.links {
			if slices.Contains(x.route, e.Device) {
				x.ready.set(false, e.Time)
				x.open.set(false, e.Time)
			}
		}
	}
	if d := l.lives[e.Device]; d != nil {
		d.enter(e, l.status)
	}
}

func (x *link) enter(e rack.Event) {
	if e.Kind == rack.LinkReady && !x.ready.on {
		x.readyAt = e.Time
	}
	x.ready.set(e.Kind != rack.LinkClosed, e.Time)
	if e.Kind != rack.LinkReady { // one that is open already stays open
		x.open.set(e.Kind == rack.LinkOpen, e.Time)
	}
}

// switchesReady reports whether every switch of the rack is ready.
func (l *ledger) switchesReady(at time.Time) bool { return l.unready(at) == "" }

// unready is the first switch, in the order of the rack file, that is not
// ready, or "".
func (l *ledger) unready(at time.Time) string {
	for i := range l.rack.Devices {
		if d := &l.rack.Devices[i]; d.Role.IsSwitch() && !l.lives[d.Name].ready.held(at) {
			return d.Name
		}
	}
	return ""
}

// gate reports whether a gate of design §3 holds for a device. An unknown gate
// never does.
func (l *ledger) gate(device string, g rack.Gate, at time.Time) bool {
	d := l.lives[device].device
	switch g {
	case rack.SwitchesReady:
		return l.switchesReady(at)
	case rack.ManagementReady:
		return d.Role == rack.ManagementSwitch || slices.ContainsFunc(l.ends(device), func(x *link) bool {
			return x.cable.Network == rack.Management && x.ready.held(at)
		})
	case rack.ManagementOpen:
		// The management switch hangs on the agent's own cable.
		return d.Role == rack.ManagementSwitch || slices.ContainsFunc(l.ends(device), func(x *link) bool {
			return x.cable.Network == rack.Management && x.open.held(at)
		})
	case rack.DataReady:
		return slices.ContainsFunc(l.ends(device), func(x *link) bool {
			return x.cable.Network == rack.Data && x.ready.held(at)
		})
	case rack.DataOpen:
		return slices.ContainsFunc(l.ends(device), func(x *link) bool {
			return x.cable.Network == rack.Data && x.open.held(at)
		})
	}
	return false
}

// wanted reports whether a device is to be imaged in this run.
func (l *ledger) wanted(device string) bool {
	return len(l.only) == 0 || slices.Contains(l.only, device)
}
