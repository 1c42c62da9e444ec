package rack

import (
	"fmt"
	"net/netip"
	"slices"
)

// MaxServers is how many servers of one kind a rack names: a resolver reads no more
// name servers (resolv.conf(5), MAXNS).
const MaxServers = 3

// Services are the servers of the site that the devices of a rack are told of, and what
// ours may take of the network. All addresses are IPv4; none of them needs to be in the
// rack's networks.
type Services struct {
	DNS    []netip.Addr `json:",omitzero"`
	NTP    []netip.Addr `json:",omitzero"`
	Syslog netip.Addr   `json:",omitzero"` // invalid: none
	Domain string       `json:",omitzero"` // of the devices' full names; empty: none

	Bandwidth Bandwidth `json:",omitzero"`
}

// Router is the router of a network; invalid: it has none.
func (r *Rack) Router(n Network) netip.Addr {
	if n == Data {
		return r.DataRouter
	}
	return r.ManagementRouter
}

// services holds that what devices are told of are addresses of machines.
func (c *checker) services() {
	const fix = "the IPv4 address of a server, such as 192.168.100.10"
	s := c.r.Services
	for _, list := range []struct {
		field string
		of    []netip.Addr
	}{{"services.dns", s.DNS}, {"services.ntp", s.NTP}, {"services.syslog", only(s.Syslog)}} {
		for i, a := range list.of {
			switch {
			case !a.Is4() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == lastOf4:
				c.say("", 0, list.field, fix, "%s is not the address of a server", a)
			case slices.Contains(list.of[:i], a):
				c.say("", 0, list.field, "each server once", "%s is given twice", a)
			}
		}
		if len(list.of) > MaxServers {
			c.say("", 0, list.field, fmt.Sprintf("at most %d", MaxServers), "%d servers are given", len(list.of))
		}
	}
}

var lastOf4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func only(a netip.Addr) []netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return []netip.Addr{a}
}

// router holds that the router of a network is a machine in it that no device and no
// pool is.
func (c *checker) router(n Network) {
	router, prefix, field := c.r.Router(n), c.r.Prefix(n), "networks."+string(n)+".router"
	if !router.IsValid() || !prefix.IsValid() || !prefix.Addr().Is4() || prefix.Bits() < 8 || prefix.Bits() > 30 {
		return // there is none, or the network was spoken of already
	}
	low, high := prefix.Masked().Addr(), broadcast(prefix)
	fix := fmt.Sprintf("an address from %s to %s that no device has, or leave router out", low.Next(), high.Prev())
	switch taken, is := c.given[router]; {
	case !prefix.Contains(router) || router == low || router == high:
		c.say("", 0, field, fix, "router %s is not a machine of the %s network %s", router, n, prefix.Masked())
	case is:
		c.say("", 0, field, fix, "router %s has the address of %s", router, taken)
	case c.r.Pool(n).Contains(router):
		c.say("", 0, field, fix, "router %s is in the pool of the %s network", router, n)
	}
}
