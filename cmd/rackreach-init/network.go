//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"

	"github.com/rackreach/rackreach/discovery/lldp"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/job"
)

// vendorClass is how the installer names itself (RFC 2132 §9.13).
const vendorClass = "rackreach-installer"

// Times of DHCP.
const (
	dhcpTimeout = 2 * time.Second // for one answer
	dhcpLimit   = 5 * time.Minute // for an address, on any interface
	minLease    = time.Minute     // below, a lease is renewed as if it were this long
)

// network is what the machine has of one.
type network struct {
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu    sync.Mutex
	heard []job.Neighbour
}

// close ends what listens and renews.
func (n *network) close() {
	n.stop()
	n.tasks.Wait()
}

// lease is an address that an interface got.
type lease struct {
	link netlink.Link
	*nclient4.Lease
}

// bringUp brings all interfaces up, and gives an address to the named one, or to the
// first that is answered.
func bringUp(ctx context.Context, mac net.HardwareAddr, say func(string)) (*network, error) {
	links, err := up(mac, say)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	n := &network{stop: stop}
	for _, l := range links {
		n.listen(ctx, l.Attrs().Name)
	}
	got, err := first(ctx, links, say)
	if err == nil {
		err = configure(got)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	say(fmt.Sprintf("interface %s has %s/%d, by %s", got.link.Attrs().Name, got.ACK.YourIPAddr, ones(got.ACK), got.ACK.ServerIdentifier()))
	n.tasks.Go(func() { renew(ctx, got, say) })
	return n, nil
}

// up brings them up, and returns those that may get an address.
func up(mac net.HardwareAddr, say func(string)) ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the network interfaces: %w", err)
	}
	return raise(all, mac, netlink.LinkSetUp, say)
}

// raise brings all up that can be: what one card lacks, such as a firmware file, the
// others need not.
func raise(all []netlink.Link, mac net.HardwareAddr, setUp func(netlink.Link) error, say func(string)) (out []netlink.Link, err error) {
	var seen []string
	var broken error
	for _, l := range all {
		a := l.Attrs()
		ethernet := l.Type() == "device" && len(a.HardwareAddr) == 6
		if !ethernet && a.Flags&net.FlagLoopback == 0 {
			continue
		}
		err := setUp(l)
		if err != nil {
			err = fmt.Errorf("interface %s cannot be brought up: %w", a.Name, err)
			say(err.Error())
		}
		if ethernet && a.Flags&net.FlagLoopback == 0 {
			seen = append(seen, a.HardwareAddr.String())
			if err != nil {
				broken = errors.Join(broken, err)
			} else if mac == nil || slices.Equal(mac, a.HardwareAddr) {
				out = append(out, l)
			}
		}
	}
	switch {
	case len(seen) == 0:
		return nil, errors.New("there is no network interface: is its driver in the initramfs?")
	case len(out) == 0 && broken != nil:
		return nil, fmt.Errorf("no network interface is left that may be used: %w", broken)
	case len(out) == 0:
		return nil, fmt.Errorf("no network interface has the MAC %s of the boot loader; there are %s", mac, strings.Join(seen, ", "))
	}
	return out, nil
}

// first asks on all interfaces, and takes the first answer.
func first(ctx context.Context, links []netlink.Link, say func(string)) (lease, error) {
	ctx, cancel := context.WithTimeout(ctx, dhcpLimit)
	defer cancel()
	answers := make(chan lease, len(links))
	var g sync.WaitGroup
	defer g.Wait()
	for _, l := range links {
		g.Go(func() {
			for ctx.Err() == nil {
				if x, err := ask(ctx, l.Attrs().Name); err == nil {
					answers <- lease{l, x}
					return
				} else if ctx.Err() == nil {
					say(fmt.Sprintf("interface %s: no address yet: %v", l.Attrs().Name, err))
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
		})
	}
	select {
	case x := <-answers:
		cancel()
		return x, nil
	case <-ctx.Done():
		return lease{}, fmt.Errorf("no interface got an address within %s: is the cable plugged in, and does the agent know this machine?", dhcpLimit)
	}
}

// ask asks once on one interface. The client's socket hears all IP packets of the
// interface, so it is closed at once.
func ask(ctx context.Context, name string) (l *nclient4.Lease, err error) {
	c, err := nclient4.New(name, nclient4.WithTimeout(dhcpTimeout), nclient4.WithRetry(4))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.Request(ctx, dhcpv4.WithOption(dhcpv4.OptClassIdentifier(vendorClass)),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute))
}

// configure gives an interface its address and its routes. Classless routes go before
// the router (RFC 3442).
func configure(l lease) error {
	name := l.link.Attrs().Name
	mask := l.ACK.SubnetMask()
	if mask == nil {
		mask = l.ACK.YourIPAddr.DefaultMask()
	}
	if err := netlink.AddrReplace(l.link, &netlink.Addr{IPNet: &net.IPNet{IP: l.ACK.YourIPAddr, Mask: mask}}); err != nil {
		return fmt.Errorf("give %s to interface %s: %w", l.ACK.YourIPAddr, name, err)
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, l.ACK.Options); err == nil && mtu >= 576 {
		if err := netlink.LinkSetMTU(l.link, int(mtu)); err != nil {
			return fmt.Errorf("let interface %s have an MTU of %d: %w", name, mtu, err)
		}
	}
	routes := l.ACK.ClasslessStaticRoute()
	if len(routes) == 0 {
		for _, gw := range l.ACK.Router() {
			routes = append(routes, &dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero.To4(), Mask: make(net.IPMask, 4)}, Router: gw})
			break
		}
	}
	for _, r := range routes {
		x := &netlink.Route{LinkIndex: l.link.Attrs().Index, Dst: r.Dest, Gw: r.Router}
		if r.Router.IsUnspecified() {
			x.Gw, x.Scope = nil, netlink.SCOPE_LINK
		}
		if err := netlink.RouteReplace(x); err != nil {
			return fmt.Errorf("route %s of interface %s by %s: %w", r.Dest, name, r.Router, err)
		}
	}
	return nil
}

// ones is the length of an address's prefix.
func ones(ack *dhcpv4.DHCPv4) int {
	n, _ := ack.SubnetMask().Size()
	return n
}

// renew keeps a lease for as long as the machine needs it (RFC 2131 §4.4.5: at half of
// its time).
func renew(ctx context.Context, l lease, say func(string)) {
	for {
		half := max(l.ACK.IPAddressLeaseTime(time.Hour), minLease) / 2
		select {
		case <-time.After(half):
		case <-ctx.Done():
			return
		}
		again, err := ask(ctx, l.link.Attrs().Name)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			say(fmt.Sprintf("the lease of %s could not be renewed, it is kept: %v", l.ACK.YourIPAddr, err))
		case !again.ACK.YourIPAddr.Equal(l.ACK.YourIPAddr):
			say(fmt.Sprintf("the agent offers %s instead of %s, which is kept", again.ACK.YourIPAddr, l.ACK.YourIPAddr))
		default:
			l.Lease = again
		}
	}
}

// listen hears what the switches say of themselves.
func (n *network) listen(ctx context.Context, name string) {
	tap, err := wire.OpenTap(name, wire.LLDP())
	if err != nil {
		return // a machine without neighbours is still one
	}
	n.tasks.Go(func() {
		_ = lldp.Listen(ctx, tap, func(x lldp.Neighbour) { n.add(job.Neighbour{NIC: name, System: x.System, Port: x.Port}) })
	})
}

const maxNeighbours = 64

func (n *network) add(x job.Neighbour) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.heard) < maxNeighbours && !slices.Contains(n.heard, x) {
		n.heard = append(n.heard, x)
	}
}

// neighbours are those that were heard so far.
func (n *network) neighbours() []job.Neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.heard)
}
