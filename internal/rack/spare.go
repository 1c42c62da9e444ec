package rack

import "strings"

// Spare lists the ports of the management switch that must not forward, each with why.
// The data ends of the switches hang on it, and the switches on each other: with two
// cables into what is connected already, a broadcast would go round for ever. Of the
// cables into one part of the network the first one forwards, in the order of the
// devices, then of the links. A management end forwards nothing, and is in no loop.
//
// What lies outside is one part for each name: whether a site joins two of its networks
// is not known here. A link that no VLAN of the management switch passes joins nothing.
func (r *Rack) Spare() map[Port]string {
	mgmt := r.ManagementSwitchName()
	if mgmt == "" {
		return nil
	}
	parts := groups{}
	type cable struct {
		near Port
		to   string
	}
	var own []cable
	add := func(a, b Port, role PortRole) {
		switch {
		case !r.passes(role):
		case a.Device == mgmt:
			own = append(own, cable{a, whole(b.Device)})
		case b.Device == mgmt:
			own = append(own, cable{b, whole(a.Device)})
		default:
			parts.join(whole(a.Device), whole(b.Device))
		}
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		for _, p := range d.Data {
			if d.Role.IsSwitch() {
				add(p, Port{Device: d.Name}, UplinkPort)
			}
		}
	}
	for _, l := range r.Links {
		b := l.B
		if b.Device == outside {
			b.Device = b.String() // external:datacenter and external:office are two
		}
		add(l.A, b, l.Role())
	}
	out, first := map[Port]string{}, map[string]cable{}
	for _, x := range own {
		at := parts.of(x.to)
		if before, twice := first[at]; twice {
			out[x.near] = "it would make a loop with " + before.near.String() + " by way of " + x.to
			continue
		}
		first[at] = x
	}
	return out
}

// whole is the part of the network that a device is in by itself: another rack is one.
func whole(device string) string {
	if strings.HasPrefix(device, "rack:") {
		rack, _, _ := strings.Cut(device, "/")
		return rack
	}
	return device
}

// passes reports whether frames that the management switch forwards may pass ports of a
// role.
func (r *Rack) passes(p PortRole) bool {
	if len(r.VLANs) == 0 {
		return true
	}
	for i := range r.VLANs {
		v := &r.VLANs[i]
		if v.Has(p) && (v.Has(UplinkPort) || v.Has(AgentPort)) {
			return true
		}
	}
	return false
}

// groups are sets of what is connected, each named by one of its members.
type groups map[string]string

func (g groups) of(x string) string {
	for g[x] != "" {
		x = g[x]
	}
	return x
}

func (g groups) join(a, b string) {
	if a, b = g.of(a), g.of(b); a != b {
		g[b] = a
	}
}
