package deviceapi

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/rackreach/rackreach/internal/rack"
)

// Config is the configuration of a simulated device. A switch forwards between
// the ports named here only, and only once it has applied it.
type Config struct {
	Rack     string     `json:"rack"`
	Device   string     `json:"device"`
	Run      string     `json:"run"`
	Ticket   string     `json:"ticket"`
	Role     string     `json:"role"`
	Hostname string     `json:"hostname"`
	Address  string     `json:"address"` // with the prefix length of its network
	Ports    []PortRole `json:"ports"`
}

// PortRole is what one port of a switch is for.
type PortRole struct {
	Name    string `json:"name"`
	Network string `json:"network"` // management, data, trunk, peer or agent
	Peer    string `json:"peer"`    // who is at the other end
}

// NewConfig generates the configuration of a device from the rack file: its
// name, its address, and for a switch the role of every port that a cable ends at.
func NewConfig(r *rack.Rack, device, run, ticket string) ([]byte, error) {
	d, ok := r.Device(device)
	if !ok {
		return nil, fmt.Errorf("configure %s: no such device in rack %s", device, r.Name)
	}
	network := r.Management
	if d.Role == rack.Server {
		network = r.Data
	}
	c := Config{Rack: r.Name, Device: device, Run: run, Ticket: ticket, Role: string(d.Role), Hostname: device,
		Address: netip.PrefixFrom(d.Address, network.Bits()).String(), Ports: []PortRole{}}
	if d.Role.IsSwitch() {
		c.Ports = ports(r, device)
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", device, err)
	}
	return b, nil
}

// ports lists the ports of a switch that cables end at, in the order of the
// rack file: the agent's, its own data uplinks, the devices', the links'.
func ports(r *rack.Rack, device string) []PortRole {
	out := []PortRole{}
	add := func(p rack.Port, network, peer string) {
		if p.Device == device {
			out = append(out, PortRole{p.Name, network, peer})
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
