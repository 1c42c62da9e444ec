package sim

import (
	"encoding/json"
	"io"
)

// showLLDP shows the neighbours of a switch in the form of lldpd's `lldpctl -f json`. A
// switch of another rack bears that rack's name as its domain.
func (h *shell) showLLDP(w io.Writer) error {
	d := h.host.dev
	type object = map[string]any
	ports := []object{}
	for _, n := range d.sim.lldp.neighbours(d.spec.Name) {
		name := n.Device
		if n.Rack != d.sim.rack.Name {
			name += "." + n.Rack
		}
		mac := derivedMAC(n.Rack, n.Device, "chassis").String()
		ports = append(ports, object{n.Port: object{"via": "LLDP", "rid": "1",
			"chassis": object{name: object{"id": object{"type": "mac", "value": mac}}},
			"port":    object{"id": object{"type": "ifname", "value": n.RemotePort}, "ttl": "120"}}})
	}
	return json.NewEncoder(w).Encode(object{"lldp": object{"interface": ports}})
}

// showFDB shows its MAC table in the form of iproute2's `bridge -j fdb show`.
func (h *shell) showFDB(w io.Writer) error {
	d := h.host.dev
	type row struct {
		MAC    string   `json:"mac"`
		Port   string   `json:"ifname"`
		Flags  []string `json:"flags"`
		Master string   `json:"master"`
		State  string   `json:"state"`
	}
	rows := []row{{"33:33:00:00:00:01", "br0", []string{"self"}, "", "permanent"}}
	for _, s := range d.sim.fabric.stations(d.spec.Name) {
		rows = append(rows, row{s.mac, s.port, []string{}, "br0", ""})
	}
	return json.NewEncoder(w).Encode(rows)
}
