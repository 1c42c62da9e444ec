package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// showPorts shows the neighbours or the MAC table of a switch, in the words of the program
// that is asked; false: it is asked for something else.
func (h *shell) showPorts(command string, w io.Writer) (bool, error) {
	if !h.host.dev.spec.Role.IsSwitch() {
		return false, nil
	}
	switch command {
	case "lldpctl -f json":
		return true, h.showLLDP(w)
	case "bridge -j fdb show":
		return true, h.showFDB(w)
	case "show lldp table":
		return true, h.showTable(w, []string{"LocalPort", "RemoteDevice", "RemotePortID", "Capability", "RemotePortDescr"}, func(add func(...string)) {
			for _, n := range h.neighbours() {
				add(n.Port, n.Device, n.RemotePort, "BR", "")
			}
		})
	case "show mac":
		return true, h.showTable(w, []string{"No.", "Vlan", "MacAddress", "Port", "Type"}, func(add func(...string)) {
			for i, s := range h.host.dev.sim.fabric.stations(h.host.dev.spec.Name) {
				add(fmt.Sprint(i+1), "1", strings.ToUpper(s.mac), s.port, "Dynamic")
			}
		})
	case "show lldp neighbors detail | json":
		ports := map[string]any{}
		for _, n := range h.neighbours() {
			ports[n.Port] = object{"lldpNeighborInfo": []object{{"chassisIdType": "macAddress", "chassisId": derivedMAC(n.Rack, n.Device, "chassis").String(), "systemName": n.Device,
				"neighborInterfaceInfo": object{"interfaceIdType": "interfaceName", "interfaceId": `"` + n.RemotePort + `"`, "interfaceId_v2": n.RemotePort}}}}
		}
		return true, json.NewEncoder(w).Encode(object{"lldpNeighbors": ports})
	case "show mac address-table | json":
		rows := []object{}
		for _, s := range h.host.dev.sim.fabric.stations(h.host.dev.spec.Name) {
			rows = append(rows, object{"macAddress": s.mac, "interface": s.port, "vlanId": 1, "entryType": "dynamic"})
		}
		return true, json.NewEncoder(w).Encode(object{"unicastTable": object{"tableEntries": rows}})
	}
	return false, nil
}

type object = map[string]any // of JSON

// neighbours are those of the switch. One of another rack bears that rack's name as its
// domain.
func (h *shell) neighbours() []neighbour {
	d := h.host.dev
	out := d.sim.lldp.neighbours(d.spec.Name)
	for i := range out {
		if out[i].Rack != d.sim.rack.Name {
			out[i].Device += "." + out[i].Rack
		}
	}
	return out
}

// showTable shows a table as SONiC's programs do: a line of dashes says how wide each
// column is.
func (h *shell) showTable(w io.Writer, head []string, rows func(add func(...string))) error {
	all := [][]string{head}
	rows(func(row ...string) { all = append(all, row) })
	wide := make([]int, len(head))
	for _, row := range all {
		for i, s := range row {
			wide[i] = max(wide[i], len(s))
		}
	}
	var b strings.Builder
	for n, row := range all {
		for i, s := range row {
			fmt.Fprintf(&b, "%-*s  ", wide[i], s)
		}
		b.WriteByte('\n')
		for i := range head {
			if n == 0 {
				fmt.Fprintf(&b, "%s  ", strings.Repeat("-", wide[i]))
			}
		}
		if n == 0 {
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// showLLDP shows the neighbours of a switch in the form of lldpd's `lldpctl -f json`.
func (h *shell) showLLDP(w io.Writer) error {
	ports := []object{}
	for _, n := range h.neighbours() {
		mac := derivedMAC(n.Rack, n.Device, "chassis").String()
		ports = append(ports, object{n.Port: object{"via": "LLDP", "rid": "1",
			"chassis": object{n.Device: object{"id": object{"type": "mac", "value": mac}}},
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
