package audit

import (
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// life is what the journal says about one device, from its first event or from
// the order to start over.
type life struct {
	device   *rack.Device
	platform rack.Platform

	status rack.DeviceStatus
	ready  flag
	seen   *rack.Event // the first observation
	found  bool        // device-discovered was journalled

	phase   rack.Phase // last one started
	closed  bool       // and it was completed
	again   bool       // an operator had it retried: its phase may start again
	step    int        // index of the next step, or of the running one
	running *rack.Event
	waited  *rack.Event // step-waiting of the running attempt
	failure *rack.Event // the last step-failed, until the device gets beyond it
	final   bool        // no attempt is left
	gaveUp  bool        // it failed for good, by its last attempt or by device-failed
	holds   string      // what the device said its disk holds, with its last refusal
	writing bool        // the last failure was a time-out while it may have been writing

	attempts map[string]int      // per step: the last attempt
	failed   map[rack.Phase]bool // a step of that phase failed in this life
	restarts bool                // a step failed, or an operator restarted it: OnRetry steps may come
	orders   map[string]bool     // steps whose attempts may count from 1 again
	reimaged bool                // OnReimage steps may come

	fresh  map[rack.Evidence]rack.Event // what was observed since its last action or failure
	ticket struct {
		id        string
		open      bool
		delivered bool // the whole image went out under it
		issued    bool // in the running attempt
		writing   bool // the device may do its job: not over because somebody looked away
	}
	held    *rack.Event
	crash   *rack.Event           // the last device-crashed, until it is ready or ordered anew
	finding *rack.Event           // the last device-finding
	made    map[rack.Recovery]int // recoveries of this life
	end     *rack.Event           // device-ready, device-failed or device-skipped
	proof   map[rack.Phase]*PhaseProof
}

func newLife(d *rack.Device, p rack.Platform) *life {
	return &life{device: d, platform: p, status: rack.Waiting, attempts: map[string]int{}, failed: map[rack.Phase]bool{},
		orders: map[string]bool{}, fresh: map[rack.Evidence]rack.Event{}, made: map[rack.Recovery]int{}, proof: map[rack.Phase]*PhaseProof{}}
}

// over reports whether nothing more is done to the device until an order.
func (d *life) over() bool {
	return d.status == rack.Ready || d.status == rack.Failed || d.status == rack.Skipped
}

// enter takes in one event of the device. status is that of the rack.
func (d *life) enter(e rack.Event, status rack.Status) {
	if r := e.Detail.Recovery; r != "" {
		d.made[r]++
	}
	switch e.Kind {
	case rack.Observed:
		d.observe(e)
	case rack.DeviceDiscovered:
		d.found = true
	case rack.PhaseStarted:
		d.status, d.phase, d.closed, d.again = rack.DeviceStatus(e.Phase), e.Phase, false, false
		d.proof[e.Phase] = &PhaseProof{Phase: e.Phase, Began: Moment{e.Seq, e.Time}}
		d.step = d.first(e.Phase)
	case rack.PhaseCompleted:
		d.closed = true
		if p := d.proof[e.Phase]; p != nil {
			p.Ended = Moment{e.Seq, e.Time}
		}
	case rack.StepStarted, rack.StepWaiting, rack.StepCompleted, rack.StepFailed:
		d.enterStep(e)
	case rack.TicketIssued:
		// One that was journalled just behind rack-draining, by an actor that
		// had not heard of it, is never served.
		d.ticket.id, d.ticket.open, d.ticket.delivered, d.ticket.issued = e.Detail.Ticket, status == rack.Imaging, false, true
		d.holds = "" // what it refused to overwrite before
	case rack.DeviceHeld:
		d.held = &e
	case rack.DeviceReleased:
		d.held = nil
	case rack.DeviceCrashed:
		d.crash = &e
	case rack.DeviceFinding:
		d.finding = &e
	case rack.DeviceReady, rack.DeviceFailed, rack.DeviceSkipped:
		d.finish(e)
	case rack.DeviceRetried, rack.ReimageOrdered, rack.DeviceReplaced:
		d.order(e)
	}
}

func (d *life) enterStep(e rack.Event) {
	i := d.index(e.Detail.Step)
	switch e.Kind {
	case rack.StepStarted:
		d.running, d.waited, d.held, d.ticket.issued, d.again = &e, nil, nil, false, false
		d.attempts[e.Detail.Step] = e.Detail.Attempt
		delete(d.orders, e.Detail.Step)
		if i < 0 {
			return
		}
		d.step = i
		if !d.platform.Steps[i].Action.Looks() {
			clear(d.fresh)
		} else if e.Phase == rack.Installation && d.ticket.open {
			d.ticket.writing = true
		}
	case rack.StepWaiting:
		d.waited = &e
	case rack.StepCompleted:
		d.running = nil
		if i < 0 {
			return
		}
		d.keep(e, d.platform.Steps[i])
		d.step = i + 1
		if f := d.failure; f != nil && f.Phase == e.Phase && f.Detail.Step == e.Detail.Step {
			d.failure = nil
		}
	case rack.StepFailed:
		d.writing = i >= 0 && d.platform.Steps[i].Destructive && d.waited != nil && !d.contradicted(d.platform.Steps[i])
		d.running, d.waited = nil, nil
		d.failure, d.final = &e, e.Detail.Final
		d.gaveUp = d.gaveUp || d.final
		d.failed[e.Phase], d.restarts = true, true
		if e.Phase == rack.Installation {
			d.ticket.open, d.ticket.writing = false, false
		}
		clear(d.fresh)
		if i >= 0 {
			d.step = d.retryFrom(i)
		}
	}
}

// contradicted reports whether the device itself ended the running attempt.
func (d *life) contradicted(s rack.Step) bool {
	return slices.ContainsFunc(s.Unless, func(x rack.Evidence) bool {
		e, ok := d.fresh[x]
		return ok && d.running != nil && e.Seq > d.running.Seq
	})
}

func (d *life) observe(e rack.Event) {
	if e.Detail.Seen == nil {
		return
	}
	if d.seen == nil {
		d.seen = &e
	}
	p := e.Detail.Seen.Proves
	if p == rack.NoEvidence {
		return
	}
	d.fresh[p] = e
	if p == rack.ReportedRefused || p == rack.ReceiptForeign {
		d.holds = e.Detail.Seen.Holds
	}
	switch {
	case p == rack.FetchedImage:
		d.ticket.delivered = true
	case p == rack.ReportedFailed, p == rack.ReportedRefused, p == rack.ReceiptFound, p == d.platform.TicketEnds,
		p == rack.DHCPONIE && d.ticket.delivered: // the installer gave up: the switch is back in ONIE
		d.ticket.open, d.ticket.writing = false, false
	}
}

func (d *life) finish(e rack.Event) {
	d.end, d.held, d.running, d.ticket.open = &e, nil, nil, false
	switch e.Kind {
	case rack.DeviceReady:
		d.ticket.writing = false
		d.status, d.failure, d.final, d.crash = rack.Ready, nil, false, nil
	case rack.DeviceFailed:
		d.status, d.gaveUp = rack.Failed, true
	default:
		d.status = rack.Skipped
	}
	d.ready.set(e.Kind == rack.DeviceReady, e.Time)
}

// order starts the device over: the failed phase, or everything. A retry of one
// that has not failed changes nothing: it was uncertain, and goes on.
func (d *life) order(e rack.Event) {
	if e.Kind == rack.DeviceRetried && d.end == nil && !d.final {
		return
	}
	d.end, d.held, d.running, d.waited, d.failure, d.final, d.writing = nil, nil, nil, nil, nil, false, false
	d.crash, d.finding, d.ticket.open = nil, nil, false
	d.ready.set(false, e.Time)
	for s := range d.attempts {
		d.orders[s] = true
	}
	if e.Kind == rack.DeviceRetried {
		d.again, d.restarts = true, true
		d.status = rack.Waiting
		if d.phase != "" {
			d.status = rack.DeviceStatus(d.phase)
		}
		// What failed goes on where a retry would have; what was skipped, where it was.
		if !d.closed && d.gaveUp && d.step < len(d.platform.Steps) {
			d.step = d.retryFrom(d.step)
		}
		d.gaveUp = false
		return
	}
	d.gaveUp = false
	d.ticket.writing = false // somebody says so
	// Only what is observed from now on says anything about the new life.
	clear(d.fresh)
	clear(d.failed)
	clear(d.proof)
	d.status, d.phase, d.closed, d.step, d.again, d.holds = rack.Waiting, "", false, 0, true, ""
	d.reimaged = d.reimaged || e.Kind == rack.ReimageOrdered
	if e.Kind == rack.DeviceReplaced {
		d.found, d.seen = false, nil
	}
}

// keep writes down what completed a step. A step that is done again replaces
// what completed it before.
func (d *life) keep(e rack.Event, s rack.Step) {
	p := d.proof[e.Phase]
	if p == nil {
		return
	}
	p.Evidence = slices.DeleteFunc(p.Evidence, func(x Evidence) bool { return x.Step == s.Name })
	at := e
	words := string(s.Action) + " done and read back"
	switch s.Action {
	case rack.IssueTicket:
		words = "ticket " + d.ticket.id + " was journalled before anything was served"
	case rack.Wait:
		if seen, ok := d.satisfied(s.Until); ok {
			at, words = seen, proven(seen.Detail.Seen)
		}
	case rack.VerifyDevice:
		words = "asked what it runs, and it is what was wanted"
	}
	p.Evidence = append(p.Evidence, Evidence{Step: s.Name, Moment: Moment{at.Seq, at.Time}, Words: words, by: by(at)})
}

// satisfied is the fresh observation that proves what a step waits for: itself
// if there is one, else the last one that implies it.
func (d *life) satisfied(until rack.Evidence) (rack.Event, bool) {
	if e, ok := d.fresh[until]; ok {
		return e, true
	}
	var best rack.Event
	for seen, e := range d.fresh {
		if implies(&d.platform, seen, until) && e.Seq > best.Seq {
			best = e
		}
	}
	return best, best.Seq > 0
}

// implies reports whether evidence that was seen proves what is wanted: a
// device does not report an installation that it did not fetch.
func implies(p *rack.Platform, seen, wanted rack.Evidence) bool {
	if seen == rack.NoEvidence {
		return false
	}
	whole := seen == rack.ReceiptFound || seen == rack.ReportedInstalled || seen == p.TicketEnds
	switch wanted {
	case seen:
		return true
	case rack.FetchedBootLoader:
		return whole || seen == rack.FetchedImage
	case rack.FetchedImage:
		return whole
	case rack.ReportedInstalled, rack.DHCPNOS, rack.DHCPOS:
		return seen == rack.ReceiptFound
	}
	return false
}

// index is the place of a step in the platform, or -1.
func (d *life) index(name string) int {
	return slices.IndexFunc(d.platform.Steps, func(s rack.Step) bool { return s.Name == name })
}

// first is the index of the first step of a phase, or 0.
func (d *life) first(p rack.Phase) int {
	return max(0, slices.IndexFunc(d.platform.Steps, func(s rack.Step) bool { return s.Phase == p }))
}

// retryFrom is the step that a retry of step i starts at.
func (d *life) retryFrom(i int) int {
	s := d.platform.Steps[i]
	if n := d.index(s.RetryFrom); s.RetryFrom != "" && n >= 0 && d.platform.Steps[n].Phase == s.Phase {
		return n
	}
	return i
}

// phases are those of the platform, in order.
func (d *life) phases() []rack.Phase {
	var out []rack.Phase
	for _, s := range d.platform.Steps {
		if !slices.Contains(out, s.Phase) {
			out = append(out, s.Phase)
		}
	}
	return out
}

// passed reports whether a step may be left out.
func (d *life) passed(s rack.Step) bool {
	return s.OnRetry && !d.failed[s.Phase] || s.OnReimage
}

// allowed reports whether a step may be done.
func (d *life) allowed(s rack.Step) bool {
	return (!s.OnRetry || d.restarts) && (!s.OnReimage || d.reimaged)
}

// overtaken reports whether a device said, after this step had failed, that its
// installation is over: then the step goes on, and what leads to it is not done again.
func (d *life) overtaken(step string) bool {
	i, ends := d.index(step), d.platform.TicketEnds
	_, over := d.satisfied(ends)
	return over && d.failure != nil && d.failure.Detail.Step == step && i >= 0 && d.platform.Steps[i].Until == ends
}

// due is the step that has to come before the one of index i, or "": in its
// phase, from the next one on, that is not passed over.
func (d *life) due(phase rack.Phase, i int) string {
	for n := d.step; n < i && n < len(d.platform.Steps) && d.platform.Steps[n].Phase == phase; n++ {
		if s := d.platform.Steps[n]; !d.passed(s) {
			return s.Name
		}
	}
	return ""
}
