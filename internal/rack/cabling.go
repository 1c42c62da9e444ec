package rack

import (
	"cmp"
	"slices"
	"strings"
)

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
// validated: what cannot be resolved has no route. A coordinator holds one for
// every rack: a cable stands in it once.
type Cabling struct {
	mgmt   string
	cables []Cable
	ends   map[string][]Cable  // parts of cables
	byNear []int32             // indices of cables, sorted by their near ends; of equal ones the first stands first
	paths  map[string][]string // of a switch on the data network: the switches to it, itself included
	spare  map[Port]string     // Rack.Spare

	trunks  map[Port]bool // ports that carry the packets of many
	between map[Port]bool // ports of the links between switches
}

// NewCabling builds the graph. The routes are the shortest by number of
// switches; among equals the one whose switches stand first in the rack file.
func NewCabling(r *Rack) *Cabling {
	n := 0
	for i := range r.Devices {
		n += 1 + len(r.Devices[i].Data)
	}
	c := &Cabling{mgmt: r.ManagementSwitchName(), cables: make([]Cable, 0, n), ends: make(map[string][]Cable, len(r.Devices))}
	for i := range r.Devices {
		d := &r.Devices[i]
		first := len(c.cables)
		if !d.Management.IsZero() {
			c.cables = append(c.cables, Cable{Near: d.Management, Device: d.Name, Network: Management})
		}
		for n, p := range d.Data {
			c.cables = append(c.cables, Cable{Near: p, Device: d.Name, Network: Data, NIC: n})
		}
		own := slices.Clip(c.cables[first:])
		if before, twice := c.ends[d.Name]; twice {
			own = append(before, own...)
		}
		if len(own) > 0 {
			c.ends[d.Name] = own
		}
	}
	c.byNear = make([]int32, len(c.cables))
	for i := range c.byNear {
		c.byNear[i] = int32(i)
	}
	slices.SortStableFunc(c.byNear, func(a, b int32) int { return comparePorts(c.cables[a].Near, c.cables[b].Near) })
	c.paths, c.spare = dataPaths(r, c.mgmt), r.Spare()
	c.trunks, c.between = map[Port]bool{r.Agent.Cable: true}, map[Port]bool{}
	for _, l := range r.Links {
		for _, p := range []Port{l.A, l.B} {
			if !p.IsOutside() {
				c.trunks[p], c.between[p] = true, true
			}
		}
	}
	for _, x := range c.cables {
		if d, ok := r.Device(x.Device); ok && x.Network == Data && d.Role.IsSwitch() {
			c.trunks[x.Near] = true
		}
	}
	return c
}

func comparePorts(a, b Port) int {
	return cmp.Or(strings.Compare(a.Device, b.Device), strings.Compare(a.Name, b.Name))
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
	i := c.index(near)
	if i < 0 {
		return Cable{}, false
	}
	return c.cables[i], true
}

// index is the place of a cable among all, by its near end; -1: there is none.
func (c *Cabling) index(near Port) int {
	at, ok := slices.BinarySearchFunc(c.byNear, near, func(i int32, p Port) int { return comparePorts(c.cables[i].Near, p) })
	if !ok {
		return -1
	}
	return int(c.byNear[at])
}

// Spare reports whether a port may be one that does not forward: what comes from behind
// it may have come another way.
func (c *Cabling) Spare(near Port) bool { return c.spare[near] != "" }

// Route lists the switches between the agent and the device at the cable's
// end, in order, the near one last; false when no route can exist.
func (c *Cabling) Route(x Cable) ([]string, bool) {
	switch {
	case c.mgmt == "":
		return nil, false
	case x.Network == Data:
		p, ok := c.paths[x.Near.Device]
		return p, ok
	case x.Network == Management && x.Near.Device == c.mgmt:
		return c.paths[c.mgmt], true
	}
	return nil, false
}
