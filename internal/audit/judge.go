package audit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// breach makes the violation of a rule by an event.
func breach(rule int, e rack.Event, format string, a ...any) *Violation {
	return &Violation{Rule: rule, Seq: e.Seq, Device: e.Device, What: fmt.Sprintf(format, a...)}
}

// judge holds one event against the rules, by what was entered before it.
func (p *prover) judge(e rack.Event) *Violation {
	if v := p.judgeRecord(e); v != nil {
		return v
	}
	if v := p.judgeQuiet(e); v != nil {
		return v
	}
	if what := p.touches(e); what != "" {
		if s := p.unready(e.Time); s != "" {
			return breach(ruleSwitchesFirst, e, "%s of a server, but switch %s is not ready", what, s)
		}
	}
	switch e.Kind {
	case rack.LinkReady, rack.LinkOpen, rack.LinkClosed:
		return p.judgeLink(e)
	case rack.RackCompleted:
		return p.judgeCompleted(e)
	case rack.DeviceDiscovered, rack.PhaseStarted, rack.PhaseCompleted, rack.StepStarted, rack.StepCompleted, rack.StepFailed,
		rack.StepWaiting, rack.TicketIssued, rack.DeviceHeld, rack.DeviceReleased, rack.DeviceReady:
		return p.judgeDevice(e, p.lives[e.Device])
	}
	return nil
}

// judgeRecord holds what must be true of any event.
func (p *prover) judgeRecord(e rack.Event) *Violation {
	if e.Seq != p.last.Seq+1 {
		return breach(ruleSequence, e, "it follows event %d", p.last.Seq)
	}
	if e.Rack != p.rack.Name {
		return breach(ruleNames, e, "it is of rack %q, not of %s", e.Rack, p.rack.Name)
	}
	if began := p.status != "" && p.status != rack.Idle; began == (e.Kind == rack.RackStarted) && e.Kind != rack.OrderAnswered {
		return breach(ruleBegin, e, "%s at event %d", e.Kind, e.Seq)
	}
	if e.Time.Before(p.last.Time) {
		return breach(ruleTime, e, "it is of %s, the event before it of %s", e.Time.UTC().Format(clock), p.last.Time.UTC().Format(clock))
	}
	d := p.lives[e.Device]
	switch e.Kind {
	case rack.RackStarted, rack.RackResumed, rack.RackDraining, rack.RackHalted, rack.RackCompleted, rack.ComponentAmbiguous, rack.OrderAnswered:
		if e.Device == "" {
			return nil
		}
	}
	switch {
	case d == nil:
		return breach(ruleNames, e, "%s of %q, which is no device of the rack file", e.Kind, e.Device)
	case e.Role != "" && e.Role != d.device.Role:
		return breach(ruleNames, e, "it calls the device a %s, the rack file a %s", e.Role, d.device.Role)
	case (e.Kind == rack.Observed || e.Kind == rack.DeviceSaid) && e.Detail.Seen == nil:
		return breach(ruleNames, e, "an observation that says nothing")
	}
	return nil
}

// judgeQuiet holds what a rack that drains or is halted still does.
func (p *prover) judgeQuiet(e rack.Event) *Violation {
	switch e.Kind {
	case rack.Observed, rack.ComponentAmbiguous, // what is seen is journalled whatever the state of the rack,
		rack.LinkOpen, rack.LinkClosed, // with what it proves about links
		rack.NeighbourSeen, rack.DeviceSaid, rack.RecoveryMade, rack.HardwareFound, rack.WeaknessFound, rack.LightOn, rack.LightOff, rack.OrderAnswered,
		rack.DeviceFailed, // a failure that was under way
		rack.DeviceRetried, rack.DeviceSkipped, rack.ReimageOrdered, rack.DeviceBound, rack.DeviceReplaced, rack.RackResumed:
		return nil
	}
	// The DeviceActors are stopped once the rack drains. Until they hear of it
	// they go on, for as long as grace.
	late := p.status == rack.Draining && e.Time.Sub(p.drain) > grace
	switch e.Kind {
	case rack.RackHalted, rack.StepCompleted, rack.StepFailed, rack.StepWaiting, rack.DeviceCrashed, rack.DeviceFinding, rack.LinkReady:
		late = false // the end of what was under way
	case rack.TicketIssued:
		if late {
			return breach(ruleTickets, e, "ticket %s while the rack drains", e.Detail.Ticket)
		}
	}
	if p.status == rack.Halted || late {
		return breach(ruleQuiet, e, "%s while the rack is %s", e.Kind, p.status)
	}
	return nil
}

func (p *prover) judgeLink(e rack.Event) *Violation {
	rule := ruleLinkOpen
	if e.Kind == rack.LinkReady {
		rule = ruleLinkReady
	}
	x := p.links[e.Detail.Link]
	switch {
	case x == nil:
		return breach(rule, e, "no cable of the rack file has its near end at %q", e.Detail.Link)
	case x.cable.Device != e.Device:
		return breach(rule, e, "link %s leads to %s", e.Detail.Link, x.cable.Device)
	}
	switch e.Kind {
	case rack.LinkReady:
		if len(x.route) == 0 {
			return breach(rule, e, "link %s is ready, but no route leads to it", e.Detail.Link)
		}
		for _, s := range x.route {
			if !p.lives[s].ready.held(e.Time) {
				return breach(rule, e, "link %s is ready, but %s on its route is not", e.Detail.Link, s)
			}
		}
	case rack.LinkOpen:
		if !x.ready.held(e.Time) {
			return breach(rule, e, "link %s opens, but it is closed", e.Detail.Link)
		}
		if !p.passedThrough(x) {
			return breach(rule, e, "link %s opens, but nothing was just observed through it", e.Detail.Link)
		}
	}
	return nil
}

// passedThrough reports whether the observation directly before came through a
// link: into its port, or further on, over the switch at its far end.
func (p *prover) passedThrough(x *link) bool {
	o := p.witness
	// A row of a MAC table says that a station was heard once, not when.
	if o == nil || o.Source == rack.FromMACTable {
		return false
	}
	if o.Source == rack.FromBMC && x.cable.Network == rack.Management && x.cable.Device == o.Device {
		return true
	}
	if o.Via.IsZero() {
		return false
	}
	near := o.Via.String()
	if near == x.cable.Near.String() {
		return true
	}
	from := p.links[near]
	return from != nil && from.cable.Network == x.cable.Network && slices.Contains(from.route, x.cable.Device)
}

func (p *prover) judgeCompleted(e rack.Event) *Violation {
	if p.status != rack.Imaging {
		return breach(ruleCompleted, e, "the rack is %s", p.status)
	}
	for i := range p.rack.Devices {
		d := p.lives[p.rack.Devices[i].Name]
		if !p.wanted(d.device.Name) || d.status == rack.Ready || d.status == rack.Skipped || d.status == rack.Failed && d.device.Role == rack.Server {
			continue
		}
		return breach(ruleCompleted, e, "%s is not ready: %s", d.device.Name, d.status)
	}
	return nil
}

// judgeDevice holds what a device's own actor wrote.
func (p *prover) judgeDevice(e rack.Event, d *life) *Violation {
	switch {
	case d.over():
		return breach(rulePhases, e, "%s, but the device is %s since event %d", e.Kind, d.status, d.end.Seq)
	case d.final:
		return breach(rulePhases, e, "%s, but its last attempt failed at event %d", e.Kind, d.failure.Seq)
	}
	switch e.Kind {
	case rack.DeviceDiscovered:
		if d.found && !d.again {
			return breach(rulePhases, e, "it is discovered a second time")
		}
		if d.seen == nil {
			return breach(rulePhases, e, "it is discovered, but nothing was observed of it")
		}
	case rack.PhaseStarted:
		return judgePhaseStart(e, d)
	case rack.PhaseCompleted:
		switch {
		case e.Phase != d.phase || d.closed:
			return breach(rulePhases, e, "%s is completed, but it was not begun", e.Phase)
		case d.running != nil:
			return breach(ruleWholePhase, e, "%s is completed while step %s runs", e.Phase, d.running.Detail.Step)
		}
		if s := d.due(e.Phase, len(d.platform.Steps)); s != "" {
			return breach(ruleWholePhase, e, "%s is completed without step %s", e.Phase, s)
		}
	case rack.StepStarted:
		return p.judgeStart(e, d)
	case rack.StepCompleted, rack.StepFailed, rack.StepWaiting:
		return judgeEnd(e, d)
	case rack.TicketIssued:
		return p.judgeTicket(e, d)
	case rack.DeviceReady:
		if all := d.phases(); len(all) == 0 || d.phase != all[len(all)-1] || !d.closed {
			return breach(ruleReady, e, "it is ready, but it did not complete %s", strings.Join(missing(d), ", "))
		}
	}
	return nil
}

// missing are the phases that a device has not completed.
func missing(d *life) []string {
	var out []string
	for _, x := range d.phases() {
		if got := d.proof[x]; got == nil || got.Ended.IsZero() {
			out = append(out, string(x))
		}
	}
	return out
}

func judgePhaseStart(e rack.Event, d *life) *Violation {
	all := d.phases()
	at := slices.Index(all, e.Phase)
	switch next := slices.Index(all, d.phase) + 1; {
	case !d.found && !d.again:
		return breach(rulePhases, e, "%s starts, but it was not discovered", e.Phase)
	case d.again && d.phase != "" && e.Phase == d.phase: // an operator had it retried
	case d.phase != "" && !d.closed:
		return breach(rulePhases, e, "%s starts, but %s was not completed", e.Phase, d.phase)
	case at < 0 || at != next:
		after := "nothing"
		if d.phase != "" {
			after = string(d.phase)
		}
		return breach(rulePhases, e, "%s starts after %s", e.Phase, after)
	}
	return nil
}

func (p *prover) judgeStart(e rack.Event, d *life) *Violation {
	name := e.Detail.Step
	i := d.index(name)
	switch {
	case i < 0 || d.platform.Steps[i].Phase != e.Phase:
		return breach(ruleSteps, e, "step %s is no step of the %s of platform %s", name, e.Phase, d.platform.Name)
	case e.Phase != d.phase || d.closed:
		return breach(rulePhases, e, "step %s starts, but its phase %s is not under way", name, e.Phase)
	case d.running != nil:
		return breach(ruleSteps, e, "step %s starts while step %s runs", name, d.running.Detail.Step)
	case i < d.step:
		return breach(ruleSteps, e, "step %s starts again, but nothing of it failed", name)
	}
	s := d.platform.Steps[i]
	if due := d.due(e.Phase, i); due != "" && !d.overtaken(name) {
		return breach(ruleSteps, e, "step %s starts before step %s was completed", name, due)
	}
	if !d.allowed(s) {
		return breach(ruleSteps, e, "step %s starts, but it is for an attempt after a failure, or for a device that is imaged anew", name)
	}
	// Whoever starts a device over may go on counting, or count from 1 again.
	if n := d.attempts[name]; e.Detail.Attempt != n+1 && !(d.orders[name] && e.Detail.Attempt == 1) {
		return breach(ruleAttempts, e, "attempt %d of step %s after attempt %d", e.Detail.Attempt, name, n)
	}
	for _, g := range s.Needs {
		if !p.gate(e.Device, g, e.Time) {
			return breach(ruleGates, e, "step %s starts, but it needs %s, which does not hold", name, g)
		}
	}
	return nil
}

// judgeEnd holds the events of a step that was started.
func judgeEnd(e rack.Event, d *life) *Violation {
	name := e.Detail.Step
	if e.Kind == rack.StepFailed && d.seen == nil && d.phase == "" && e.Detail.Final {
		return nil // its discovery deadline passed: there is no step that could have started
	}
	if d.running == nil || d.running.Detail.Step != name || d.running.Phase != e.Phase {
		rule := ruleSteps
		if i := d.index(name); e.Kind == rack.StepCompleted && i >= 0 && d.platform.Steps[i].Action != rack.Wait {
			rule = ruleActions
		}
		return breach(rule, e, "%s of step %s, which was not started", e.Kind, name)
	}
	if n := d.running.Detail.Attempt; e.Detail.Attempt != n {
		return breach(ruleAttempts, e, "%s of attempt %d of step %s, but attempt %d runs", e.Kind, e.Detail.Attempt, name, n)
	}
	if e.Kind != rack.StepCompleted {
		return nil
	}
	switch s := d.platform.Steps[d.index(name)]; s.Action {
	case rack.Wait:
		if _, ok := d.satisfied(s.Until); !ok {
			return breach(ruleEvidence, e, "step %s is completed, but no %s, nor anything that implies it, was observed since the last action or failure", name, s.Until)
		}
	case rack.IssueTicket:
		if !d.ticket.issued {
			return breach(ruleTickets, e, "step %s is completed, but no ticket was issued in it", name)
		}
	}
	return nil
}

func (p *prover) judgeTicket(e rack.Event, d *life) *Violation {
	id := e.Detail.Ticket
	switch {
	case e.Phase != rack.Installation || d.phase != rack.Installation || d.closed:
		return breach(ruleTickets, e, "ticket %s outside of an installation", id)
	case d.running == nil || d.platform.Steps[d.index(d.running.Detail.Step)].Action != rack.IssueTicket:
		return breach(ruleTickets, e, "ticket %s, but no step that issues one runs", id)
	case id == "" || p.tickets[id]:
		return breach(ruleTickets, e, "ticket %q was issued before, or has no name", id)
	case d.ticket.open || d.ticket.issued:
		return breach(ruleTickets, e, "ticket %s while %s is open", id, d.ticket.id)
	case d.ticket.writing:
		return breach(ruleTickets, e, "ticket %s while it may be writing under %s", id, d.ticket.id)
	case p.status != rack.Imaging && p.status != rack.Draining:
		return breach(ruleTickets, e, "ticket %s while the rack is %s", id, p.status)
	}
	return nil
}
