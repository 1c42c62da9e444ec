package rack

import (
	"fmt"
	"strings"
)

const (
	maxPortName  = 32 // characters of a port's name
	maxOutsideTo = 63 // characters of what an external: cable leads to
)

// plug takes a port for the end of one cable and checks that it can be taken.
// trunk says that the cable is one between switches. It reports whether the
// port is one of a switch of this rack.
func (c *checker) plug(list string, index int, field string, p Port, end string, trunk bool) bool {
	ok := c.isSwitchPort(list, index, field, p, end)
	if !ok {
		c.trunksUnsure = c.trunksUnsure || trunk
		return false
	}
	if other, twice := c.plugged[p]; twice {
		c.say(list, index, field, "a port that nothing else is cabled to", "two cables on port %s: %s and %s", p, other, end)
		return true
	}
	c.plugged[p] = end
	return true
}

func (c *checker) isSwitchPort(list string, index int, field string, p Port, end string) bool {
	const fix = "SWITCH:PORT with a switch of this rack, such as mgmt-1:48"
	if p.IsZero() {
		c.say(list, index, field, fix, "no port for %s", end)
		return false
	}
	if p.IsOutside() {
		c.say(list, index, field, fix, "%s cannot end outside this rack, at %s", end, shown(p.String()))
		return false
	}
	if !plain(p.Name, maxPortName, "-_./") {
		c.say(list, index, field, fix, "%s is not the name of a port", shown(p.Name))
		return false
	}
	at, there := c.byName[p.Device]
	switch {
	case !there:
		c.say(list, index, field, fix, "%s leads to %s, but no device is named %s", end, shown(p.String()), shown(p.Device))
	case list == "devices" && p.Device == c.r.Devices[index].Name:
		c.say(list, index, field, "a port of another switch", "port %s is cabled to itself: %s leads to the same device", p, end)
	case c.r.Devices[at].Role == Server:
		c.say(list, index, field, fix, "%s leads to %s, but %s is a server, not a switch", end, shown(p.String()), shown(p.Device))
	default:
		return true
	}
	return false
}

// cables checks the agent's cable and the ends of the devices.
func (c *checker) cables() {
	if c.plug("", 0, "agent.cable", c.r.Agent.Cable, "the agent's cable", false) && !c.mgmtUnsure && c.r.Agent.Cable.Device != c.mgmt {
		c.say("", 0, "agent.cable", c.mgmt+":PORT", "the agent's cable is on %s, not on the management switch %s", shown(c.r.Agent.Cable.String()), shown(c.mgmt))
	}
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		if d.Role == ManagementSwitch || !d.Role.Valid() {
			continue
		}
		if d.Management.IsZero() {
			c.say("devices", i, "management", "management: and a port of the management switch, such as mgmt-1:1", "no management cable: no route can ever reach %s", shown(d.Name))
		} else {
			c.plug("devices", i, "management", d.Management, "the management end of "+shown(d.Name), false)
		}
		if d.Role == Server && len(d.Data) == 0 {
			c.say("devices", i, "data", "data: with one ToR port for each NIC, such as [\"tor-1:1\", \"tor-2:1\"]", "no data cable: no image can ever reach %s", shown(d.Name))
		}
		for n, p := range d.Data {
			c.plug("devices", i, fmt.Sprintf("data[%d]", n), p, fmt.Sprintf("data end %d of %s", n+1, shown(d.Name)), d.Role.IsSwitch())
		}
	}
}

// links checks the cables between switches and those that lead out of the rack.
func (c *checker) links() {
	for i, l := range c.r.Links {
		if l.Kind != Trunk && l.Kind != PeerLink {
			c.say("links", i, "kind", "trunk or peer, or leave kind out", "unknown kind of link %s", shown(string(l.Kind)))
		}
		if !l.A.IsZero() && l.A == l.B {
			c.say("links", i, "b", "the port at the other end of the cable", "port %s is cabled to itself", shown(l.A.String()))
			c.trunksUnsure = true
			continue
		}
		if !l.A.IsZero() && !l.A.IsOutside() && l.A.Device == l.B.Device {
			c.say("links", i, "b", "a port of another switch", "both ends of the link are on %s", shown(l.A.Device))
			c.trunksUnsure = true
			continue
		}
		end := fmt.Sprintf("the link from %s to %s", shown(l.A.String()), shown(l.B.String()))
		c.plug("links", i, "a", l.A, end, true)
		if l.B.IsOutside() {
			c.outside(i, l.B, end)
		} else {
			c.plug("links", i, "b", l.B, end, true)
		}
	}
}

// outside checks an end that is not of this rack.
func (c *checker) outside(i int, p Port, end string) {
	if p.Device == "external" {
		if !plain(p.Name, maxOutsideTo, "-_./") {
			c.say("links", i, "b", "external:NAME, such as external:datacenter", "%s is not the name of what a cable leads to", shown(p.Name))
		}
		return
	}
	rack, device, _ := strings.Cut(strings.TrimPrefix(p.Device, "rack:"), "/")
	if badName(rack) != "" || badName(device) != "" || !plain(p.Name, maxPortName, "-_./") {
		c.say("links", i, "b", "rack:RACK/DEVICE:PORT, such as rack:r1/tor-1:49", "%s is not a port of another rack", shown(p.String()))
		return
	}
	if rack == c.r.Name {
		c.say("links", i, "b", device+":"+p.Name, "%s is a port of this rack", p)
		return
	}
	if other, twice := c.plugged[p]; twice {
		c.say("links", i, "b", "a port that nothing else is cabled to", "two cables on port %s: %s and %s", p, other, end)
		return
	}
	c.plugged[p] = end
}

// routes holds that something can reach every end that is cabled to a switch.
func (c *checker) routes() {
	if c.mgmtUnsure {
		return
	}
	cabling := NewCabling(c.r)
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		if c.byName[d.Name] != i || d.Role == ManagementSwitch {
			continue
		}
		for _, x := range cabling.Ends(d.Name) {
			at, there := c.byName[x.Near.Device]
			if _, ok := cabling.Route(x); ok || !there || c.r.Devices[at].Role == Server || x.Near.Device == d.Name {
				continue
			}
			switch {
			case x.Network == Management:
				c.say("devices", i, "management", "a port of "+c.mgmt, "no route can ever reach the management end of %s: %s is not the management switch", shown(d.Name), shown(x.Near.Device))
			case !c.trunksUnsure:
				c.say("devices", i, fmt.Sprintf("data[%d]", x.NIC),
					fmt.Sprintf("data: %s:PORT at %s, or a link from it to a switch that has one", c.mgmt, x.Near.Device),
					"no route can ever reach data end %d of %s: %s has no way to %s", x.NIC+1, shown(d.Name), shown(x.Near.Device), shown(c.mgmt))
			}
		}
	}
}
