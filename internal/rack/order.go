package rack

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode"
)

// Verb is what an operator may order.
type Verb string

// The verbs. Those of a device come into force at once while the rack is being
// imaged, else with the next Resume.
const (
	Retry   Verb = "retry"   // forget a device's failure and try again
	Skip    Verb = "skip"    // leave a server out of this run
	Reimage Verb = "reimage" // image a device from the start, and overwrite what it holds
	Bind    Verb = "bind"    // a MAC or a serial belongs to a slot
	Replace Verb = "replace" // other hardware stands in a slot
	// Identify lights the identify light of a device, IdentifyOff puts it out; both come
	// into force whatever the state of the rack.
	Identify    Verb = "identify"
	IdentifyOff Verb = "identify-off"
	HaltNow     Verb = "halt"   // end the imaging of the rack at this point
	Resume      Verb = "resume" // go on with a rack that was halted, or that has work left
)

// OfLight reports whether a verb is about the identify light only.
func (v Verb) OfLight() bool { return v == Identify || v == IdentifyOff }

// Bounds of an order's words.
const (
	maxReason = 500 // bytes of a reason
	maxBy     = 200 // bytes of who ordered it
	maxSerial = 64  // bytes of a serial
)

// Order is a verb with its objects.
type Order struct {
	ID     string // that a coordinator gave it; empty: it was given on the agent's own machine
	Verb   Verb
	Device string   // every verb but halt and resume
	By     string   // who orders it
	Reason string   // skip: required; halt, replace, reimage: may be given
	MAC    string   // bind: this or Serial
	Serial string   // bind
	Only   []string // resume: the devices that are to be imaged; empty: those of the run so far
	All    bool     // resume: all devices are to be imaged, whatever the run was limited to; without Only
}

// Refusal is why an order is not obeyed. Nothing was changed.
type Refusal struct {
	What string // what was ordered of whom, and why not
	Next string // what to do instead
}

// Error is one line for people.
func (r *Refusal) Error() string { return r.What + ". Next: " + r.Next }

func refuse(next, what string, a ...any) error {
	return &Refusal{What: fmt.Sprintf(what, a...), Next: next}
}

// Obey decides what follows from an order: the events to journal, or a *Refusal.
// It changes nothing. No events and no error: it is so already.
func (r *Run) Obey(o Order) ([]Event, error) {
	o.By, o.Reason = clip(o.By, maxBy), clip(o.Reason, maxReason)
	if o.Verb == HaltNow || o.Verb == Resume {
		return r.obeyRack(o)
	}
	dev, ok := r.Rack.Device(o.Device)
	if !ok {
		return nil, refuse("write one of: "+strings.Join(r.names(), ", "), "%s %s: rack %s has no such device", o.Verb, clip(o.Device, maxSerial), r.Rack.Name)
	}
	if r.Status == Draining && !o.Verb.OfLight() {
		return nil, refuse("wait until the rack is halted (rackreach status), then order it again", "%s %s: the rack is being halted, and what is in flight is served to its end", o.Verb, dev.Name)
	}
	event := func(k Kind, d Detail) ([]Event, error) {
		d.By, d.Order = o.By, o.ID
		if d.Reason == "" {
			d.Reason = o.Reason
		}
		return []Event{{Rack: r.Rack.Name, Device: dev.Name, Role: dev.Role, Kind: k, Detail: d}}, nil
	}
	d := r.Device(dev.Name)
	switch o.Verb {
	case Retry:
		if err := r.mayRetry(dev, d); err != nil {
			return nil, err
		}
		return event(DeviceRetried, Detail{})
	case Skip:
		if err := r.maySkip(dev, d, o); err != nil {
			return nil, err
		}
		return event(DeviceSkipped, Detail{})
	case Reimage:
		if err := r.mayStartOver(dev, d, o.Verb); err != nil {
			return nil, err
		}
		if !d.Seen {
			return nil, refuse("rackreach why "+dev.Name, "reimage %s: it was never seen, so nothing is known of what it holds", dev.Name)
		}
		return event(ReimageOrdered, Detail{Overwrites: d.Holds})
	case Replace:
		if err := r.mayStartOver(dev, d, o.Verb); err != nil {
			return nil, err
		}
		return event(DeviceReplaced, Detail{})
	case Bind:
		seen, err := r.bindable(dev, o)
		if err != nil {
			return nil, err
		}
		return event(DeviceBound, Detail{Seen: seen})
	case Identify, IdentifyOff:
		if dev.BMC == nil {
			return nil, refuse("look for it by its place in the rack", "%s %s: it has no BMC, and so no light that can be lit from here", o.Verb, dev.Name)
		}
		if o.Verb == Identify {
			return event(LightOn, Detail{})
		}
		return event(LightOff, Detail{})
	}
	return nil, refuse("rackreach --help", "%q is not a verb", clip(string(o.Verb), maxSerial))
}

// obeyRack decides the verbs of the rack itself.
func (r *Run) obeyRack(o Order) ([]Event, error) {
	event := func(k Kind, d Detail) ([]Event, error) {
		d.By, d.Order = o.By, o.ID
		return []Event{{Rack: r.Rack.Name, Kind: k, Detail: d}}, nil
	}
	if o.Verb == HaltNow {
		if r.Status != Imaging {
			return nil, refuse("rackreach status", "halt: rack %s is not being imaged, it is %s", r.Rack.Name, r.Status)
		}
		cause := "halted by " + orSomebody(o.By)
		if o.Reason != "" {
			cause += ": " + o.Reason
		}
		return event(RackDraining, Detail{Error: cause, Reason: "no new ticket, power or configuration command; what is being installed is served to its end"})
	}
	if o.All && len(o.Only) > 0 {
		return nil, refuse("leave one of the two out", "resume: all devices of rack %s, and only some of them", r.Rack.Name)
	}
	// A run that was limited to some devices goes on with these: nothing else is
	// imaged unless somebody says so.
	only := o.Only
	if len(only) == 0 && !o.All {
		only = r.Only
	}
	for _, n := range o.Only {
		if _, ok := r.Rack.Device(n); !ok {
			return nil, refuse("write one of: "+strings.Join(r.names(), ", "), "resume: rack %s has no device %s", r.Rack.Name, clip(n, maxSerial))
		}
	}
	for i := range r.Rack.Devices {
		d := &r.Rack.Devices[i]
		if r.Uncertain(d.Name) {
			return nil, refuse(fmt.Sprintf("look at it, then rackreach retry %s to go on where its journal ends, or rackreach reimage %s", d.Name, d.Name),
				"resume: %s is uncertain: its journal was salvaged, and what came after its last event is not known", d.Name)
		}
		if s := r.devices[d.Name]; d.Role.IsSwitch() && s.Status == Failed {
			return nil, refuse(r.Remedy(d.Name), "resume: %s has failed: %s", d.Name, s.Error)
		}
	}
	switch {
	case r.Status == Draining:
		return nil, refuse("start rackreach apply again and let it end, then rackreach resume", "resume: rack %s is still being halted", r.Rack.Name)
	case r.Status == Imaging && slices.Equal(r.Only, only):
		return nil, nil // it goes on anyway
	case r.Status == Completed && r.Ended():
		return nil, nil // nothing is left to do
	case r.Status == Imaging && len(r.Only) == 0:
		return nil, refuse("rackreach halt, then rackreach resume", "resume: rack %s is being imaged as a whole", r.Rack.Name)
	case r.Status == Halted && len(r.Only) > 0 && len(o.Only) == 0 && !o.All && r.Settled():
		return nil, refuse("rackreach resume "+r.Rack.Name+" --all: it images the others; or name some with --only",
			"resume: only %s was asked for, and nothing of that is left to do", strings.Join(r.Only, ", "))
	case r.Status == Imaging && len(o.Only) > 0:
		for _, n := range r.Only {
			if !slices.Contains(o.Only, n) {
				return nil, refuse("name it as well, or rackreach halt, then rackreach resume", "resume: %s is being imaged", n)
			}
		}
	}
	return event(RackResumed, Detail{Only: only})
}

// Answered reports whether an order of that id was answered: it must not be
// obeyed a second time.
func (r *Run) Answered(id string) bool { return id != "" && r.answered[id] }

// Answer is what is journalled for an order with an id that changes nothing:
// because of err, or because it is so already.
func (r *Run) Answer(o Order, err error) Event {
	d := Detail{By: clip(o.By, maxBy), Order: o.ID, Reason: string(o.Verb) + ": it is so already"}
	var no *Refusal
	switch {
	case errors.As(err, &no):
		d.Reason, d.Error, d.Next = "", no.What, no.Next
	case err != nil:
		d.Reason, d.Error = "", err.Error()
	}
	e := Event{Rack: r.Rack.Name, Kind: OrderAnswered, Detail: d}
	if dev, ok := r.Rack.Device(o.Device); ok {
		e.Device, e.Role = dev.Name, dev.Role
	}
	return e
}

// Ended reports whether nothing is left to do for any device.
func (r *Run) Ended() bool {
	for _, d := range r.devices {
		if d.Status != Ready && d.Status != Failed && d.Status != Skipped {
			return false
		}
	}
	return true
}

// Remedy is what to do about a device that has failed.
func (r *Run) Remedy(device string) string {
	switch d := r.Device(device); {
	case d.Refused:
		return fmt.Sprintf("rackreach reimage %s, if %s may be overwritten; then rackreach resume", device, d.Holds)
	case d.Writing:
		return fmt.Sprintf("look at %s; when it does not write any more: rackreach reimage %s, rackreach resume", device, device)
	}
	return fmt.Sprintf("mend %s, then: rackreach retry %s, rackreach resume", device, device)
}

func (r *Run) mayRetry(dev *Device, d DeviceState) error {
	n := dev.Name
	switch {
	case r.Uncertain(n):
		return nil // somebody has looked at it
	case d.Refused && (d.Status == Failed || d.Status == Skipped):
		return refuse("rackreach reimage "+n+", if that may be overwritten", "retry %s: its installer would refuse again: its disk holds %s", n, d.Holds)
	case d.Writing && (d.Status == Failed || d.Status == Skipped):
		return refuse("look at the device; when it does not write any more: rackreach reimage "+n, "retry %s: it may still be writing, and would be power-cycled", n)
	case strings.HasPrefix(d.Held, CablingReason):
		return nil // somebody has looked at its cables
	case d.Status != Failed && d.Status != Skipped:
		return refuse("rackreach why "+n, "retry %s: it has not failed, it is %s", n, d.where())
	}
	return nil
}

func (r *Run) maySkip(dev *Device, d DeviceState, o Order) error {
	n := dev.Name
	switch {
	case dev.Role.IsSwitch():
		lost := r.unreachableWithout(n)
		return refuse("mend it, then rackreach retry "+n, "skip %s: without this switch %s; no server is imaged before every switch is ready", n, lost)
	case d.Status == Installing && d.Ticket.Open && d.Ticket.Live && r.step(dev, d.Step).Destructive && !r.Uncertain(n):
		// A run that is completed without it would end what it is served.
		return refuse(r.itsEnd(), "skip %s: it may be writing right now, under ticket %s", n, d.Ticket.ID)
	case d.Status == Ready:
		return refuse("nothing: leave it as it is", "skip %s: it is ready", n)
	case d.Status == Skipped:
		return refuse("nothing: it is skipped already", "skip %s: it is skipped", n)
	case o.Reason == "":
		return refuse("write --reason, for those who come after you", "skip %s: no reason was given", n)
	}
	return nil
}

// unreachableWithout says in words which devices hang on a switch.
func (r *Run) unreachableWithout(name string) string {
	var lost []string
	for i := range r.Rack.Devices {
		d := r.Rack.Devices[i].Name
		for _, n := range []Network{Management, Data} {
			ends, without := 0, 0
			for _, c := range r.Cabling.Ends(d) {
				if route, ok := r.Cabling.Route(c); ok && c.Network == n {
					ends++
					if slices.Contains(route, name) {
						without++
					}
				}
			}
			if ends > 0 && ends == without && d != name {
				lost = append(lost, d)
				break
			}
		}
	}
	if len(lost) == 0 {
		return "no device would lose its last route, but servers would lose one of them"
	}
	return "these devices would stay unreachable: " + strings.Join(lost, ", ")
}

// mayStartOver refuses to begin anew with a device that must be left alone.
func (r *Run) mayStartOver(dev *Device, d DeviceState, v Verb) error {
	n := dev.Name
	if dev.Protect {
		return refuse("write protect: false in the rack file, plan and apply again, if you mean it", "%s %s: it is protected: nothing on it may ever be overwritten", v, n)
	}
	// Nobody drives a device that is uncertain, so its end would never come; whoever
	// orders this has looked at it.
	driven := !r.Uncertain(n)
	if driven && r.Status == Imaging && d.Status == Configuring && d.Held == "" && r.step(dev, d.Step).Uninterruptible {
		return refuse(r.itsEnd(), "%s %s: its configuration is being pushed, which must not be interrupted", v, n)
	}
	for _, other := range r.OpenTickets() {
		switch {
		case other == n && driven:
			return refuse(r.itsEnd(), "%s %s: it may be writing right now, under ticket %s", v, n, d.Ticket.ID)
		case other != n && dev.Role.IsSwitch() && r.behind(other, n):
			return refuse("wait for its end (rackreach watch), or rackreach halt", "%s %s: %s is being installed through it", v, n, other)
		}
	}
	return nil
}

// step is a step of a device's platform; the zero one when it has none of that name.
func (r *Run) step(dev *Device, name string) Step {
	for _, s := range r.Platforms[dev.Platform].Steps {
		if s.Name == name {
			return s
		}
	}
	return Step{}
}

// itsEnd is how the end of what may be writing comes about.
func (r *Run) itsEnd() string {
	if r.Status != Imaging {
		return "rackreach resume, and wait for its end"
	}
	return "wait for its end (rackreach watch)"
}

// behind reports whether a route of a device leads through a switch.
func (r *Run) behind(device, name string) bool {
	return slices.ContainsFunc(r.through(name), func(c Cable) bool { return c.Device == device })
}

// bindable is what an operator says of a component, or why it cannot be so.
func (r *Run) bindable(dev *Device, o Order) (*Observation, error) {
	seen := &Observation{Source: FromOperator, Device: dev.Name, Serial: o.Serial}
	switch {
	case (o.MAC == "") == (o.Serial == ""):
		return nil, refuse("write rackreach bind "+dev.Name+" 52:54:00:12:34:56, or its serial number", "bind %s: one MAC or one serial is needed", dev.Name)
	case len(o.Serial) > maxSerial || strings.ContainsFunc(o.Serial, func(c rune) bool { return c < '!' || c > '~' }):
		return nil, refuse("write it as it stands on the device's label", "bind %s: %.20q… is not a serial number", dev.Name, o.Serial)
	case meansMAC(o.Serial):
		return nil, refuse("write six pairs of hex digits, 52:54:00:12:34:56, or a serial number as it stands on the device's label", "bind %s: %s is neither a whole MAC nor a serial number", dev.Name, clip(o.Serial, maxSerial))
	case o.MAC != "":
		mac, err := net.ParseMAC(o.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 == 1 || slices.Max(mac) == 0 {
			return nil, refuse("write six pairs of hex digits, 52:54:00:12:34:56", "bind %s: %s is not the MAC of an interface", dev.Name, clip(o.MAC, maxSerial))
		}
		seen.MAC = mac.String()
	}
	switch other := r.binder.Owner(seen); other {
	case dev.Name:
		return nil, refuse("nothing: it is bound already", "bind %s: %s%s is bound to it", dev.Name, seen.MAC, seen.Serial)
	case "":
		return seen, nil
	default:
		return nil, refuse("rackreach replace "+other+", if that hardware was moved, then bind again", "bind %s: %s%s belongs to %s", dev.Name, seen.MAC, seen.Serial, other)
	}
}

// meansMAC reports whether a serial number is a MAC in which somebody slipped: such
// a slot would wait for a number that no device has.
func meansMAC(serial string) bool {
	parts := strings.FieldsFunc(serial, func(c rune) bool { return c == ':' || c == '-' })
	pairs := 0
	for _, p := range parts {
		if len(p) <= 2 {
			pairs++
		}
	}
	return strings.Contains(serial, ":") && pairs >= 3 || len(parts) >= 5 && pairs == len(parts)
}

// where says in words where a device stands.
func (d DeviceState) where() string {
	switch {
	case d.Held != "":
		return string(d.Status) + ", held: " + d.Held
	case d.Step != "" && d.Status != Ready && d.Status != Skipped:
		return fmt.Sprintf("in %s, step %s", d.Status, d.Step)
	}
	return string(d.Status)
}

func (r *Run) names() []string {
	var out []string
	for i := range r.Rack.Devices {
		out = append(out, r.Rack.Devices[i].Name)
	}
	return out
}

// clip makes one line of words that came from outside, and bounds them.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

func orSomebody(by string) string {
	if by == "" {
		return "an operator"
	}
	return by
}
