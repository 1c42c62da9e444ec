package rack

import (
	"slices"
	"time"
)

// Status is where the imaging of a rack stands.
type Status string

// The states of a rack (design §3).
const (
	Idle      Status = "idle"
	Imaging   Status = "imaging"
	Draining  Status = "draining"
	Halted    Status = "halted"
	Completed Status = "completed"
)

// DeviceStatus is where one device stands, in the words that users see.
type DeviceStatus string

// The states of a device (design §3); while it is worked on, the phase's own
// name is its state.
const (
	Waiting     DeviceStatus = "waiting"
	Discovering DeviceStatus = DeviceStatus(Discovery)
	Installing  DeviceStatus = DeviceStatus(Installation)
	Configuring DeviceStatus = DeviceStatus(Configuration)
	Ready       DeviceStatus = "ready"
	Failed      DeviceStatus = "failed"
	Skipped     DeviceStatus = "skipped"
)

// LinkState says what may be sent through a link.
type LinkState string

// The states of a link (design §3).
const (
	LinkIsClosed LinkState = "closed"
	LinkIsReady  LinkState = "ready" // the switch at its near end passed its verify step
	LinkIsOpen   LinkState = "open"  // and a packet from behind it was seen after that
)

// Statuses lists every state of a rack.
func Statuses() []Status { return []Status{Idle, Imaging, Draining, Halted, Completed} }

// DeviceStatuses lists every state of a device, in order.
func DeviceStatuses() []DeviceStatus {
	return []DeviceStatus{Waiting, Discovering, Installing, Configuring, Ready, Failed, Skipped}
}

// TicketState is the right of a device to one destructive job.
type TicketState struct {
	ID   string `json:",omitzero"`
	Open bool   `json:",omitzero"`
	// Live: what the ticket stands for may be served. Only steps that wait for
	// the device make a ticket live: while its power or its boot device is
	// changed nothing is served, so that a power command, also one that is
	// repeated after a crash, never meets a device that writes.
	Live       bool   `json:",omitzero"`
	Delivered  bool   `json:",omitzero"` // the whole image went out under it: it serves no second attempt
	Reported   bool   `json:",omitzero"` // its installer reported the end of the job
	Overwrites string `json:",omitzero"` // what the device holds that may be overwritten, as Observation.Holds
}

// DeviceState is what a run knows about one device.
type DeviceState struct {
	Status   DeviceStatus `json:",omitzero"`
	Seen     bool         `json:",omitzero"`
	Stage    Stage        `json:",omitzero"` // that its host was last heard in
	Booted   string       `json:",omitzero"` // MAC by which its firmware asked to boot from the network last
	Phase    Phase        `json:",omitzero"` // last one started
	Step     string       `json:",omitzero"`
	Attempt  int          `json:",omitzero"`
	Since    uint64       `json:",omitzero"` // sequence of the step's start
	Held     string       `json:",omitzero"` // why it waits; empty when it does not
	Error    string       `json:",omitzero"` // the last failure
	Ticket   TicketState  `json:",omitzero"`
	Progress float64      `json:",omitzero"` // 0 to 1: weights of the completed steps

	Writing    bool   `json:",omitzero"` // it failed while it may have been writing: nobody knows
	Refused    bool   `json:",omitzero"` // its installer refused to overwrite what its disk holds
	Holds      string `json:",omitzero"` // what its disk holds: as it refused, or as this run installed it; empty: not known
	Overwrites string `json:",omitzero"` // what its next tickets may overwrite, as ordered
	Ordered    string `json:",omitzero"` // the last order for it, in words
	Retried    bool   `json:",omitzero"` // that was to go on after a failure
	ordered    uint64 // sequence of that
	findings   int    // device-finding events
	proven     bool   // something had been heard through each of its data links when it became ready
}

// Run is the state of one execution of a plan on one rack. It changes by Apply
// only; its methods answer questions. It is used by one goroutine.
type Run struct {
	Rack      *Rack
	Platforms map[string]Platform
	Cabling   *Cabling

	ID       string // from rack-started
	PlanHash string // from rack-started
	Bundle   string // from rack-started: where the images come from
	SignedBy string // from rack-started: who vouches for them
	Status   Status
	Cause    string   // why it drains or halted
	Blamed   string   // the device that stopped it; empty: an operator, or rackreach itself
	HaltedBy string   // the operator who ordered the halt; empty: none did
	Only     []string // the devices that are to be imaged; empty: all

	// Salvaged is the last sequence that came from a damaged journal; 0: none.
	// A device that was not ready by then is uncertain until somebody says what
	// to do with it. Whoever makes the Run sets it.
	Salvaged uint64

	devices map[string]*DeviceState
	links   linkStates
	seq     uint64        // last event applied
	dropped map[Port]bool // closed again after their route was ready
	binder  *Binder

	answered   map[string]bool // ids of the orders that were answered
	neighbours map[Port]string // what stands at the far end of a switch's port, as last seen

	stations map[string]station // where components were heard last, by MAC; empty on a follower
}

// NewRun is the state before the first event of a validated rack.
func NewRun(r *Rack, platforms map[string]Platform) *Run {
	cabling := NewCabling(r)
	return newRun(r, platforms, cabling, newBinder(r, platforms, cabling))
}

// NewFollower is a Run for whoever shows what happens in a rack and answers none of
// its packets: its Binder knows the ports only, and learns nothing.
func NewFollower(r *Rack, platforms map[string]Platform) *Run {
	cabling := NewCabling(r)
	return newRun(r, platforms, cabling, &Binder{rack: r, platforms: platforms, cabling: cabling, deaf: true})
}

func newRun(r *Rack, platforms map[string]Platform, cabling *Cabling, binder *Binder) *Run {
	run := &Run{Rack: r, Platforms: platforms, Cabling: cabling, Status: Idle,
		devices: make(map[string]*DeviceState, len(r.Devices)), links: newLinkStates(cabling), dropped: map[Port]bool{}, binder: binder,
		answered: map[string]bool{}, neighbours: map[Port]string{}, stations: map[string]station{}}
	for i := range r.Devices {
		run.devices[r.Devices[i].Name] = &DeviceState{Status: Waiting}
	}
	return run
}

// Device is a copy of what the run knows about a slot.
func (r *Run) Device(name string) DeviceState {
	if d, ok := r.devices[name]; ok {
		return *d
	}
	return DeviceState{}
}

// Link is the state of the cable at that near end.
func (r *Run) Link(near Port) LinkState { return r.links.of(near) }

// Neighbour is what stands at the far end of a switch's port, "RACK/DEVICE:PORT",
// as the switch heard last; empty: nothing.
func (r *Run) Neighbour(p Port) string { return r.neighbours[p] }

// Neighbours is what stands at the far ends of switches' ports, where something
// does. The map is the caller's.
func (r *Run) Neighbours() map[Port]string {
	out := map[Port]string{}
	for p, n := range r.neighbours {
		if n != "" {
			out[p] = n
		}
	}
	return out
}

// Heard lists the ports of a switch that a neighbour was ever heard at, in no order.
func (r *Run) Heard(device string) (ports []Port) {
	for p := range r.neighbours {
		if p.Device == device {
			ports = append(ports, p)
		}
	}
	return ports
}

// Binder finds slots with everything that was observed so far.
func (r *Run) Binder() *Binder { return r.binder }

// Apply changes the state by one event, whoever wrote it, and reports whether it
// did: events come in the order of their journal, and one that was applied
// before, or comes too late, is refused. One without a sequence is always taken.
// Events of devices that the rack file does not name change nothing.
func (r *Run) Apply(e Event) bool {
	if e.Seq != 0 && e.Seq <= r.seq {
		return false
	}
	r.seq = max(r.seq, e.Seq)
	if e.Detail.Order != "" {
		r.answered[e.Detail.Order] = true
	}
	switch e.Kind {
	case RackStarted:
		r.Status, r.ID, r.PlanHash, r.Only = Imaging, e.Detail.Run, e.Detail.PlanHash, e.Detail.Only
		r.Bundle, r.SignedBy = e.Detail.Bundle, e.Detail.SignedBy
	case RackResumed:
		r.resumed(e)
	case RackDraining:
		r.Status, r.Cause, r.Blamed, r.HaltedBy = Draining, e.Detail.Error, e.Device, e.Detail.By
	case RackHalted:
		r.Status = Halted
	case RackCompleted:
		r.Status = Completed
	case ComponentAmbiguous:
		r.hearStation(e)
	case NeighbourSeen:
		if e.Detail.Seen != nil {
			r.neighbours[e.Detail.Seen.Via] = e.Detail.Seen.Message
		}
	case LinkReady:
		if p, err := ParsePort(e.Detail.Link); err == nil && r.links.of(p) == LinkIsClosed {
			r.links.set(p, LinkIsReady) // one that is open already stays open
		}
	case LinkOpen:
		r.setLink(e.Detail.Link, LinkIsOpen)
	case LinkClosed:
		r.setLink(e.Detail.Link, LinkIsClosed)
		if p, err := ParsePort(e.Detail.Link); err == nil {
			r.dropped[p] = true
		}
	}
	if d, ok := r.devices[e.Device]; ok {
		if e.Kind == Observed && e.Detail.Seen == nil {
			e.Detail.Seen = &Observation{} // a stranger's event: nothing was seen
		}
		r.applyDevice(d, e)
		r.applyOrder(d, e)
	}
	return true
}

func (r *Run) applyDevice(d *DeviceState, e Event) {
	switch e.Kind {
	case Observed:
		d.Seen = true
		if s := e.Detail.Seen.Stage; s != "" && s != StageBMC {
			d.Stage = s
			if s == StagePXE || s == StageIPXE || s == StageHTTPBoot {
				d.Booted = e.Detail.Seen.MAC
			}
		}
		r.hearStation(e) // by what was known before
		r.binder = r.binder.Learned(e.Detail.Seen)
		r.evidence(d, e)
	case PhaseStarted:
		d.Status, d.Phase = DeviceStatus(e.Phase), e.Phase
	case StepStarted:
		d.Step, d.Attempt, d.Held, d.Since = e.Detail.Step, e.Detail.Attempt, "", e.Seq
		r.enliven(d, e.Device)
	case StepCompleted:
		d.Progress = r.progress(e)
	case StepFailed:
		d.Error, d.Writing = e.Detail.Error, e.Detail.Writing
		if e.Phase == Installation {
			d.Ticket.Open = false
		}
	case TicketIssued:
		d.Ticket = TicketState{ID: e.Detail.Ticket, Open: true, Overwrites: e.Detail.Overwrites}
	case DeviceHeld:
		d.Held = e.Detail.Reason
	case DeviceReleased:
		d.Held = ""
	case DeviceReady:
		d.proven = len(r.quiet(e.Device)) == 0
		d.Status, d.Progress, d.Held, d.Error, d.Ticket.Open = Ready, 1, "", "", false
		d.Writing, d.Refused, d.Holds = false, false, r.receipt(d.Ticket.ID)
		for _, c := range r.through(e.Device) {
			delete(r.dropped, c.Near)
		}
	case DeviceFinding:
		d.findings++
	case DeviceFailed:
		d.Writing = d.Writing || d.Ticket.Open && d.Ticket.Live // its actor crashed, not its job
		d.Status, d.Error, d.Ticket.Open = Failed, e.Detail.Error, false
	}
}

// evidence closes the ticket when the destructive job is over.
func (r *Run) evidence(d *DeviceState, e Event) {
	dev, _ := r.Rack.Device(e.Device)
	if e.Detail.Seen.Proves == ReportedInstalled {
		d.Ticket.Reported = true
	}
	switch p := e.Detail.Seen.Proves; {
	case p == FetchedImage:
		d.Ticket.Delivered = true
	case p == ReceiptForeign && e.Detail.Seen.Holds == d.Overwrites: // that may go
	case p == ReportedRefused || p == ReceiptForeign:
		d.Ticket.Open, d.Refused, d.Holds = false, true, e.Detail.Seen.Holds
	case p == ReportedFailed,
		p == DHCPONIE && d.Ticket.Delivered, // the installer gave up: the switch is back in ONIE
		p != NoEvidence && p == r.Platforms[dev.Platform].TicketEnds,
		slices.Contains(Implying(r.Platforms[dev.Platform].TicketEnds, NoEvidence), p):
		d.Ticket.Open = false
	}
}

// OwnSystem reports whether an observation that proves DHCPUnnamed is the installed
// system of its device: it speaks with the MAC that the installer was loaded through, and
// that installer has reported the end of its job. Its next DHCP client that starts anew is
// that of another system, since nothing is served that could load an installer again; firmware
// and our installer say what they are. Should it be another after all, no harm is done: the
// device is ready only when that system shows the receipt.
func (r *Run) OwnSystem(o *Observation) bool {
	d, ok := r.devices[o.Device]
	return ok && o.Proves == DHCPUnnamed && o.MAC != "" && o.MAC == d.Booted && d.Ticket.Reported && !d.Ticket.Open
}

// OpenTickets lists the devices that may still be writing, in rack-file order.
func (r *Run) OpenTickets() []string {
	var out []string
	for i := range r.Rack.Devices {
		if n := r.Rack.Devices[i].Name; r.devices[n].Ticket.Open && r.devices[n].Ticket.Live {
			out = append(out, n)
		}
	}
	return out
}

// DrainLimit bounds how long the open ticket of a device is served while the
// rack drains: twice the limits of its platform's installation steps.
func (r *Run) DrainLimit(device string) time.Duration {
	d, ok := r.Rack.Device(device)
	if !ok {
		return 0
	}
	var sum time.Duration
	for _, s := range r.Platforms[d.Platform].Steps {
		if s.Phase == Installation && s.Action.Looks() {
			sum += 2 * s.Limit
		}
	}
	return sum
}

// Tally counts the devices that are ready and that failed.
func (r *Run) Tally() (ready, failed int) {
	for _, d := range r.devices {
		switch d.Status {
		case Ready:
			ready++
		case Failed:
			failed++
		}
	}
	return ready, failed
}

// Settled reports whether every device that is to be imaged is ready or, among
// servers, failed or skipped. A rack with a failed switch is never settled: it is
// halted (OnFailure).
func (r *Run) Settled() bool {
	for i := range r.Rack.Devices {
		d := &r.Rack.Devices[i]
		if s := r.devices[d.Name].Status; r.Wanted(d.Name) && s != Ready && (d.Role.IsSwitch() || s != Failed && s != Skipped) {
			return false
		}
	}
	return true
}

// FailedSwitch is the first switch in the rack file that has failed, or "".
func (r *Run) FailedSwitch() string {
	for i := range r.Rack.Devices {
		if d := &r.Rack.Devices[i]; d.Role.IsSwitch() && r.devices[d.Name].Status == Failed {
			return d.Name
		}
	}
	return ""
}

// Wanted reports whether a device is to be imaged by this run.
func (r *Run) Wanted(device string) bool {
	return len(r.Only) == 0 || slices.Contains(r.Only, device)
}

// Uncertain reports whether nobody knows what was done to a device, because a
// part of its journal is lost.
func (r *Run) Uncertain(device string) bool {
	d, ok := r.devices[device]
	return ok && r.Salvaged > 0 && d.Status != Ready && d.Status != Skipped && d.ordered <= r.Salvaged
}

// Found reports whether a finding was journalled about a device.
func (r *Run) Found(device string) bool { return r.devices[device].findings > 0 }

// quiet lists the data links of a device that are not open.
func (r *Run) quiet(device string) (quiet []string) {
	for _, c := range r.Cabling.Ends(device) {
		if c.Network == Data && r.links.of(c.Near) != LinkIsOpen {
			quiet = append(quiet, c.Near.String())
		}
	}
	return quiet
}

// Seq is the sequence of the last event applied.
func (r *Run) Seq() uint64 { return r.seq }
