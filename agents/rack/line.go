package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/lldp"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// Ports of the services for devices, where real devices look for them.
const (
	portHTTP   = 80
	portTFTP   = 69  // RFC 1350 section 4
	portSyslog = 514 // RFC 5426 section 3.3
)

// LineOptions are what a line is opened by.
type LineOptions struct {
	Rack *rack.Rack // validated; its agent has an interface

	// Allow names what would be refused otherwise: an interface, although it holds
	// the default route; a DHCP server, by its address, although it is not ours.
	Allow []string

	// Siblings are the agents of the other racks of the fleet, who may be on the segment;
	// nil: there are none.
	Siblings *Siblings

	// Hear is how long other DHCP servers are listened for before ours speaks; 0:
	// foreign.DefaultWindow.
	Hear time.Duration

	// Waits: a link that is down is no reason not to begin. The switch at its other end
	// may be off, and it is we who will power it on.
	Waits bool

	// Tell is told what is learnt, one thing at a time. It must not block for long.
	Tell func(Notice)
}

// Line is the interface that a real rack hangs on: the agent's end of the cable to the
// designated port.
type Line struct {
	rack    *rack.Rack
	link    *wire.Link
	own     netip.Addr // on the management network
	allow   []string
	window  time.Duration
	tell    *teller
	metrics *lineMetrics

	siblings *Siblings
	joined   atomic.Bool // a sibling was heard
}

// NewLine checks whether the interface may be served. Its error names everything that
// speaks against it, with what to do.
func NewLine(o LineOptions) (*Line, error) {
	link, err := wire.Inspect(o.Rack.Agent.Interface)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(Fit(link, o.Rack, o.Allow, o.Waits), fitBMC(o.Rack)); err != nil {
		return nil, err
	}
	if o.Hear == 0 {
		o.Hear = foreign.DefaultWindow
	}
	l := &Line{rack: o.Rack, link: link, allow: o.Allow, window: o.Hear, tell: newTeller(o.Rack.Name, o.Tell), metrics: newLineMetrics(o.Rack.Name), siblings: o.Siblings}
	l.own, _ = link.In(o.Rack.Management)
	return l, nil
}

// Metrics are those of the line itself.
func (l *Line) Metrics() prometheus.Collector { return l.metrics }

// Fit says what speaks against serving a rack on an interface; nil: nothing that
// was not allowed. With waits, what passes by itself does not.
func Fit(link *wire.Link, r *rack.Rack, allow []string, waits bool) error {
	var errs []error
	for _, t := range link.Unfit(r.Management) {
		if t.Passing && waits {
			continue
		}
		if !t.Risk || !slices.Contains(allow, link.Name) {
			errs = append(errs, errors.New(t.String()))
		}
	}
	for _, p := range link.Addresses {
		if who := given(r, p.Addr()); who != "" {
			errs = append(errs, fmt.Errorf("interface %s has the address %s, which the rack file gives to %s: take another one", link.Name, p.Addr(), who))
		}
	}
	return errors.Join(errs...)
}

// given is whom the rack file gives an address to, or "".
func given(r *rack.Rack, a netip.Addr) string {
	for i := range r.Devices {
		d := &r.Devices[i]
		switch {
		case d.Address == a:
			return d.Name
		case d.BMC != nil && d.BMC.Address == a:
			return "the BMC of " + d.Name
		}
	}
	return ""
}

// open opens the wire of DHCP.
func (l *Line) open() (discovery.Wire, error) {
	i, err := wire.Open(l.link.Name, wire.Options{Address: l.own})
	if err != nil {
		return nil, err
	}
	l.metrics.dropped.Store(func() uint64 { return i.Dropped() })
	return i, nil
}

// openBoot opens the wire of a proxy's boot server.
func (l *Line) openBoot() (discovery.Wire, error) {
	return wire.Open(l.link.Name, wire.Options{Address: l.own, Port: wire.ProxyPort})
}

// watch tells what happens on the line besides DHCP of ours, until ctx ends or the
// interface has gone.
func (l *Line) watch(ctx context.Context, group *errgroup.Group) error {
	tap, err := wire.OpenTap(l.link.Name, wire.Servers())
	if err != nil {
		return err
	}
	announcements, err := wire.OpenTap(l.link.Name, wire.LLDP())
	if err != nil {
		return errors.Join(err, tap.Close())
	}
	group.Go(func() error { return l.watchLink(ctx) })
	group.Go(func() error { return foreign.Watch(ctx, tap, l.ownership(), l.overheard) })
	group.Go(func() error { return lldp.Listen(ctx, announcements, l.neighbour) })
	group.Go(func() error { l.advertise(ctx); return nil })
	return nil
}

// Watch tells what happens on the line besides DHCP of ours, until ctx ends, which is no
// error, or the interface has gone.
func (l *Line) Watch(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if err := l.watch(ctx, group); err != nil {
		return err
	}
	return group.Wait()
}

// Plug opens the services for devices on the line, and fills in what of an agent's
// options it is: DHCP, HTTP, TFTP, syslog, and the way to devices. What it opened is
// closed by Agent.Run.
func (l *Line) Plug(o *Options) error {
	fail := func(what string, port int, err error) error {
		return fmt.Errorf("open %s on port %d of interface %s: %w\nSee what is in the way: rackreach preflight", what, port, l.link.Name, err)
	}
	web, err := wire.Listen(l.link.Name, portHTTP)
	if err != nil {
		return fail("HTTP", portHTTP, err)
	}
	tftp, err := wire.ListenPacket(l.link.Name, portTFTP)
	if err != nil {
		return errors.Join(fail("TFTP", portTFTP, err), web.Close())
	}
	logs, err := wire.ListenPacket(l.link.Name, portSyslog)
	if err != nil { // a rack is imaged without logs all the same
		l.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("what devices log is not received: port %d of interface %s: %s: end what holds it (ss -lunp), and start again", portSyslog, l.link.Name, err)})
	} else {
		o.Syslog = logs
	}
	o.Wire, o.BootWire, o.HTTP, o.TFTP = l.open, l.openBoot, web, tftp
	o.ServerID, o.Own, o.BaseURL = l.own, l.link.Addresses, base(l.own)
	o.Company = l.company
	o.Dial = l.dialer()
	o.ARP = arpOn(l.link.Name, l.link.Addresses, wire.Resolve)
	return nil
}

// base is the URL of the services at an address of ours.
func base(a netip.Addr) string {
	return "http://" + net.JoinHostPort(a.String(), strconv.Itoa(portHTTP))
}
