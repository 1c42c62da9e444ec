package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// DiscoveryLimit is how long a device is looked for once its route is ready, on
// real hardware. The journal does not hold it; a simulation gives up sooner.
const DiscoveryLimit = 10 * time.Minute

// Reason is why a device is where it is, for people.
type Reason struct {
	Device  string
	Status  string   // a rack.DeviceStatus, or "held", "unseen", "halted", "draining"
	Summary string   // one line
	Because []string // what that rests on, a line each; may be empty
	Next    string   // what to do next; empty: nothing
}

// Why explains where a device stands after the last of a run's events, which
// are all of them, from the first one on. It takes in journals that break rules
// as well. The error says that the rack file has no such device, and which it has.
func Why(r *rack.Rack, platforms map[string]rack.Platform, events []rack.Event, device string) (Reason, error) {
	if err := known(r, device); err != nil {
		return Reason{}, err
	}
	l := newLedger(r, platforms)
	for _, e := range events {
		l.enter(e)
	}
	x := l.why(l.lives[device])
	x.Device = device
	x.Because = append(x.Because, l.lives[device].recovered()...)
	return x, nil
}

// recovered names what the device was made to do that it did not do by itself.
func (d *life) recovered() (out []string) {
	for _, r := range rack.Recoveries() {
		if n := d.made[r]; n > 0 {
			out = append(out, fmt.Sprintf("recovery %s, %d times: %s", r, n, r.Words()))
		}
	}
	return out
}

// known says that a rack file has no device of that name, and which it has.
func known(r *rack.Rack, device string) error {
	if _, ok := r.Device(device); ok {
		return nil
	}
	var names []string
	for i := range r.Devices {
		names = append(names, r.Devices[i].Name)
	}
	return fmt.Errorf("rack %s has no device %q: its devices are %s", r.Name, device, strings.Join(names, ", "))
}

// Lines is the reason in plain lines for people, without colours.
func (x Reason) Lines() []string {
	out := []string{fmt.Sprintf("%s: %s", x.Device, x.Summary)}
	for _, b := range x.Because {
		out = append(out, "  "+b)
	}
	if x.Next != "" {
		out = append(out, "  next: "+x.Next)
	}
	return out
}

func (l *ledger) why(d *life) Reason {
	switch d.status {
	case rack.Ready:
		return l.whyReady(d)
	case rack.Failed:
		return l.whyFailed(d)
	case rack.Skipped:
		return Reason{Status: string(d.status), Summary: "skipped" + ordered(&d.end.Detail) + ", " + on(d.end), Next: "nothing: this run leaves it as it is"}
	}
	switch {
	case l.status == rack.Idle:
		return Reason{Status: string(d.status), Summary: "the imaging of rack " + l.rack.Name + " has not begun"}
	case !l.wanted(d.device.Name):
		return Reason{Status: string(d.status), Summary: "not to be imaged in this run", Because: []string{"the run is limited to " + strings.Join(l.only, ", ")}, Next: "rackreach resume --all: it images the others; or name some with --only"}
	case l.stop != nil:
		return l.whyStopped(d)
	case l.status == rack.Completed: // an operator started it over since
		return Reason{Status: string(d.status), Summary: "the run is over, and it is to be done again: " + d.stands(), Next: "rackreach resume"}
	case d.seen == nil:
		return l.whyUnseen(d)
	case d.held != nil:
		return l.whyHeld(d)
	}
	return whyWorking(d)
}

// on is when an event was, and where it stands in the journal.
func on(e *rack.Event) string { return fmt.Sprintf("since %s (event %d)", hour(e.Time), e.Seq) }

// hour is a time of day, in UTC as the journal keeps it.
func hour(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

func (l *ledger) whyReady(d *life) Reason {
	x := Reason{Status: string(d.status), Summary: "ready " + on(d.end)}
	for _, phase := range d.phases() {
		if p := d.proof[phase]; p != nil && len(p.Evidence) > 0 {
			x.Because = append(x.Because, fmt.Sprintf("%s: %s", phase, p.Evidence[len(p.Evidence)-1]))
		}
	}
	if d.finding != nil {
		x.Because = append(x.Because, fmt.Sprintf("finding (event %d): %s", d.finding.Seq, d.finding.Detail.Reason))
	}
	return x
}

func (l *ledger) whyFailed(d *life) Reason {
	name := d.device.Name
	x := Reason{Status: string(d.status), Summary: "failed " + on(d.end) + ": " + d.end.Detail.Error}
	if f := d.failure; f != nil && d.seen != nil {
		x.Because = append(x.Because, fmt.Sprintf("step %s failed for good in attempt %d (event %d): %s", f.Detail.Step, f.Detail.Attempt, f.Seq, f.Detail.Error))
	}
	if d.crash != nil {
		x.Because = append(x.Because, fmt.Sprintf("the code that drives it crashed before, at event %d: %s", d.crash.Seq, d.crash.Detail.Error))
	}
	retry, after := "rackreach retry "+name, ""
	if l.stop != nil {
		after = ", then: rackreach resume"
		if l.stop.Device == name {
			x.Because = append(x.Because, "it is a switch, so the rack stopped at this point: nothing behind it can be trusted")
		}
	}
	switch {
	case d.holds != "":
		x.Because = append(x.Because, "its disk holds "+d.holds+", which its job did not name, so nothing was overwritten")
		x.Next = "to overwrite that: rackreach reimage " + name + after
	case d.writing:
		x.Because = append(x.Because, "its time ran out in a step in which it may have been writing: it may still be writing, so it was not power-cycled")
		x.Next = "look at its console; once it is at rest: rackreach reimage " + name + after
	case d.seen == nil:
		x.Next = "check its power and " + l.cables(name) + ", then: " + retry + after
	default:
		x.Next = "mend what it says, then: " + retry + after
	}
	return x
}

// cables names the management cable of a device.
func (l *ledger) cables(device string) string {
	for _, x := range l.ends(device) {
		if x.cable.Network == rack.Management {
			return "its cable at " + x.cable.Near.String()
		}
	}
	return "the agent's cable"
}

func (l *ledger) whyStopped(d *life) Reason {
	s := l.stop
	x := Reason{Status: string(l.status), Summary: fmt.Sprintf("the rack is %s; it was stopped at %s (event %d)", l.status, hour(s.Time), s.Seq)}
	switch {
	case s.Detail.By != "":
		x.Summary += ordered(&s.Detail)
		x.Next = "rackreach resume"
	case s.Device != "":
		x.Summary += " by " + s.Device + ": " + s.Detail.Error
		x.Next = "rackreach resume"
		if b := l.lives[s.Device]; b != nil && b.status == rack.Failed {
			x.Next = fmt.Sprintf("rackreach why %s, then: rackreach retry %s, then: rackreach resume", s.Device, s.Device)
		}
	default:
		x.Summary += stopped(&s.Detail)
		x.Next = "rackreach resume"
	}
	x.Because = append(x.Because, d.device.Name+" was left at: "+d.stands())
	if d.ticket.open {
		x.Because = append(x.Because, "its ticket "+d.ticket.id+" is open: what it is installing is served to its end")
	}
	return x
}

func (l *ledger) whyUnseen(d *life) Reason {
	name := d.device.Name
	x := Reason{Status: "unseen"}
	from, ok := l.taken.Time, d.device.Role == rack.ManagementSwitch
	for _, y := range l.ends(name) {
		if y.cable.Network == rack.Management && y.ready.on {
			ok = true
			if y.readyAt.After(from) {
				from = y.readyAt
			}
		}
	}
	if !ok {
		x.Summary = "not seen yet: no route to it is ready"
		x.Because = l.closed(d, rack.Management, rack.ManagementOpen)
		return x
	}
	x.Summary = fmt.Sprintf("not seen yet; its route is ready since %s, and it is looked for until %s (%s; a simulation gives up sooner)",
		hour(from), hour(from.Add(DiscoveryLimit)), DiscoveryLimit)
	x.Because = []string{"no DHCP packet, no answer of a BMC and no row of a MAC table named it through " + l.cables(name)}
	x.Next = "check its power and " + l.cables(name)
	if l.odd != nil {
		x.Because = append(x.Because, fmt.Sprintf("a component that may be it was seen (event %d): %s", l.odd.Seq, l.odd.Detail.Reason))
		x.Next = "compare that component with the rack file, then: rackreach bind " + name
	}
	return x
}

// whyHeld names every closed link or unready switch behind each gate that the
// held step needs.
func (l *ledger) whyHeld(d *life) Reason {
	h := d.held
	x := Reason{Status: "held", Summary: fmt.Sprintf("held %s before step %s of its %s: %s", on(h), h.Detail.Step, h.Phase, h.Detail.Reason)}
	add := func(lines ...string) {
		for _, s := range lines {
			if !slices.Contains(x.Because, s) {
				x.Because = append(x.Because, s)
			}
		}
	}
	i := d.index(h.Detail.Step)
	if i < 0 {
		return x
	}
	for _, g := range d.platform.Steps[i].Needs {
		if l.gate(d.device.Name, g, l.last.Time.Add(2*grace)) { // as it is now: grace is for judging
			continue
		}
		switch g {
		case rack.SwitchesReady:
			for i := range l.rack.Devices {
				if s := l.lives[l.rack.Devices[i].Name]; s.device.Role.IsSwitch() && !s.ready.on {
					add(s.device.Name + " is not ready: " + s.stands())
				}
			}
		case rack.ManagementReady, rack.ManagementOpen:
			add(l.closed(d, rack.Management, g)...)
		default:
			add(l.closed(d, rack.Data, g)...)
		}
	}
	if strings.HasPrefix(h.Detail.Reason, rack.CablingReason) {
		add("it goes on by itself once it is heard at its own port")
		x.Next = "compare the cables: rackreach cabling FILE; plug them as the rack file says, and if that is not noticed: rackreach retry " + d.device.Name
	}
	if len(x.Because) == 0 {
		x.Because = []string{"everything that it needs holds since; it goes on at once"}
	}
	return x
}

// closed says of each link of a device on a network what keeps it from being
// what a gate wants.
func (l *ledger) closed(d *life, n rack.Network, g rack.Gate) []string {
	var out []string
	for _, x := range l.ends(d.device.Name) {
		near := x.cable.Near.String()
		switch {
		case x.cable.Network != n:
		case x.ready.on && (g == rack.DataReady || g == rack.ManagementReady || x.open.on):
		case x.ready.on:
			out = append(out, fmt.Sprintf("link %s is ready since %s, but nothing was heard through it: check that cable", near, hour(x.readyAt)))
		default:
			out = append(out, l.keptClosed(x))
		}
	}
	if len(out) == 0 {
		out = append(out, fmt.Sprintf("%s has no usable %s cable in the rack file", d.device.Name, n))
	}
	return out
}

// keptClosed names the switch that keeps a link closed, with its own state.
func (l *ledger) keptClosed(x *link) string {
	near := x.cable.Near.String()
	for _, s := range x.route {
		if b := l.lives[s]; !b.ready.on {
			return fmt.Sprintf("link %s is closed: %s on its route is not ready: %s", near, s, b.stands())
		}
	}
	switch {
	case len(x.route) == 0:
		return fmt.Sprintf("link %s is closed: the rack file has no route to it", near)
	case !x.ready.lost.IsZero():
		return fmt.Sprintf("link %s was closed at %s: a switch on its route was seen booting again", near, hour(x.ready.lost))
	}
	return fmt.Sprintf("link %s is closed, though every switch on its route is ready: it opens at once", near)
}

// stands is where a device stands, in a few words.
func (d *life) stands() string {
	switch {
	case d.end != nil && d.status == rack.Failed:
		return "failed " + on(d.end) + ": " + d.end.Detail.Error
	case d.end != nil:
		return string(d.status) + " " + on(d.end)
	case d.seen == nil:
		return "not seen yet"
	case d.running != nil:
		out := fmt.Sprintf("%s, step %s, attempt %d, %s", d.running.Phase, d.running.Detail.Step, d.running.Detail.Attempt, on(d.running))
		if d.failure != nil {
			out += ", after: " + d.failure.Detail.Error
		}
		return out
	case d.held != nil:
		return fmt.Sprintf("%s, held %s before step %s: %s", d.held.Phase, on(d.held), d.held.Detail.Step, d.held.Detail.Reason)
	case d.failure != nil:
		return fmt.Sprintf("%s, step %s failed at %s: %s", d.failure.Phase, d.failure.Detail.Step, hour(d.failure.Time), d.failure.Detail.Error)
	case d.phase == "":
		return fmt.Sprintf("seen %s, nothing was begun", on(d.seen))
	case d.closed:
		return string(d.phase) + " completed"
	}
	if d.step < len(d.platform.Steps) {
		return fmt.Sprintf("%s, before step %s", d.phase, d.platform.Steps[d.step].Name)
	}
	return string(d.phase)
}

func whyWorking(d *life) Reason {
	x := Reason{Status: string(d.status), Summary: d.stands()}
	switch f := d.failure; {
	case d.running != nil:
		x.Summary = fmt.Sprintf("%s: step %s, attempt %d, %s", d.running.Phase, d.running.Detail.Step, d.running.Detail.Attempt, on(d.running))
		x.Because = whyRunning(d)
	case f != nil && d.final:
		x.Summary = fmt.Sprintf("%s: step %s failed for good at %s: %s", f.Phase, f.Detail.Step, hour(f.Time), f.Detail.Error)
	case f != nil:
		x.Summary = fmt.Sprintf("%s: step %s is tried again at %s", f.Phase, d.platform.Steps[d.step].Name, hour(f.Time.Add(f.Detail.Delay)))
	}
	if f := d.failure; f != nil {
		x.Because = append(x.Because, fmt.Sprintf("attempt %d of step %s failed at %s (event %d): %s", f.Detail.Attempt, f.Detail.Step, hour(f.Time), f.Seq, f.Detail.Error))
	}
	if d.crash != nil {
		x.Because = append(x.Because, fmt.Sprintf("the code that drives it crashed at %s (event %d) and took it up again from the journal: %s", hour(d.crash.Time), d.crash.Seq, d.crash.Detail.Error))
	}
	return x
}

// whyRunning says what the running step waits for, and how long it may.
func whyRunning(d *life) []string {
	i := d.index(d.running.Detail.Step)
	if i < 0 {
		return nil
	}
	s := d.platform.Steps[i]
	out := []string{fmt.Sprintf("it waits for %s, until %s", wanted(s), hour(d.running.Time.Add(s.Limit)))}
	if d.waited != nil {
		out = []string{
			fmt.Sprintf("it waits for %s", wanted(s)),
			fmt.Sprintf("its time was up at %s; it may be writing, so it is left alone and given up at %s only", hour(d.waited.Time), hour(d.waited.Time.Add(s.Limit))),
		}
	}
	if d.ticket.open {
		out = append(out, "its ticket "+d.ticket.id+" is open")
	}
	return out
}
