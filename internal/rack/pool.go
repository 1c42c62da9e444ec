package rack

import (
	"fmt"
	"net/netip"
)

// maxPool is the most addresses of one pool: what the agent keeps of each is
// bounded by it.
const maxPool = 1 << 16

// Pool is addresses of a network for ends of the rack's devices that have no
// pre-determined one, such as a data port of a switch that is in its installer.
type Pool struct {
	First, Last netip.Addr // both are in it; invalid: there is no pool
	// Strangers lets components that no slot fits have addresses too.
	Strangers bool
}

// IsZero reports whether there is no pool.
func (p Pool) IsZero() bool { return p == Pool{} }

// Contains reports whether an address is in the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return p.First.IsValid() && a.Is4() && p.First.Compare(a) <= 0 && a.Compare(p.Last) <= 0
}

// Overlaps reports whether two pools share an address.
func (p Pool) Overlaps(other Pool) bool {
	return p.First.IsValid() && other.First.IsValid() && p.First.Compare(other.Last) <= 0 && other.First.Compare(p.Last) <= 0
}

// String is "10.0.1.200-10.0.1.250".
func (p Pool) String() string { return p.First.String() + "-" + p.Last.String() }

// size is how many addresses a pool of IPv4 addresses has.
func (p Pool) size() int64 {
	a, b := p.First.As4(), p.Last.As4()
	n := int64(0)
	for i := range a {
		n = n<<8 + int64(b[i]) - int64(a[i])
	}
	return n + 1
}

// Pool is the pool of a network.
func (r *Rack) Pool(n Network) Pool {
	if n == Data {
		return r.DataPool
	}
	return r.ManagementPool
}

// Prefix is the addresses of a network.
func (r *Rack) Prefix(n Network) netip.Prefix {
	if n == Data {
		return r.Data
	}
	return r.Management
}

// pools holds that each pool is in its network and holds no pre-determined address.
func (c *checker) pools() {
	for _, n := range []Network{Management, Data} {
		c.pool(n, c.r.Pool(n))
	}
	for i := range c.r.Devices {
		d := &c.r.Devices[i]
		c.apart(i, "address", shown(d.Name), d.Address)
		if d.BMC != nil {
			c.apart(i, "bmc.address", "the BMC of "+shown(d.Name), d.BMC.Address)
		}
	}
}

func (c *checker) pool(n Network, p Pool) {
	field := "networks." + string(n) + ".pool"
	if !p.First.IsValid() && !p.Last.IsValid() {
		if p.Strangers {
			c.say("", 0, "networks."+string(n)+".strangers", "pool: and a range of addresses for them, or leave strangers out",
				"strangers are to get addresses of the %s network, but it has no pool", n)
		}
		return
	}
	prefix := c.r.Prefix(n)
	if !prefix.IsValid() || !prefix.Addr().Is4() || prefix.Bits() < 8 || prefix.Bits() > 30 {
		return // said already
	}
	low, high := prefix.Masked().Addr(), broadcast(prefix)
	fix := fmt.Sprintf("FIRST-LAST, addresses from %s to %s", low.Next(), high.Prev())
	switch {
	case !p.First.Is4() || !p.Last.Is4() || !prefix.Contains(p.First) || !prefix.Contains(p.Last):
		c.say("", 0, field, fix, "pool %s is not within the %s network %s", p, n, prefix.Masked())
	case p.First.Compare(p.Last) > 0:
		c.say("", 0, field, fmt.Sprintf("%s-%s", p.Last, p.First), "pool %s runs backwards", p)
	case p.First == low || p.Last == high:
		c.say("", 0, field, fix, "pool %s holds the network's own or its broadcast address", p)
	case p.size() > maxPool:
		c.say("", 0, field, fmt.Sprintf("at most %d addresses", maxPool), "pool %s has %d addresses", p, p.size())
	}
}

// apart holds that a pre-determined address is in no pool.
func (c *checker) apart(i int, field, of string, a netip.Addr) {
	for _, n := range []Network{Management, Data} {
		if p := c.r.Pool(n); p.Contains(a) {
			c.say("devices", i, field, "an address outside of pool "+p.String()+", or another pool",
				"address %s of %s is in the pool of the %s network", a, of, n)
		}
	}
}
