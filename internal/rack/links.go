package rack

import (
	"fmt"
	"slices"
	"strings"
)

func (r *Run) setLink(link string, s LinkState) {
	if p, err := ParsePort(link); err == nil {
		r.links.set(p, s)
	}
}

// SwitchesReady reports whether every switch of the rack is ready.
func (r *Run) SwitchesReady() bool {
	for i := range r.Rack.Devices {
		if d := &r.Rack.Devices[i]; d.Role.IsSwitch() && r.devices[d.Name].Status != Ready {
			return false
		}
	}
	return true
}

// routeReady reports whether every switch of the route to a cable is ready and
// none of its links was closed since.
func (r *Run) routeReady(c Cable) bool {
	route, ok := r.Cabling.Route(c)
	if !ok {
		return false
	}
	for _, s := range route {
		if r.devices[s].Status != Ready {
			return false
		}
	}
	return true
}

// Gates says which gates hold for a device. The management switch hangs on the
// agent's own cable, so its management gate always holds.
func (r *Run) Gates(device string) map[Gate]bool {
	g := map[Gate]bool{SwitchesReady: r.SwitchesReady()}
	d, ok := r.Rack.Device(device)
	if !ok {
		return g
	}
	g[ManagementOpen] = d.Role == ManagementSwitch
	g[ManagementReady] = d.Role == ManagementSwitch
	for _, c := range r.Cabling.Ends(device) {
		switch s := r.links.of(c.Near); {
		case s == LinkIsClosed:
		case c.Network == Management:
			g[ManagementReady] = true
			g[ManagementOpen] = g[ManagementOpen] || s == LinkIsOpen
		default:
			g[DataReady] = true
			g[DataOpen] = g[DataOpen] || s == LinkIsOpen
		}
	}
	return g
}

// LinksToReady lists the cables whose route has become ready but that are still
// closed, with the switches of their routes.
func (r *Run) LinksToReady(readySwitch string) []Cable {
	var out []Cable
	for _, c := range r.Cabling.Cables() {
		route, _ := r.Cabling.Route(c)
		if slices.Contains(route, readySwitch) && r.links.of(c.Near) == LinkIsClosed && !r.dropped[c.Near] && r.routeReady(c) {
			out = append(out, c)
		}
	}
	return out
}

// LinksOpenedBy lists the ready links that an observation proves to be open:
// the one that the packet came through and those of the switches on its way.
func (r *Run) LinksOpenedBy(o *Observation) []Port {
	c, ok := r.Cabling.At(o.Via)
	if o.Source == FromBMC && o.Device != "" {
		for _, x := range r.Cabling.Ends(o.Device) {
			if x.Network == Management {
				c, ok = x, true
			}
		}
	}
	// A table row says that a station was heard once, not when.
	if !ok || o.Source == FromMACTable {
		return nil
	}
	var out []Port
	if r.links.of(c.Near) == LinkIsReady {
		out = append(out, c.Near)
	}
	route, _ := r.Cabling.Route(c)
	for i := 1; i < len(route); i++ {
		for _, x := range r.Cabling.Ends(route[i]) {
			if x.Network == c.Network && x.Near.Device == route[i-1] && r.links.of(x.Near) == LinkIsReady && r.only(x) && !r.Cabling.Spare(x.Near) {
				out = append(out, x.Near)
			}
		}
	}
	return out
}

// only reports whether a cable is the only one between its two switches, so
// that what passed between them passed through it.
func (r *Run) only(c Cable) bool {
	n := 0
	for _, x := range r.Cabling.Ends(c.Device) {
		if x.Network == c.Network {
			n++
		}
	}
	return n == 1
}

// LinksClosedBy lists the links behind a ready switch that is seen booting its
// firmware or its installer again: it forwards nothing any more.
func (r *Run) LinksClosedBy(o *Observation) []Port {
	if d, ok := r.devices[o.Device]; !ok || d.Status != Ready {
		return nil
	}
	if dev, _ := r.Rack.Device(o.Device); !dev.Role.IsSwitch() {
		return nil
	}
	switch o.Stage {
	case StagePXE, StageIPXE, StageHTTPBoot, StageONIE:
	default:
		return nil
	}
	var out []Port
	for _, c := range r.through(o.Device) {
		if r.links.of(c.Near) != LinkIsClosed {
			out = append(out, c.Near)
		}
	}
	return out
}

// through lists the cables whose route leads through a switch.
func (r *Run) through(device string) []Cable {
	var out []Cable
	for _, c := range r.Cabling.Cables() {
		if route, _ := r.Cabling.Route(c); slices.Contains(route, device) {
			out = append(out, c)
		}
	}
	return out
}

// Reachable reports whether something may be heard of a device: its route on
// the management network is ready. The discovery deadline counts from then.
func (r *Run) Reachable(device string) bool {
	d, ok := r.Rack.Device(device)
	if !ok {
		return false
	}
	if d.Role == ManagementSwitch {
		return r.Status == Imaging
	}
	for _, c := range r.Cabling.Ends(device) {
		if c.Network == Management && r.links.of(c.Near) != LinkIsClosed {
			return true
		}
	}
	return false
}

// Unproven names the data links of a ready device through which nothing was
// heard, in words, or "". One open data link is enough to be ready; the others
// are a finding, never silence (design §3). Links that are closed later, by a
// switch that starts over, say nothing of the device's cables.
func (r *Run) Unproven(device string) string {
	quiet := r.quiet(device)
	if len(quiet) == 0 || r.Device(device).proven {
		return ""
	}
	return fmt.Sprintf("nothing was heard through %s: check that cable", strings.Join(quiet, ", "))
}
