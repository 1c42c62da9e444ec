package fleet

import (
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// End is a port of a rack, one end of a cable between racks.
type End struct {
	Rack string
	Port rack.Port
}

// String is "RACK/DEVICE:PORT", as an LLDP observation names a neighbour.
func (e End) String() string { return e.Rack + "/" + e.Port.String() }

// Link is a cable between two racks. A is the end in the rack whose file names
// the cable; where both do, that of the rack which stands first in the fleet.
type Link struct{ A, B End }

// outside is the end of another rack that a port of a rack file names.
func outside(p rack.Port) (End, bool) {
	rest, ok := strings.CutPrefix(p.Device, "rack:")
	if !ok {
		return End{}, false
	}
	name, device, _ := strings.Cut(rest, "/")
	return End{name, rack.Port{Device: device, Name: p.Name}}, true
}

// Neighbours lists the racks that the links of a rack lead to, each once, in the
// order of its file.
func Neighbours(r *rack.Rack) []string {
	var out []string
	for _, l := range r.Links {
		if e, ok := outside(l.B); ok && !slices.Contains(out, e.Rack) {
			out = append(out, e.Rack)
		}
	}
	return out
}

// Links lists the cables between racks, each once, in the order of the racks and
// of their files. Both ends may name racks that are not among them.
func Links(racks []*rack.Rack) []Link {
	var out []Link
	seen := map[Link]bool{}
	for _, r := range racks {
		for _, x := range r.Links {
			b, ok := outside(x.B)
			if !ok {
				continue
			}
			l := Link{End{r.Name, x.A}, b}
			if !seen[l] && !seen[Link{l.B, l.A}] {
				seen[l] = true
				out = append(out, l)
			}
		}
	}
	return out
}

// LinkState is how a cable between two racks stands, by the word of both ends.
type LinkState struct {
	Link
	State rack.LinkState
	Note  string // what is missing or wrong, for people; empty when it is open
}

// LinkOpen is the state that a complete backplane's cables are in.
const LinkOpen = rack.LinkIsOpen

// Side is what is known of one end of a cable.
type Side struct {
	Known bool   // the rack is one of the fleet
	There bool   // and it has such a switch
	Ready bool   // which is ready
	Hears string // "RACK/DEVICE:PORT" that it hears at that port; empty: nothing
}

// Look says what is known of an end now.
type Look func(End) Side

// LookAt looks into the runs of racks, by their names.
func LookAt(runs map[string]*rack.Run) Look {
	return func(e End) Side {
		run := runs[e.Rack]
		if run == nil {
			return Side{}
		}
		d, ok := run.Rack.Device(e.Port.Device)
		if !ok || !d.Role.IsSwitch() {
			return Side{Known: true}
		}
		return Side{Known: true, There: true, Ready: run.Device(d.Name).Status == rack.Ready, Hears: run.Neighbour(e.Port)}
	}
}

// Backplane judges every cable between racks.
func Backplane(links []Link, look Look) []LinkState {
	out := make([]LinkState, 0, len(links))
	for _, l := range links {
		out = append(out, Judge(l, look(l.A), look(l.B)))
	}
	return out
}

// Judge says how a cable stands by what is known of both ends. What an end hears
// counts only while the switch there is ready.
func Judge(l Link, a, b Side) LinkState {
	s := LinkState{Link: l, State: rack.LinkIsClosed}
	ends := []struct {
		at, far End
		Side
	}{{l.A, l.B, a}, {l.B, l.A, b}}
	var missing, unready, wrong, deaf []string
	for _, e := range ends {
		switch {
		case !e.Known:
			missing = append(missing, "rack "+e.at.Rack+" is not in the fleet")
		case !e.There:
			missing = append(missing, "rack "+e.at.Rack+" has no switch "+e.at.Port.Device)
		case !e.Ready:
			unready = append(unready, e.at.Rack+"/"+e.at.Port.Device+" is not ready")
		case e.Hears == "":
			deaf = append(deaf, e.at.String()+" hears nothing, expected "+e.far.String())
		case e.Hears != e.far.String():
			wrong = append(wrong, "cables crossed? "+e.at.String()+" hears "+e.Hears+", expected "+e.far.String())
		}
	}
	switch {
	case len(missing)+len(unready) > 0:
		deaf = nil // it is no wonder
	case len(wrong)+len(deaf) > 0:
		s.State = rack.LinkIsReady
	default:
		s.State = rack.LinkIsOpen
	}
	s.Note = strings.Join(slices.Concat(missing, wrong, unready, deaf), "; ")
	return s
}
