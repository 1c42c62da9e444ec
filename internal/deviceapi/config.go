package deviceapi

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/rackreach/rackreach/internal/config"
	"github.com/rackreach/rackreach/internal/rack"
)

// Config is the configuration of a simulated device. A switch forwards between
// the ports named here only, and only once it has applied it.
type Config struct {
	Rack     string        `json:"rack"`
	Device   string        `json:"device"`
	Run      string        `json:"run"`
	Ticket   string        `json:"ticket"`
	Role     string        `json:"role"`
	Hostname string        `json:"hostname"`
	Address  string        `json:"address"` // with the prefix length of its network
	Ports    []config.Port `json:"ports"`
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
		Address: netip.PrefixFrom(d.Address, network.Bits()).String(), Ports: []config.Port{}}
	if d.Role.IsSwitch() {
		c.Ports = config.Ports(r, device)
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", device, err)
	}
	return b, nil
}
