package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/lease"
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
	// BMCs that do not say who they are before a login, and the management switch, whose
	// MAC table is read. Nil: nobody is logged in to.
	Credentials func(reference string) (user, password string, err error)
	// Key resolves a reference to a private key, or the community of SNMP, for the latter.
	// Nil: none is read.
	Key func(reference string) ([]byte, error)

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
	*Line
	o       DiscoverOptions
	metrics *discoverMetrics
	table   atomic.Pointer[table]

	mu      sync.Mutex
	binder  *rack.Binder    // what was learnt
	running map[string]bool // slots that were seen with their system running

	wire discovery.Wire // set by Run before it serves
}

// NewDiscoverer checks whether the interface may be served. Its error names
// everything that speaks against it, with what to do.
func NewDiscoverer(o DiscoverOptions) (*Discoverer, error) {
	line, err := NewLine(LineOptions{Rack: o.Rack, Allow: o.Allow, Hear: o.Hear, Tell: o.Tell})
	if err != nil {
		return nil, err
	}
	if o.ScanPause == 0 {
		o.ScanPause = scanPause
	}
	d := &Discoverer{Line: line, o: o, running: map[string]bool{}, binder: rack.NewBinder(o.Rack, o.Platforms), metrics: newDiscoverMetrics(o.Rack.Name)}
	d.swap()
	d.metrics.leases.store.Store(o.Leases)
	if o.Registry != nil {
		if err := errors.Join(o.Registry.Register(d.metrics), o.Registry.Register(d.Line.metrics)); err != nil {
			return nil, fmt.Errorf("register the metrics: %w", err)
		}
	}
	return d, nil
}

// Run serves until ctx ends, and then returns nil; or until the interface fails. It
// does not begin, and returns an error, where another DHCP server is heard.
func (d *Discoverer) Run(ctx context.Context) error {
	if err := d.Hear(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	i, err := d.open()
	if err != nil {
		return err
	}
	d.wire = i
	server, err := newDHCP(d.o.Rack, discovery.Options{
		Wire: i, Ports: dhcprelay.NewPorts(d.o.Rack), Leases: d.o.Leases, Rules: d.o.Rules, ServerID: d.own, Authoritative: d.o.Rack.DHCP.Authoritative, Count: d.metrics.dhcp, Sleep: wire.Sleep, OnSeen: d.seen,
		Table: func() discovery.Table { return d.table.Load() },
		OnPanic: func(reason any, _ []byte) {
			d.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("a DHCP packet crashed its handler and was dropped: %.200v", reason)})
		},
		OnTrouble: func(err error) { d.tell.again(Notice{Kind: NoticeTrouble, Text: "DHCP: " + err.Error()}) },
	}, d.openBoot)
	if err != nil {
		return errors.Join(err, i.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	if err := d.watch(ctx, group); err != nil {
		return errors.Join(err, i.Close())
	}
	d.tell.say(Notice{Kind: NoticeService, Address: d.own.String(), Text: fmt.Sprintf("DHCP of rack %s is served on interface %s, by %s", d.o.Rack.Name, d.link.Name, d.own)})
	group.Go(func() error { return server.Serve(ctx) })
	group.Go(func() error { return d.scanBMCs(ctx) })
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
	d.table.Store(newTable(d.o.Rack, actors.Offer{Binder: d.binder}, d.own, d.link.Addresses, nil, nil))
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
