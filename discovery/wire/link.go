package wire

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Link is what the kernel says of a network interface.
type Link struct {
	Name    string
	Index   int
	MAC     net.HardwareAddr
	MTU     int
	Up      bool // it was switched on
	Carrier bool // there is something at the other end of its cable

	Addresses []netip.Prefix // IPv4, each with the length of its network
	LinkLocal netip.Addr     // IPv6, fe80::/64, usable; invalid: none

	// DefaultRoutes are the default routes that lead out through it, or through
	// another interface on the same segment, in words; empty: none.
	DefaultRoutes []string
}

// MissingError says that there is no interface of that name.
type MissingError struct{ Interface string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no interface %s on this machine: ip -brief link shows those that there are", e.Interface)
}

// Trouble is a reason not to serve DHCP on an interface, and what to do about it.
type Trouble struct {
	What, Next string
	Risk       bool // it would work, but harm others: an operator may allow it
	Passing    bool // it may end by itself: a switch at the other end that is off
}

func (t Trouble) String() string { return t.What + ": " + t.Next }

// In is the interface's own address in a network, if it has one there.
func (l *Link) In(network netip.Prefix) (netip.Addr, bool) {
	for _, p := range l.Addresses {
		if network.Contains(p.Addr()) {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// Unfit names everything that speaks against serving DHCP for a network on the
// interface. A second server on the network that leads out of the building is the
// harm that must not happen: so the holder of a default route is a risk.
func (l *Link) Unfit(network netip.Prefix) (out []Trouble) {
	add := func(risk bool, next, format string, args ...any) {
		out = append(out, Trouble{What: fmt.Sprintf(format, args...), Next: next, Risk: risk})
	}
	if len(l.MAC) != 6 {
		add(false, "name the interface that is cabled to the rack in agent.interface of the rack file", "interface %s is not Ethernet", l.Name)
	}
	switch {
	case !l.Up:
		add(false, "ip link set "+l.Name+" up", "interface %s is switched off", l.Name)
	case !l.Carrier:
		defer func(at int) { out[at].Passing = true }(len(out))
		add(false, "check the cable to the designated port of the management switch, and that the switch has power", "interface %s has no link", l.Name)
	}
	own, ok := l.In(network)
	switch {
	case len(l.Addresses) == 0:
		add(false, fmt.Sprintf("ip addr add ADDRESS/%d dev %s, with an address of %s that the rack file gives to nobody", network.Bits(), l.Name, network), "interface %s has no IPv4 address", l.Name)
	case !ok:
		add(false, fmt.Sprintf("ip addr add ADDRESS/%d dev %s", network.Bits(), l.Name), "interface %s has no address in the management network %s, only %s", l.Name, network, joined(l.Addresses))
	case own == network.Masked().Addr():
		add(false, "give it another one", "interface %s has the address %s, which is the network's own", l.Name, own)
	}
	if len(l.DefaultRoutes) > 0 {
		add(true, "take the interface that is cabled to the rack; or --allow "+l.Name+" if this one is", "interface %s leads out: %s", l.Name, strings.Join(l.DefaultRoutes, ", "))
	}
	return out
}

func joined(ps []netip.Prefix) string {
	s := make([]string, len(ps))
	for i, p := range ps {
		s[i] = p.String()
	}
	return strings.Join(s, ", ")
}
