package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Moment is an event's place in the journal and in time. The zero Moment stands
// for "not yet".
type Moment struct {
	Seq  uint64
	Time time.Time
}

// IsZero reports whether it has not come yet.
func (m Moment) IsZero() bool { return m.Seq == 0 }

// PhaseProof is one phase of a device: when it began and ended, and what
// completed its steps, in their order.
type PhaseProof struct {
	Phase    rack.Phase
	Began    Moment
	Ended    Moment // zero: not completed
	Evidence []Evidence
}

// DeviceProof is what the journal proves of one device.
type DeviceProof struct {
	Device string
	Role   rack.Role
	Status rack.DeviceStatus
	At     Moment // of device-ready, device-failed or device-skipped; zero before
	Phases []PhaseProof
}

// Milestone is a device's event that a rack-wide claim rests on.
type Milestone struct {
	Moment
	Device string
	What   string // for people
}

// Proof is what the journal of a rack proves. Every claim names its events.
type Proof struct {
	Rack   string
	Status rack.Status
	Began  Moment
	Last   Moment // the last event that was judged
	Rules  int    // how many rules every event was held against
	Images string // where the images came from and who vouches for them; empty: made up for a simulation

	// The headline: every switch was ready before any server was touched.
	SwitchesReady Milestone // when the last switch became ready, for the first time; zero: not yet
	FirstServer   Milestone // the first time that a server was powered, booted or ticketed; zero: not yet

	Devices []DeviceProof // in the order of the rack file
}

// Prove holds the events of a run, from its first one on, against every rule of
// Rules and gathers the evidence of each phase. A run that is not finished is
// proven as far as it went.
//
// The error is a *Violation for the first event that breaks a rule, or for an
// empty journal; the Proof then holds what was proven up to that event.
func Prove(r *rack.Rack, platforms map[string]rack.Platform, events []rack.Event) (Proof, error) {
	p := &prover{ledger: newLedger(r, platforms), tickets: map[string]bool{}}
	p.proof.Rack, p.proof.Rules = r.Name, len(ruleTexts)
	if len(events) == 0 {
		return p.result(), &Violation{Rule: ruleBegin, What: "it is empty: nothing was begun"}
	}
	for _, e := range events {
		if v := p.judge(e); v != nil {
			return p.result(), v
		}
		p.enter(e)
		p.headline(e)
	}
	return p.result(), nil
}

// prover judges each event by the books of all events before.
type prover struct {
	*ledger
	proof   Proof
	tickets map[string]bool   // ids that were issued
	witness *rack.Observation // the observation that a link event may rest on: directly before, link events between
	drain   time.Time         // when the rack began to drain
}

// headline notes the two events that the rack-wide claim rests on.
func (p *prover) headline(e rack.Event) {
	switch {
	case e.Kind == rack.RackDraining:
		p.drain = e.Time
	case e.Kind == rack.TicketIssued:
		p.tickets[e.Detail.Ticket] = true
	case e.Kind == rack.DeviceReady && e.Role.IsSwitch() && p.proof.SwitchesReady.IsZero() && p.switchesReady(e.Time):
		p.proof.SwitchesReady = Milestone{Moment{e.Seq, e.Time}, e.Device, "ready"}
	}
	if what := p.touches(e); what != "" && p.proof.FirstServer.IsZero() {
		p.proof.FirstServer = Milestone{Moment{e.Seq, e.Time}, e.Device, what}
	}
	switch e.Kind {
	case rack.Observed:
		p.witness = e.Detail.Seen
	case rack.LinkOpen, rack.LinkClosed: // journalled together with the observation
	default:
		p.witness = nil
	}
}

// touches says how an event powers, boots or tickets a server, or "".
func (p *prover) touches(e rack.Event) string {
	d := p.lives[e.Device]
	if d == nil || d.device.Role != rack.Server {
		return ""
	}
	switch e.Kind {
	case rack.TicketIssued:
		return "ticket " + e.Detail.Ticket
	case rack.StepStarted:
		if i := d.index(e.Detail.Step); i >= 0 {
			switch d.platform.Steps[i].Action {
			case rack.BootPXE, rack.PowerOn, rack.PowerCycle, rack.BootInstaller, rack.IssueTicket:
				return "step " + e.Detail.Step
			}
		}
	}
	return ""
}

// result is the proof as far as it goes.
func (p *prover) result() Proof {
	out := p.proof
	out.Status, out.Began, out.Last, out.Images = p.status, p.began, p.last, p.images
	for i := range p.rack.Devices {
		d := p.lives[p.rack.Devices[i].Name]
		x := DeviceProof{Device: d.device.Name, Role: d.device.Role, Status: d.status}
		if d.end != nil {
			x.At = Moment{d.end.Seq, d.end.Time}
		}
		for _, phase := range d.phases() {
			if got := d.proof[phase]; got != nil {
				part := *got
				part.Evidence = slices.Clone(got.Evidence)
				x.Phases = append(x.Phases, part)
			}
		}
		out.Devices = append(out.Devices, x)
	}
	return out
}

// clock is how lines show a time of day, in UTC as the journal keeps it.
const clock = "15:04:05.000"

// Lines is the proof in plain lines for people, without colours.
func (p Proof) Lines() []string {
	var out []string
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	add("rack %s is %s: %d events from %s to %s UTC, each held against %d rules",
		p.Rack, p.Status, p.Last.Seq, p.Began.Time.UTC().Format("2006-01-02 "+clock), p.Last.Time.UTC().Format(clock), p.Rules)
	if p.Images != "" {
		add("%s", p.Images)
	}
	switch ready, first := p.SwitchesReady, p.FirstServer; {
	case ready.IsZero():
		add("not all switches are ready yet, and no server was powered, booted or ticketed")
	case first.IsZero():
		add("all switches were ready at event %d (%s, the last, at %s); no server was powered, booted or ticketed yet",
			ready.Seq, ready.Device, ready.Time.UTC().Format(clock))
	default:
		add("all switches were ready at event %d (%s, the last, at %s) before any server was powered, booted or ticketed: the first was %s at event %d (%s, at %s)",
			ready.Seq, ready.Device, ready.Time.UTC().Format(clock), first.Device, first.Seq, first.What, first.Time.UTC().Format(clock))
	}
	for _, d := range p.Devices {
		out = append(out, d.lines()...)
	}
	return out
}

func (d DeviceProof) lines() []string {
	head := fmt.Sprintf("%s (%s): %s", d.Device, d.Role, d.Status)
	if !d.At.IsZero() {
		head += fmt.Sprintf(" at event %d, %s", d.At.Seq, d.At.Time.UTC().Format(clock))
	}
	out := []string{head}
	for _, x := range d.Phases {
		span := fmt.Sprintf("  %s: event %d, %s, to ", x.Phase, x.Began.Seq, x.Began.Time.UTC().Format(clock))
		if x.Ended.IsZero() {
			span = strings.TrimSuffix(span, " to ") + " not completed"
		} else {
			span += fmt.Sprintf("event %d, %s", x.Ended.Seq, x.Ended.Time.UTC().Format(clock))
		}
		out = append(out, span)
		for _, ev := range x.Evidence {
			out = append(out, fmt.Sprintf("    %s %s: %s", ev.Time.UTC().Format(clock), ev.Step, ev))
		}
	}
	return out
}
