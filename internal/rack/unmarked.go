package rack

import (
	"fmt"
	"slices"
	"strings"
)

// Unmarked says of which servers nothing would tell through which port they are heard, one
// sentence for each set of switches, so that they would wait for data-open until somebody
// configures those switches: their platforms do not say that they mark packets (DHCP option
// 82, RFC 3046). A server with one data cable to a switch that does is well.
func Unmarked(r *Rack, platforms map[string]Platform) []string {
	behind := map[string][]string{} // servers, by their switches
	for i := range r.Devices {
		d := &r.Devices[i]
		p, known := platforms[d.Platform]
		if d.Role != Server || !known || !waitsForData(&p) {
			continue
		}
		var switches []string
		marked := false
		for _, port := range d.Data {
			s, ok := r.Device(port.Device)
			if !ok {
				continue
			}
			of := platforms[s.Platform]
			marked = marked || of.MarksPorts
			if name := fmt.Sprintf("%s (platform %s)", s.Name, s.Platform); !slices.Contains(switches, name) {
				switches = append(switches, name)
			}
		}
		if !marked && len(switches) > 0 {
			key := strings.Join(switches, " and ")
			behind[key] = append(behind[key], d.Name)
		}
	}
	var out []string
	for switches, servers := range behind {
		out = append(out, fmt.Sprintf("%s: behind %s, whose platform does not say that it inserts DHCP option 82: without it nothing is written to a server, because nothing tells that its packet came through its own port", strings.Join(servers, ", "), switches))
	}
	slices.Sort(out)
	return out
}

// waitsForData reports whether a step of a platform needs the device's own packet.
func waitsForData(p *Platform) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return slices.Contains(s.Needs, DataOpen) })
}
