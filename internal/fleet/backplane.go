package fleet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Link is a cable between two racks.
type Link struct {
	A, B  string         // "r2/inter-rack-1:7", "r1/tor-1:49"
	State rack.LinkState // by the word of both ends
	Note  string         // what is missing, or wrong; empty when it is open
}

// Member is what a rack says of the links to other racks.
type Member struct {
	Rack  string
	Links []rack.Link          // those of its rack file that lead to other racks
	Ready map[string]bool      // its switches; true: it is ready
	Heard map[rack.Port]string // "RACK/DEVICE:PORT" by the port of a switch that hears it
}

// MemberOf is what a rack says, as its run knows.
func MemberOf(run *rack.Run) *Member {
	m := &Member{Rack: run.Rack.Name, Ready: map[string]bool{}, Heard: run.Neighbours()}
	for i := range run.Rack.Devices {
		if d := &run.Rack.Devices[i]; d.Role.IsSwitch() {
			m.Ready[d.Name] = run.Device(d.Name).Status == rack.Ready
		}
	}
	for _, l := range run.Rack.Links {
		if strings.HasPrefix(l.B.Device, "rack:") {
			m.Links = append(m.Links, l)
		}
	}
	return m
}

// end is one end of a link.
type end struct {
	rack string
	port rack.Port
}

func (e end) String() string { return e.rack + "/" + e.port.String() }

// outside is the end that a port of another rack names: "rack:r1/tor-1:49".
func outside(p rack.Port) (end, bool) {
	name, device, ok := strings.Cut(strings.TrimPrefix(p.Device, "rack:"), "/")
	return end{name, rack.Port{Device: device, Name: p.Name}}, ok
}

// Neighbours are the racks that a rack's own file names at the far ends of its
// links, sorted.
func Neighbours(r *rack.Rack) []string {
	var out []string
	for _, l := range r.Links {
		if !strings.HasPrefix(l.B.Device, "rack:") {
			continue
		}
		if b, ok := outside(l.B); ok && !slices.Contains(out, b.rack) {
			out = append(out, b.rack)
		}
	}
	slices.Sort(out)
	return out
}

// Backplane is every link between racks, each once, and how it stands: ready when
// the switches at both ends are, open when these hear each other as well.
func Backplane(members []*Member) []Link {
	by := map[string]*Member{}
	for _, m := range members {
		by[m.Rack] = m
	}
	seen := map[[2]string]bool{}
	var out []Link
	for _, m := range members {
		for _, l := range m.Links {
			a := end{m.Rack, l.A}
			b, ok := outside(l.B)
			if !ok || seen[[2]string{b.String(), a.String()}] || seen[[2]string{a.String(), b.String()}] {
				continue
			}
			seen[[2]string{a.String(), b.String()}] = true
			x := Link{A: a.String(), B: b.String()}
			x.State, x.Note = judge(by, a, b)
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b Link) int { return strings.Compare(a.A, b.A) })
	return out
}

// plain is a neighbour that is not of its hearer's rack, "NAME:PORT" as it calls itself, as a
// rack file names it: in lower case, and without the domain that many switches add.
func plain(heard string) string {
	n := strings.LastIndexByte(heard, ':')
	if n < 0 || strings.ContainsAny(heard, "/,") { // several neighbours at one port are none
		return heard
	}
	name, _, _ := strings.Cut(strings.ToLower(heard[:n]), ".")
	return name + heard[n:]
}

// judge is how a link stands, and what is missing.
func judge(by map[string]*Member, a, b end) (rack.LinkState, string) {
	for _, e := range []end{a, b} {
		m := by[e.rack]
		if m == nil {
			return rack.LinkIsClosed, fmt.Sprintf("rack %s is not known here", e.rack)
		}
		ready, ok := m.Ready[e.port.Device]
		if !ok {
			return rack.LinkIsClosed, fmt.Sprintf("rack %s has no switch %s", e.rack, e.port.Device)
		}
		if !ready {
			return rack.LinkIsClosed, fmt.Sprintf("%s/%s is not ready", e.rack, e.port.Device)
		}
	}
	for _, e := range [][2]end{{a, b}, {b, a}} {
		switch heard := by[e[0].rack].Heard[e[0].port]; {
		case heard == e[1].String():
		case plain(heard) == e[1].port.String():
			// Only the other rack's file names this cable, so this end could not tell which
			// rack its neighbour is of. It is none of its own: those are named with their rack.
		case heard == "":
			return rack.LinkIsReady, fmt.Sprintf("%s hears nothing", e[0])
		default:
			return rack.LinkIsReady, fmt.Sprintf("cables crossed? %s hears %.80s, not %s", e[0], heard, e[1])
		}
	}
	return rack.LinkIsOpen, ""
}
