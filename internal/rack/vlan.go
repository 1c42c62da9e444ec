package rack

import (
	"fmt"
	"slices"
)

// PortRole says what a port of a switch is for. It follows from the cabling.
type PortRole string

// The roles of ports.
const (
	AgentPort      PortRole = "agent"      // the agent is plugged into it
	BMCPort        PortRole = "bmc"        // the management end of a server: its BMC
	ManagementPort PortRole = "management" // the management end of a switch
	UplinkPort     PortRole = "uplink"     // the data end of a switch that hangs on this one
	ServerPort     PortRole = "server"     // the data end of a server
	TrunkPort      PortRole = "trunk"      // a link to another switch, of this rack or another
	PeerPort       PortRole = "peer"       // a link between the two of a pair
	OutsidePort    PortRole = "outside"    // a link out of the installation: external:NAME
)

// PortRoles lists them.
func PortRoles() []PortRole {
	return []PortRole{AgentPort, BMCPort, ManagementPort, UplinkPort, ServerPort, TrunkPort, PeerPort, OutsidePort}
}

// ManagementRole is the role of a port that the management end of a device of role r is
// cabled to.
func ManagementRole(r Role) PortRole {
	if r == Server {
		return BMCPort
	}
	return ManagementPort
}

// DataRole is the same of a data end.
func DataRole(r Role) PortRole {
	if r == Server {
		return ServerPort
	}
	return UplinkPort
}

// Role is the role of both ports of a link.
func (l Link) Role() PortRole {
	switch {
	case l.Kind == PeerLink:
		return PeerPort
	case l.A.Device == outside || l.B.Device == outside:
		return OutsidePort
	}
	return TrunkPort
}

// outside stands for the device of what lies out of the installation.
const outside = "external"

// VLAN is a part of the network that switches keep apart from others by a number
// (IEEE 802.1Q), and the ports that it reaches.
type VLAN struct {
	Name     string
	ID       int        // 1 to 4094
	Untagged []PortRole `json:",omitempty"` // ports whose frames carry no tag
	Tagged   []PortRole `json:",omitempty"` // ports whose frames carry one
}

// Has reports whether a VLAN reaches the ports of a role.
func (v *VLAN) Has(p PortRole) bool {
	return slices.Contains(v.Untagged, p) || slices.Contains(v.Tagged, p)
}

// Bounds of VLANs.
const (
	// MaxVLANs is how many a rack may name.
	MaxVLANs = 64
	maxVLAN  = 4094 // IEEE 802.1Q §9.6: 0 and 4095 are reserved
)

// HomeVLAN is the one that the agent is in, and with it what the agent must reach: the
// one that is untagged at its port, else the only one that is tagged there; nil: the
// rack names none.
func (r *Rack) HomeVLAN() *VLAN {
	var tagged *VLAN
	for i := range r.VLANs {
		v := &r.VLANs[i]
		if slices.Contains(v.Untagged, AgentPort) {
			return v
		}
		if slices.Contains(v.Tagged, AgentPort) {
			if tagged != nil {
				return nil
			}
			tagged = v
		}
	}
	return tagged
}

// vlans checks the VLANs of a rack.
func (c *checker) vlans() {
	ids, names, untagged := map[int]string{}, map[string]bool{}, map[PortRole]string{}
	for i := range c.r.VLANs {
		v := &c.r.VLANs[i]
		say := func(field, fix, format string, args ...any) { c.say("vlans", i, field, fix, format, args...) }
		if fix := badName(v.Name); fix != "" {
			say("name", fix, "%s is not a name for a VLAN", shown(v.Name))
		} else if names[v.Name] {
			say("name", "a name that no other VLAN has", "VLAN %s is given twice", v.Name)
		}
		names[v.Name] = true
		if v.ID < 1 || v.ID > maxVLAN {
			say("id", fmt.Sprintf("a number from 1 to %d", maxVLAN), "%d is not the number of a VLAN", v.ID)
		} else if other, twice := ids[v.ID]; twice {
			say("id", "a number that no other VLAN has", "number %d is given twice: to %s and to %s", v.ID, shown(other), shown(v.Name))
		}
		ids[v.ID] = v.Name
		if len(v.Untagged)+len(v.Tagged) == 0 {
			say("", "untagged: [agent, bmc, management, uplink, server]", "VLAN %s reaches no ports", shown(v.Name))
		}
		seen := map[PortRole]bool{}
		for field, roles := range map[string][]PortRole{"untagged": v.Untagged, "tagged": v.Tagged} {
			for _, p := range roles {
				if !slices.Contains(PortRoles(), p) {
					say(field, "some of "+joined(PortRoles()), "%s is not what a port is for", shown(string(p)))
				} else if seen[p] {
					say(field, "it once", "VLAN %s has %s twice", shown(v.Name), p)
				}
				seen[p] = true
			}
		}
		for _, p := range v.Untagged {
			if other, twice := untagged[p]; twice && other != v.Name {
				say("untagged", "it in one VLAN, and tagged in others", "what comes untagged through %s ports would be in two VLANs: %s and %s", p, shown(other), shown(v.Name))
			}
			untagged[p] = v.Name
		}
	}
	c.home()
}

// home holds that the agent reaches what it must: everything that it speaks to is in the
// VLAN of its port.
func (c *checker) home() {
	if len(c.r.VLANs) == 0 {
		return
	}
	home := c.r.HomeVLAN()
	if home == nil {
		c.say("vlans", 0, "", "agent under untagged of one VLAN, or under tagged of one if its interface sends tags",
			"it cannot be said which VLAN the agent is in: its port is untagged in none, and not tagged in exactly one")
		return
	}
	at := slices.IndexFunc(c.r.VLANs, func(v VLAN) bool { return v.ID == home.ID })
	need := func(p PortRole, plain bool, why string) {
		if plain && !slices.Contains(home.Untagged, p) {
			c.say("vlans", at, "untagged", string(p)+" under untagged of "+shown(home.Name), "%s: %s ports are not untagged in VLAN %s of the agent", why, p, shown(home.Name))
		} else if !home.Has(p) {
			c.say("vlans", at, "", string(p)+" under untagged or tagged of "+shown(home.Name), "%s: %s ports are not in VLAN %s of the agent", why, p, shown(home.Name))
		}
	}
	for _, p := range c.usedPorts() {
		switch p {
		case BMCPort:
			need(p, true, "no BMC could be reached")
		case ManagementPort:
			need(p, true, "no switch could be reached")
		case ServerPort:
			need(p, true, "no server could boot from the network")
		case UplinkPort:
			need(p, false, "no server could be reached through the switches")
		case PeerPort: // one of a pair is reached through the other: Spare
			need(p, false, "no server behind the second switch of a pair could be reached")
		}
	}
}

// usedPorts are the roles that ports of the rack have.
func (c *checker) usedPorts() (used []PortRole) {
	is := map[PortRole]bool{}
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		is[ManagementRole(d.Role)] = is[ManagementRole(d.Role)] || !d.Management.IsZero()
		is[DataRole(d.Role)] = is[DataRole(d.Role)] || len(d.Data) > 0
	}
	for _, l := range c.r.Links {
		is[l.Role()] = true
	}
	for _, p := range PortRoles() {
		if is[p] {
			used = append(used, p)
		}
	}
	return used
}
