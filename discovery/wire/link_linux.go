package wire

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Inspect asks the kernel about an interface. It needs no rights.
func Inspect(name string) (*Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, &MissingError{name}
	}
	if err != nil {
		return nil, fmt.Errorf("look at interface %s: %w", name, err)
	}
	a := link.Attrs()
	l := &Link{Name: a.Name, Index: a.Index, MAC: a.HardwareAddr, MTU: a.MTU, Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list the addresses of interface %s: %w", name, err)
	}
	for _, x := range addrs {
		ip, ok := netip.AddrFromSlice(x.IP)
		if !ok {
			continue
		}
		bits, _ := x.Mask.Size()
		switch ip = ip.Unmap(); {
		case ip.Is4():
			l.Addresses = append(l.Addresses, netip.PrefixFrom(ip, bits))
		case ip.IsLinkLocalUnicast() && x.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0:
			l.LinkLocal = ip
		}
	}
	if l.DefaultRoutes, err = defaultRoutes(link); err != nil {
		return nil, fmt.Errorf("list the routes of interface %s: %w", name, err)
	}
	return l, nil
}

// defaultRoutes are the default routes of all tables that leave through the
// interface or one on its segment.
func defaultRoutes(link netlink.Link) ([]string, error) {
	same, err := segment(link)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Dst != nil {
				if bits, _ := r.Dst.Mask.Size(); bits != 0 {
					continue
				}
			}
			if r.Type != unix.RTN_UNICAST {
				continue
			}
			ways := []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
			if len(r.MultiPath) > 0 {
				ways = r.MultiPath
			}
			for _, w := range ways {
				if name, ok := same[w.LinkIndex]; ok {
					out = append(out, words(w, name, r.Table))
				}
			}
		}
	}
	return out, nil
}

func words(w *netlink.NexthopInfo, name string, table int) string {
	s := "the default route"
	if w.Gw != nil {
		s += " by " + w.Gw.String()
	}
	s += " leaves through " + name
	if table != unix.RT_TABLE_MAIN {
		s += fmt.Sprintf(" (table %d)", table)
	}
	return s
}

// segment are the interfaces that are on the same segment without a cable: a
// macvlan or ipvlan, what it stands on, and the others that stand there. A VLAN is
// a segment of its own.
func segment(link netlink.Link) (map[int]string, error) {
	base := func(l netlink.Link) int {
		switch l.Type() {
		case "macvlan", "macvtap", "ipvlan", "ipvtap":
			return l.Attrs().ParentIndex
		}
		return l.Attrs().Index
	}
	all, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	out := map[int]string{link.Attrs().Index: link.Attrs().Name}
	for _, l := range all {
		if base(l) == base(link) {
			out[l.Attrs().Index] = l.Attrs().Name
		}
	}
	return out, nil
}
