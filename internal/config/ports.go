package config

import (
	"slices"

	"github.com/rackreach/rackreach/internal/rack"
)

// Port is what one port of a switch is for.
type Port struct {
	Name    string `json:"name"`
	Network string `json:"network"` // management, data, trunk, peer or agent
	Peer    string `json:"peer"`    // who is at the other end

	Role     string `json:"role"`               // what it is for, in the words of the rack file's VLANs
	Untagged int    `json:"untagged,omitempty"` // VLAN of frames without a tag; 0: none
	Tagged   []int  `json:"tagged,omitempty"`   // VLANs of frames with one, ascending
	// Spare is why a port of the management switch must not forward: it would make a
	// loop (rack.Rack.Spare); empty: it may.
	Spare string `json:"spare,omitempty"`
}

// Ports lists the ports of a switch that cables end at, in the order of the rack file:
// the agent's, the devices', the links'. A server has none.
func Ports(r *rack.Rack, device string) []Port {
	out, spare := []Port{}, r.Spare()
	add := func(p rack.Port, network, peer string, role rack.PortRole) {
		if p.Device != device {
			return
		}
		x := Port{Name: p.Name, Network: network, Peer: peer, Role: string(role), Spare: spare[p]}
		for _, v := range r.VLANs {
			if slices.Contains(v.Untagged, role) {
				x.Untagged = v.ID
			}
			if slices.Contains(v.Tagged, role) {
				x.Tagged = append(x.Tagged, v.ID)
			}
		}
		slices.Sort(x.Tagged)
		out = append(out, x)
	}
	add(r.Agent.Cable, "agent", "agent", rack.AgentPort)
	for i := range r.Devices {
		d := &r.Devices[i]
		add(d.Management, string(rack.Management), d.Name, rack.ManagementRole(d.Role))
		for _, p := range d.Data {
			add(p, string(rack.Data), d.Name, rack.DataRole(d.Role))
		}
	}
	for _, l := range r.Links {
		add(l.A, string(l.Kind), l.B.String(), l.Role())
		add(l.B, string(l.Kind), l.A.String(), l.Role())
	}
	return out
}
