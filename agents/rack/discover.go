package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/lldp"
	dhcprelay "github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// DiscoverOptions are what the discovery of a real rack is built from.
type DiscoverOptions struct {
	Rack      *rack.Rack // validated
	Platforms map[string]rack.Platform

	// Allow names what would be refused otherwise: an interface, although it holds
	// the default route; a DHCP server, by its address, although it is not ours.
	Allow []string

	// Hear is how long other DHCP servers are listened for before ours speaks; 0:
	// foreign.DefaultWindow.
	Hear time.Duration

	// Credentials resolves a reference of the rack file to a user and a password, for
	// BMCs that do not say who they are before a login. Nil: nobody is logged in to.
	Credentials func(reference string) (user, password string, err error)

	ScanPause time.Duration // between two scans for BMCs; 0: five minutes
	ScanRate  int           // questions a second; 0: bmcscan.DefaultRate

	// Leases is where addresses are kept before they are acknowledged; its owner
	// closes it after Run. Nil: in memory only.
	Leases *lease.Store

	// Rules say what vendor strings mean. Nil: those that rackreach comes with.
	Rules *classify.Rules

	// Tell is told what is learnt, one thing at a time. It must not block for long.
	Tell func(Notice)

	Registry prometheus.Registerer // nil: metrics are kept but not registered
}

// Discoverer answers DHCP on the interface that the rack file names, and tells who
// is there. Every component of the rack gets its address and none a boot file:
// nothing is ever imaged by it.
type Discoverer struct {
	o       DiscoverOptions
	link    *wire.Link
	own     netip.Addr // on the management network
	tell    *teller
	metrics *wireMetrics
	table   atomic.Pointer[linkTable]

	mu      sync.Mutex
	binder  *rack.Binder    // what was learnt
	running map[string]bool // slots that were seen with their system running

	wire discovery.Wire // set by Run before it serves
}

// NewDiscoverer checks whether the interface may be served. Its error names
// everything that speaks against it, with what to do.
func NewDiscoverer(o DiscoverOptions) (*Discoverer, error) {
	link, err := wire.Inspect(o.Rack.Agent.Interface)
	if err != nil {
		return nil, err
	}
	if err := Fit(link, o.Rack, o.Allow); err != nil {
		return nil, err
	}
	if o.Hear == 0 {
		o.Hear = foreign.DefaultWindow
	}
	if o.ScanPause == 0 {
		o.ScanPause = scanPause
	}
	d := &Discoverer{o: o, link: link, running: map[string]bool{}, tell: newTeller(o.Rack.Name, o.Tell), binder: rack.NewBinder(o.Rack, o.Platforms)}
	d.own, _ = link.In(o.Rack.Management)
	d.swap()
	d.metrics = newWireMetrics(o.Rack.Name)
	d.metrics.leases.store.Store(o.Leases)
	if o.Registry != nil {
		if err := o.Registry.Register(d.metrics); err != nil {
			return nil, fmt.Errorf("register the metrics: %w", err)
		}
	}
	return d, nil
}

// Fit says what speaks against serving a rack on an interface; nil: nothing that
// was not allowed.
func Fit(link *wire.Link, r *rack.Rack, allow []string) error {
	var errs []error
	for _, t := range link.Unfit(r.Management) {
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

// Run serves until ctx ends, and then returns nil; or until the interface fails. It
// does not begin, and returns an error, where another DHCP server is heard.
func (d *Discoverer) Run(ctx context.Context) error {
	if err := d.hear(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	i, err := wire.Open(d.link.Name, wire.Options{Address: d.own})
	if err != nil {
		return err
	}
	d.wire = i
	server, err := discovery.New(discovery.Options{
		Wire: i, Ports: dhcprelay.NewPorts(d.o.Rack), Leases: d.o.Leases, Rules: d.o.Rules, ServerID: d.own, Authoritative: d.o.Rack.DHCP.Authoritative, Count: d.metrics.dhcp, OnSeen: d.seen,
		Table: func() discovery.Table { return d.table.Load() },
		OnPanic: func(reason any, _ []byte) {
			d.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("a DHCP packet crashed its handler and was dropped: %.200v", reason)})
		},
		OnTrouble: func(err error) { d.tell.again(Notice{Kind: NoticeTrouble, Text: "DHCP: " + err.Error()}) },
	})
	if err != nil {
		return errors.Join(err, i.Close())
	}
	tap, err := wire.OpenTap(d.link.Name, wire.Servers())
	if err != nil {
		return errors.Join(err, i.Close())
	}
	d.metrics.dropped.Store(func() uint64 { return i.Dropped() })
	announcements, err := wire.OpenTap(d.link.Name, wire.LLDP())
	if err != nil {
		return errors.Join(err, i.Close(), tap.Close())
	}
	d.tell.say(Notice{Kind: NoticeService, Address: d.own.String(), Text: fmt.Sprintf("DHCP of rack %s is served on interface %s, by %s", d.o.Rack.Name, d.link.Name, d.own)})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(ctx) })
	group.Go(func() error { return d.watchLink(ctx) })
	group.Go(func() error { return foreign.Watch(ctx, tap, d.ownership(), d.overheard) })
	group.Go(func() error { return lldp.Listen(ctx, announcements, d.neighbour) })
	group.Go(func() error { return d.scanBMCs(ctx) })
	group.Go(func() error { d.advertise(ctx); return nil })
	return group.Wait()
}

// learn takes in what an observation says of its slot.
func (d *Discoverer) learn(o *rack.Observation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.Stage == rack.StageNOS || o.Stage == rack.StageOS {
		d.running[o.Device] = true
	}
	if b := d.binder.Learned(o); b != d.binder {
		d.binder = b
		d.swap()
	}
}

// runs reports whether a slot was seen with its system running.
func (d *Discoverer) runs(device string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running[device]
}

// bindBMC finds the slot of a BMC, and learns its keys; where nothing but its address
// speaks for it, only if it let us in: anybody can take an address.
func (d *Discoverer) bindBMC(k rack.Keys, at netip.Addr, in bool) (rack.Binding, error) {
	d.mu.Lock()
	b, err := d.binder.BindBMC(k, at)
	d.mu.Unlock()
	if err == nil && (in || b.How != rack.ByAddress) {
		d.learn(&rack.Observation{Source: rack.FromBMC, Device: b.Device, MAC: k.MAC, UUID: k.UUID})
	}
	return b, err
}

// swap makes the table of what is known by now. Whoever calls it holds mu, or nobody
// else knows d yet.
func (d *Discoverer) swap() {
	d.table.Store(newLinkTable(d.o.Rack, d.binder, d.own, d.link.Addresses))
}

// seen takes in one packet.
func (d *Discoverer) seen(s discovery.Seen) {
	o := s.Observation
	n := Notice{Kind: NoticeSeen, Device: o.Device, By: s.Binding.How, MAC: o.MAC, UUID: o.UUID, Stage: o.Stage, Vendor: o.Vendor, Model: o.Model, Serial: o.Serial, Evidence: s.Evidence}
	if !o.Via.IsZero() {
		n.Via = o.Via.String()
	}
	if s.Alarm != "" {
		d.tell.say(Notice{Kind: NoticeAlarm, Device: n.Device, MAC: n.MAC, Text: named(o.MAC) + ": " + s.Alarm})
	}
	if foreign.IsProbe(o.MAC) {
		d.probed(s)
		return
	}
	if s.Err != nil {
		d.stranger(n, s)
		return
	}
	d.learn(&o)
	d.tell.once(n, func() string { return fmt.Sprintf("%s is %s, by its %s", named(o.MAC), described(n), n.By) })
	switch {
	case o.Proves == rack.DHCPDeclined:
		n.Kind, n.Address = NoticeDeclined, o.Address
		d.tell.once(n, func() string {
			why := ""
			if o.Message != "" {
				why = " (" + o.Message + ")"
			}
			return fmt.Sprintf("%s refuses its address %s: somebody else has it%s: find that with: arping -I %s %s", named(o.MAC), o.Address, why, d.link.Name, o.Address)
		})
	case s.Address != "":
		n.Kind, n.Address = NoticeAddress, s.Address
		d.tell.once(n, func() string { return fmt.Sprintf("%s has the address %s", named(o.MAC), s.Address) })
	}
}

// stranger tells of a component that no slot fits, or more than one.
func (d *Discoverer) stranger(n Notice, s discovery.Seen) {
	n.Kind, n.By, n.Address = NoticeStranger, "", s.Address
	if errors.Is(s.Err, rack.ErrAmbiguous) {
		n.Kind = NoticeAmbiguous
	}
	d.tell.once(n, func() string {
		if n.Address != "" {
			return fmt.Sprintf("%s, %s, has the address %s for strangers: %s", named(n.MAC), described(n), n.Address, s.Err)
		}
		if s.Offered != "" {
			return fmt.Sprintf("%s, %s, is offered the address %s for strangers: %s", named(n.MAC), described(n), s.Offered, s.Err)
		}
		return fmt.Sprintf("%s, %s, is not answered: %s", named(n.MAC), described(n), s.Err)
	})
}

// described is a component in words: its stage and what its vendor strings say.
func described(n Notice) string {
	stage := string(n.Stage)
	if n.Stage == rack.StageUnknown || stage == "" {
		stage = "of an unknown kind"
	}
	var also []string
	for _, s := range []string{n.Vendor, n.Model, n.Serial} {
		if s != "" {
			also = append(also, s)
		}
	}
	if n.Via != "" {
		also = append(also, "through "+n.Via)
	}
	if len(also) > 0 {
		stage += " (" + strings.Join(also, ", ") + ")"
	}
	return stage
}
