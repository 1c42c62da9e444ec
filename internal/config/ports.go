package config

import "github.com/rackreach/rackreach/internal/rack"

// Port is what one port of a switch is for.
type Port struct {
	Name    string `json:"name"`
	Network string `json:"network"` // management, data, trunk, peer or agent
	Peer    string `json:"peer"`    // who is at the other end
}

// Ports lists the ports of a switch that cables end at, in the order of the rack file:
// the agent's, the devices', the links'. A server has none.
func Ports(r *rack.Rack, device string) []Port {
	out := []Port{}
	add := func(p rack.Port, network, peer string) {
		if p.Device == device {
			out = append(out, Port{p.Name, network, peer})
		}
	}
	add(r.Agent.Cable, "agent", "agent")
	for i := range r.Devices {
		d := &r.Devices[i]
		add(d.Management, string(rack.Management), d.Name)
		for _, p := range d.Data {
			add(p, string(rack.Data), d.Name)
		}
	}
	for _, l := range r.Links {
		add(l.A, string(l.Kind), l.B.String())
		add(l.B, string(l.Kind), l.A.String())
	}
	return out
}
