package rack

import "slices"

// Cable is one cable that ends at a device: the switch port at its near end,
// seen from the agent, and the device at its far end.
type Cable struct {
	Near    Port
	Device  string
	Network Network
	NIC     int // index among the device's ends on that network
}

// Cabling is the graph of a rack: which cables end where, and which switches
// stand between the agent's port and a cable. It tolerates racks that were not
// validated: what cannot be resolved has no route.
type Cabling struct {
	mgmt   string
	cables []Cable
	ends   map[string][]Cable
	byNear map[Port]Cable
	routes map[Port][]string
}

// NewCabling builds the graph. The routes are the shortest by number of
// switches; among equals the one whose switches stand first in the rack file.
func NewCabling(r *Rack) *Cabling {
	c := &Cabling{mgmt: r.ManagementSwitchName(), ends: map[string][]Cable{}, byNear: map[Port]Cable{}, routes: map[Port][]string{}}
	add := func(x Cable) {
		c.cables = append(c.cables, x)
		c.ends[x.Device] = append(c.ends[x.Device], x)
		if _, twice := c.byNear[x.Near]; !twice {
			c.byNear[x.Near] = x
		}
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		if !d.Management.IsZero() {
			add(Cable{Near: d.Management, Device: d.Name, Network: Management})
		}
		for n, p := range d.Data {
			add(Cable{Near: p, Device: d.Name, Network: Data, NIC: n})
		}
	}
	paths := dataPaths(r, c.mgmt)
	for _, x := range c.cables {
		switch {
		case c.mgmt == "":
		case x.Network == Management && x.Near.Device == c.mgmt:
			c.routes[x.Near] = []string{c.mgmt}
		case x.Network == Data:
			if p, ok := paths[x.Near.Device]; ok {
				c.routes[x.Near] = p
			}
		}
	}
	return c
}

// dataPaths finds, for every switch, the switches from the agent's port to it
// on the data network, itself included. ToR data ports hang on the management
// switch, further switches on the links between them; a switch's management
// port forwards nothing.
func dataPaths(r *Rack, mgmt string) map[string][]string {
	if mgmt == "" {
		return nil
	}
	next := map[string][]string{}
	join := func(a, b string) {
		da, oka := r.Device(a)
		db, okb := r.Device(b)
		if oka && okb && a != b && da.Role.IsSwitch() && db.Role.IsSwitch() {
			next[a] = append(next[a], b)
			next[b] = append(next[b], a)
		}
	}
	for i := range r.Devices {
		for _, p := range r.Devices[i].Data {
			join(p.Device, r.Devices[i].Name)
		}
	}
	for _, l := range r.Links {
		join(l.A.Device, l.B.Device)
	}
	paths := map[string][]string{mgmt: {mgmt}}
	for queue := []string{mgmt}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, n := range next[at] {
			if _, seen := paths[n]; !seen {
				paths[n] = append(slices.Clone(paths[at]), n)
				queue = append(queue, n)
			}
		}
	}
	return paths
}

// Cables lists every cable that ends at a device, in the order of the rack
// file. The agent's own cable is not among them: it is always there.
func (c *Cabling) Cables() []Cable { return c.cables }

// Ends lists the cables of one device: management first, then data by NIC.
func (c *Cabling) Ends(device string) []Cable { return c.ends[device] }

// At is the cable whose near end is that port.
func (c *Cabling) At(near Port) (Cable, bool) {
	x, ok := c.byNear[near]
	return x, ok
}

// Route lists the switches between the agent and the device at the cable's
// end, in order, the near one last; false when no route can exist.
func (c *Cabling) Route(x Cable) ([]string, bool) {
	p, ok := c.routes[x.Near]
	return p, ok
}
