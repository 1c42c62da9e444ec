package fleet

import (
	"net/netip"
)

// group holds what must be true of racks that share one segment once their
// backplane is up (docs: a stretched L2 network): numbers and addresses are
// given once, and networks are the same or have nothing in common.
func (c *checker) group(group []int) {
	numbers := map[int]string{}
	given := map[netip.Addr]string{}
	agents := map[netip.Addr]string{}
	for n, i := range group {
		m := c.members[i]
		if other, twice := numbers[m.Number]; twice {
			c.say(i, "", 0, "number", "a number that no rack joined with this one has", "racks %s and %s are joined and have the same number %d", other, m.Name, m.Number)
		} else {
			numbers[m.Number] = m.Name
		}
		for _, k := range group[:n] {
			c.networks(i, &c.members[k])
		}
		c.addresses(i, given)
		if m.ServerID.IsValid() && !m.ServerID.IsLoopback() {
			if other, twice := agents[m.ServerID]; twice {
				c.say(i, "", 0, "agent", "an address of its own for each agent", "the agents of %s and %s both answer as %s, and their racks are joined", other, m.Name, m.ServerID)
			}
			agents[m.ServerID] = m.Name
		}
	}
	for _, i := range group {
		if other, taken := given[c.members[i].ServerID]; taken {
			c.say(i, "", 0, "agent", "an address that no device has", "the agent of %s answers as %s, which is the address of %s", c.members[i].Name, c.members[i].ServerID, other)
		}
	}
}

// networks holds that a network of one rack is that of another one, for the same
// purpose, or shares no address with it.
func (c *checker) networks(i int, other *Member) {
	m := &c.members[i]
	for _, own := range []struct {
		name   string
		prefix netip.Prefix
	}{{"management", m.Management}, {"data", m.Data}} {
		for _, its := range []struct {
			name   string
			prefix netip.Prefix
		}{{"management", other.Management}, {"data", other.Data}} {
			if !own.prefix.Overlaps(its.prefix) || own == its {
				continue
			}
			c.say(i, "", 0, "networks."+own.name+".cidr", "the very same network in both racks, or one that shares no address with "+its.prefix.String(),
				"%s network %s of %s overlaps %s network %s of %s, and the racks are joined", own.name, own.prefix, m.Name, its.name, its.prefix, other.Name)
		}
	}
}

func (c *checker) addresses(i int, given map[netip.Addr]string) {
	m := c.members[i]
	take := func(k int, field, of string, a netip.Addr) {
		if !a.IsValid() {
			return // rack.Validate says so
		}
		if other, twice := given[a]; twice {
			c.say(i, "devices", k, field, "an address that nothing has in the racks joined with this one", "address %s is given twice in joined racks: to %s and to %s", a, other, of)
			return
		}
		given[a] = of
	}
	for k := range m.Devices {
		d := &m.Devices[k]
		of := m.Name + "/" + d.Name
		take(k, "address", of, d.Address)
		if d.BMC != nil {
			take(k, "bmc.address", "the BMC of "+of, d.BMC.Address)
		}
	}
}
