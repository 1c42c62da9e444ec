package fleet

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// MaxRacks bounds a fleet.
const MaxRacks = 4096

// Member is a rack of a fleet, valid by itself (rack.Validate).
type Member struct {
	*rack.Rack
	// ServerID is the address by which its devices reach its agent; invalid: it is
	// not known.
	ServerID netip.Addr
}

// Problem is one thing that racks must not contradict each other in.
type Problem struct {
	Rack  int // index in the members; -1: the fleet itself
	Where rack.Ref
	What  string // what is wrong; never a secret
	Fix   string // what to write instead
}

// Validate names every problem of a fleet at once, in the order of its racks. What
// is wrong within one rack, rack.Validate says; it is left out here.
// Their names are those of the members, whatever the Spec says.
func Validate(f Spec, members []Member) []Problem {
	c := &checker{members: members, byName: map[string]int{}, plugged: map[End]claim{}}
	c.spec(f)
	c.names()
	c.ports()
	c.links()
	c.hardware()
	for _, group := range c.joined() {
		c.group(group)
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Rack, b.Rack), cmp.Compare(a.Where.List, b.Where.List), cmp.Compare(a.Where.Index, b.Where.Index), cmp.Compare(a.Where.Field, b.Where.Field))
	})
	return c.problems
}

// checker collects the problems of one fleet.
type checker struct {
	members  []Member
	byName   map[string]int // the first rack of a name
	plugged  map[End]claim
	problems []Problem
}

// claim is what a port is taken by.
type claim struct {
	cable Link   // between racks; zero: one within its rack
	by    string // in words
}

func (c *checker) say(member int, list string, index int, field, fix, format string, args ...any) {
	c.problems = append(c.problems, Problem{member, rack.Ref{List: list, Index: index, Field: field}, fmt.Sprintf(format, args...), fix})
}

func (c *checker) spec(f Spec) {
	if f.AtOnce < 0 {
		c.say(-1, "", 0, "atOnce", "how many racks are imaged at once, or leave it out for all", "%d is not a number of racks", f.AtOnce)
	}
	if f.HaltAfter < 0 {
		c.say(-1, "", 0, "haltAfter", "how many racks may halt before no further one is begun; 0: none may", "%d is not a number of racks", f.HaltAfter)
	}
	switch {
	case len(c.members) == 0:
		c.say(-1, "", 0, "racks", "a list with one rack file or more", "the fleet has no racks")
	case len(c.members) > MaxRacks:
		c.say(-1, "", 0, "racks", fmt.Sprintf("at most %d, and another fleet for the others", MaxRacks), "the fleet has %d racks", len(c.members))
	}
}

func (c *checker) names() {
	for i, m := range c.members {
		if first, twice := c.byName[m.Name]; twice {
			c.say(i, "", 0, "name", "a name that no other rack of the fleet has", "two racks are named %s: the %s and the %s of the fleet", m.Name, nth(first), nth(i))
			continue
		}
		c.byName[m.Name] = i
	}
}

// nth is a place in a list, from 0, in words.
func nth(i int) string { return fmt.Sprintf("rack on place %d", i+1) }

// ports notes what the cables within each rack take.
func (c *checker) ports() {
	for i := range c.members {
		r := c.members[i].Rack
		if c.byName[r.Name] != i {
			continue
		}
		take := func(p rack.Port, by string) {
			if !p.IsZero() {
				c.plugged[End{r.Name, p}] = claim{by: by}
			}
		}
		take(r.Agent.Cable, "the agent's cable")
		for k := range r.Devices {
			d := &r.Devices[k]
			take(d.Management, "the management end of "+d.Name)
			for _, p := range d.Data {
				take(p, "a data end of "+d.Name)
			}
		}
		for _, l := range r.Links {
			if _, out := outside(l.B); !out {
				take(l.A, "the link to "+l.B.String())
				take(l.B, "the link to "+l.A.String())
			}
		}
	}
}

// links holds that cables between racks lead to switches that exist, and to
// ports that nothing else is plugged into.
func (c *checker) links() {
	for i := range c.members {
		r := c.members[i].Rack
		if c.byName[r.Name] != i {
			continue
		}
		for n, l := range r.Links {
			far, ok := outside(l.B)
			if !ok || l.A.IsZero() {
				continue
			}
			cable := Link{End{r.Name, l.A}, far}
			if !c.leads(i, n, cable) {
				continue
			}
			for _, e := range []struct {
				field string
				at    End
			}{{"a", cable.A}, {"b", cable.B}} {
				other, taken := c.plugged[e.at]
				switch {
				case !taken:
					c.plugged[e.at] = claim{cable, fmt.Sprintf("the link from %s to %s", cable.A, cable.B)}
				case other.cable == cable, other.cable == Link{cable.B, cable.A}: // both files name it
				default:
					c.say(i, "links", n, e.field, "a port that nothing else is cabled to, in both rack files", "two cables on port %s: %s and the link from %s to %s", e.at, other.by, cable.A, cable.B)
				}
			}
		}
	}
}

// leads reports whether a cable joins an inter-rack switch and a ToR switch.
func (c *checker) leads(member, link int, l Link) bool {
	at, ok := c.byName[l.B.Rack]
	if !ok {
		c.say(member, "links", link, "b", "a rack of this fleet, or leave the link out", "the link from %s leads to rack %s, which is not in the fleet", l.A.Port, l.B.Rack)
		return false
	}
	far, ok := c.members[at].Device(l.B.Port.Device)
	if !ok {
		c.say(member, "links", link, "b", "a switch of rack "+l.B.Rack, "the link from %s leads to %s, but rack %s has no device named %s", l.A.Port, l.B, l.B.Rack, l.B.Port.Device)
		return false
	}
	near, ok := c.members[member].Device(l.A.Port.Device)
	if !ok {
		return false // rack.Validate says so
	}
	roles := []rack.Role{near.Role, far.Role}
	if !slices.Contains(roles, rack.InterRackSwitch) || !slices.Contains(roles, rack.ToRSwitch) {
		c.say(member, "links", link, "b", "a ToR switch at one end and an inter-rack switch at the other", "the link from %s to %s joins %s and %s", l.A, l.B, a(near.Role), a(far.Role))
		return false
	}
	return true
}

// a is a role with its article.
func a(r rack.Role) string {
	if r == rack.InterRackSwitch {
		return "an " + string(r)
	}
	return "a " + string(r)
}

// hardware holds that no MAC and no serial number stands in two racks.
func (c *checker) hardware() {
	macs, serials := map[string]End{}, map[string]End{}
	for i := range c.members {
		r := c.members[i].Rack
		for k := range r.Devices {
			d := &r.Devices[k]
			at := End{r.Name, rack.Port{Device: d.Name}}
			for n, m := range d.MACs {
				if other, twice := macs[m]; twice && other.Rack != r.Name {
					c.say(i, "devices", k, fmt.Sprintf("macs[%d]", n), "the MAC that stands on the device", "MAC %s is given twice: to %s/%s and to %s/%s", m, other.Rack, other.Port.Device, r.Name, d.Name)
				}
				macs[m] = at
			}
			if d.Serial == "" {
				continue
			}
			if other, twice := serials[d.Serial]; twice && other.Rack != r.Name {
				c.say(i, "devices", k, "serial", "the serial number that stands on the device", "serial number %q is given twice: to %s/%s and to %s/%s", d.Serial, other.Rack, other.Port.Device, r.Name, d.Name)
			}
			serials[d.Serial] = at
		}
	}
}

// joined groups the racks that cables join, directly or through others, each
// group in the order of the fleet.
func (c *checker) joined() [][]int {
	group := make([]int, len(c.members)) // the first rack of each one's group
	for i := range group {
		group[i] = i
	}
	for i := range c.members {
		for _, name := range Neighbours(c.members[i].Rack) {
			at, ok := c.byName[name]
			if !ok || group[at] == group[i] {
				continue
			}
			from, to := max(group[i], group[at]), min(group[i], group[at])
			for k := range group {
				if group[k] == from {
					group[k] = to
				}
			}
		}
	}
	members := map[int][]int{}
	for i, g := range group {
		members[g] = append(members[g], i)
	}
	var out [][]int
	for i := range group {
		if len(members[i]) > 1 {
			out = append(out, members[i])
		}
	}
	return out
}
