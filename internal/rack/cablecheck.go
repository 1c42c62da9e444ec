package rack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CableVerdict says whether a cable is the one of the rack file.
type CableVerdict string

// The verdicts.
const (
	CableRight   CableVerdict = "right"
	CableSwapped CableVerdict = "swapped" // with the cable at CableCheck.With
	CableWrong   CableVerdict = "wrong"   // something else stands at its end
	CableMissing CableVerdict = "missing" // its device was heard at a port that is not its own, and nothing here
	CableExtra   CableVerdict = "extra"   // the rack file has no cable at this port
	CableTaken   CableVerdict = "taken"   // what stands there says not whose it is, and is taken for what should
	CableUnseen  CableVerdict = "unseen"  // nothing was heard yet that tells: that is no fault
)

// Contradicts reports whether the cable is not the one of the rack file.
func (v CableVerdict) Contradicts() bool {
	return v != CableRight && v != CableTaken && v != CableUnseen
}

// CableCheck is one port of a switch: what the rack file says that it is cabled to, and
// what was heard there.
type CableCheck struct {
	Near     Port
	Network  Network  // empty: a link between switches, or a port without a cable
	Expected string   // a device; of a link its far end, "tor-2:53"; empty: nothing
	Found    []string // in the words of Expected, sorted; a neighbour's own words where it is no device of this rack
	By       []string // how that is known, for people: "LLDP", "option 82, by its uuid"
	Verdict  CableVerdict
	With     Port   // swapped: the other cable
	Seq      uint64 // of the newest observation of a station; 0: none

	servers []string // that the contradiction touches
}

// maxNamed bounds how many cables a reason names.
const maxNamed = 4

// Sentence is the check in words.
func (c *CableCheck) Sentence() string {
	found := strings.Join(c.Found, " and ")
	switch c.Verdict {
	case CableExtra:
		return fmt.Sprintf("port %s should have no cable and leads to %s", c.Near, found)
	case CableMissing:
		return fmt.Sprintf("cable %s should lead to %s, which was heard elsewhere", c.Near, c.Expected)
	case CableUnseen:
		return fmt.Sprintf("cable %s should lead to %s; nothing was heard there that tells", c.Near, c.Expected)
	case CableTaken:
		return fmt.Sprintf("cable %s leads to something that is taken for %s", c.Near, c.Expected)
	case CableRight:
		return fmt.Sprintf("cable %s leads to %s", c.Near, c.Expected)
	}
	return fmt.Sprintf("cable %s should lead to %s and leads to %s (%s)", c.Near, c.Expected, found, strings.Join(c.By, ", "))
}

// heard is what stands at a port, as far as it was heard.
type heard struct {
	devices map[string]bool // of this rack; true: by more than that it is at this port
	foreign []string        // what is no device of this rack
	named   []string        // neighbours that nobody knows: no proof of anything
	by      []string
	seq     uint64
}

func (h *heard) add(device, by string, firm bool, seq uint64) {
	h.devices[device] = h.devices[device] || firm
	if !slices.Contains(h.by, by) {
		h.by = append(h.by, by)
	}
	h.seq = max(h.seq, seq)
}

// who are the devices that stand there: those that say so themselves, and only where
// there is none, what is taken for a device because it is at its port.
func (h *heard) who() (names []string) {
	for name, firm := range h.devices {
		if firm {
			names = append(names, name)
		}
	}
	if len(names)+len(h.foreign) == 0 {
		names = slices.Collect(maps.Keys(h.devices))
	}
	slices.Sort(names)
	return names
}

// far is a neighbour as LLDP named it.
type far struct{ rack, device, port string }

// parseFar reads "RACK/DEVICE:PORT", or "NAME:PORT" of who knows of no rack.
func parseFar(s string) far {
	var f far
	rest := s
	if a, b, ok := strings.Cut(s, "/"); ok && !strings.Contains(a, ":") {
		f.rack, rest = a, b
	}
	f.device, f.port, _ = strings.Cut(rest, ":")
	return f
}

// farEnds are the neighbours of a port.
func farEnds(message string) (out []string) {
	for _, s := range strings.Split(message, ", ") {
		if s != "" && s != "…" {
			out = append(out, s)
		}
	}
	return out
}

// ears collects everything that was heard, by port.
func (r *Run) ears() map[Port]*heard {
	out := map[Port]*heard{}
	at := func(p Port) *heard {
		if out[p] == nil {
			out[p] = &heard{devices: map[string]bool{}}
		}
		return out[p]
	}
	for _, mac := range slices.Sorted(maps.Keys(r.stations)) {
		s := r.stations[mac]
		by := map[Source]string{FromDHCP: "option 82", FromMACTable: "MAC table", FromBMC: "BMC"}[s.source]
		if s.said != "" {
			by += ", by " + s.said
		}
		at(s.at).add(s.device, by, s.firm, s.seq)
	}
	for p, message := range r.neighbours {
		if r.Cabling.between[p] {
			continue // checkLinks looks at these, down to the port
		}
		for _, s := range farEnds(message) {
			f := parseFar(s)
			_, ours := r.Rack.Device(f.device)
			switch {
			case f.rack != "" && f.rack != r.Rack.Name:
				h := at(p)
				h.foreign, h.by = append(h.foreign, s), append(h.by, "LLDP")
			case !ours:
				h := at(p)
				h.named = append(h.named, s)
			default:
				// The port that it names is the near end of the same cable.
				if c, ok := r.Cabling.At(Port{f.device, f.port}); ok {
					at(c.Near).add(p.Device, "LLDP", true, 0)
				}
				if !r.uplink(p, f.device) {
					at(p).add(f.device, "LLDP", true, 0)
				}
			}
		}
	}
	return out
}

// uplink reports whether a port that the rack file does not name may be the end of a
// cable that it names by its other end: a switch hears there what it hangs on.
func (r *Run) uplink(p Port, neighbour string) bool {
	if _, named := r.Cabling.At(p); named || p == r.Rack.Agent.Cable {
		return false
	}
	return slices.ContainsFunc(r.Cabling.Ends(p.Device), func(c Cable) bool { return c.Near.Device == neighbour })
}

// CheckCables compares every cable of the rack file, in its order, with what was heard,
// and names the ports that lead somewhere and have no cable. It knows what Apply was
// told; on a follower, which knows nobody by a MAC, that is LLDP alone.
func (r *Run) CheckCables() []CableCheck {
	ears := r.ears()
	var out []CableCheck
	for _, c := range r.Cabling.Cables() {
		out = append(out, r.checkCable(c, ears[c.Near]))
	}
	r.pair(out)
	out = append(out, r.checkLinks()...)
	var extra []CableCheck
	for _, p := range slices.SortedFunc(maps.Keys(ears), comparePorts) {
		h := ears[p]
		if _, named := r.Cabling.At(p); named || p == r.Rack.Agent.Cable || r.Cabling.between[p] || len(h.devices)+len(h.foreign) == 0 {
			continue
		}
		x := CableCheck{Near: p, Verdict: CableExtra, By: h.by, Seq: h.seq, Found: slices.Concat(h.who(), h.foreign)}
		extra = append(extra, x)
	}
	return append(out, extra...)
}

func (r *Run) checkCable(c Cable, h *heard) CableCheck {
	x := CableCheck{Near: c.Near, Network: c.Network, Expected: c.Device, Verdict: CableUnseen}
	if h == nil {
		return x
	}
	x.By, x.Seq = h.by, h.seq
	x.Found = slices.Concat(h.who(), h.foreign)
	switch {
	case len(x.Found) == 0:
		x.Found = h.named // a name that its maker or its last owner gave it
	case len(x.Found) == 1 && x.Found[0] == c.Device:
		x.Verdict = CableTaken
		if h.devices[c.Device] {
			x.Verdict = CableRight
		}
	default:
		x.Verdict = CableWrong
		x.servers = r.serversOf(append(slices.Clone(x.Found), c.Device))
	}
	return x
}

// serversOf are the servers among names, each once.
func (r *Run) serversOf(names []string) (out []string) {
	for _, n := range names {
		if d, ok := r.Rack.Device(n); ok && d.Role == Server && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// pair finds the cables that are plugged the wrong way round, and those whose device
// was heard elsewhere.
func (r *Run) pair(all []CableCheck) {
	for i := range all {
		x := &all[i]
		if x.Verdict != CableWrong && x.Verdict != CableSwapped {
			continue
		}
		for j := range all {
			y := &all[j]
			if i == j || y.Network != x.Network || !slices.Contains(x.Found, y.Expected) {
				continue
			}
			switch {
			case (y.Verdict == CableWrong || y.Verdict == CableSwapped) && slices.Contains(y.Found, x.Expected):
				x.Verdict, x.With, y.Verdict, y.With = CableSwapped, y.Near, CableSwapped, x.Near
			case y.Verdict == CableUnseen && y.Near.Device == x.Near.Device:
				y.Verdict, y.servers = CableMissing, r.serversOf([]string{y.Expected})
			}
		}
	}
}

// checkLinks compares the links between switches, of which both ports are named.
func (r *Run) checkLinks() []CableCheck {
	var out []CableCheck
	for _, l := range r.Rack.Links {
		x := CableCheck{Near: l.A, Expected: farText(l.B), Verdict: CableUnseen}
		x.Found = r.overLink(l)
		switch {
		case len(x.Found) == 0 || strings.HasPrefix(l.B.Device, "external:") || l.B.Device == "external":
		case len(x.Found) == 1 && x.Found[0] == x.Expected:
			x.Verdict, x.By = CableRight, []string{"LLDP"}
		default:
			x.Verdict, x.By = CableWrong, []string{"LLDP"}
		}
		out = append(out, x)
	}
	for i := range out {
		for j := range out {
			x, y := &out[i], &out[j]
			if i < j && x.Verdict == CableWrong && y.Verdict == CableWrong && slices.Contains(x.Found, y.Expected) && slices.Contains(y.Found, x.Expected) {
				x.Verdict, x.With, y.Verdict, y.With = CableSwapped, y.Near, CableSwapped, x.Near
			}
		}
	}
	return out
}

// farText is the far end of a link as LLDP would name it.
func farText(p Port) string { return strings.TrimPrefix(p.String(), "rack:") }

// overLink is what stands at the far end of a link: what its near end hears, and, when
// that hears nobody, who hears its near end.
func (r *Run) overLink(l Link) (found []string) {
	for _, s := range farEnds(r.neighbours[l.A]) {
		found = append(found, strings.TrimPrefix(s, r.Rack.Name+"/"))
	}
	if len(found) > 0 || l.B.IsOutside() {
		return found
	}
	for _, s := range farEnds(r.neighbours[l.B]) {
		if s = strings.TrimPrefix(s, r.Rack.Name+"/"); s == l.A.String() {
			return []string{l.B.String()}
		}
	}
	return nil
}

// Against is what speaks against the cables of servers, in words: by device and by the
// network that the cables are of. Nothing is done to these, and nothing is kept from any
// other device.
func (r *Run) Against() map[string]map[Network]string {
	lines := map[string]map[Network][]string{}
	all := r.CheckCables()
	for i := range all {
		x := &all[i]
		for _, name := range x.servers {
			if lines[name] == nil {
				lines[name] = map[Network][]string{}
			}
			lines[name][x.Network] = append(lines[name][x.Network], x.Sentence())
		}
	}
	out := map[string]map[Network]string{}
	for name, by := range lines {
		out[name] = map[Network]string{}
		for n, said := range by {
			if len(said) > maxNamed {
				said = append(said[:maxNamed:maxNamed], fmt.Sprintf("and %d more", len(said)-maxNamed))
			}
			out[name][n] = CablingReason + strings.Join(said, "; ")
		}
	}
	return out
}

// CablingReason is how every reason begins for which the cables of a device are held
// against it.
const CablingReason = "what was heard contradicts the rack file: "
