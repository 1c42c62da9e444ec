package rackagent

import (
	"errors"
	"net/netip"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/rack"
)

// table is the boot table: what the DHCP engine answers at this moment. It is
// immutable; offer makes the next one.
type table struct {
	rack     *rack.Rack
	binder   *rack.Binder
	serverID netip.Addr
	own      []netip.Prefix // addresses of the interface that is served; empty: that of the server only
	services *boot.Services
	tickets  map[string]boot.Ticket // by slot, the open ones
	boot     map[string]string      // by slot with an open ticket: TFTP path of its boot script
	url      map[string]string      // by slot with an open ticket whose image was not delivered yet: URL of its installer
	mboot    map[string]string      // by slot with an open ticket for ESXi: URL of its boot loader, for UEFI HTTP boot

	pending   map[string]bool      // slots whose firmware is to wait for its ticket
	provision map[string]provision // by slot with an open ticket: what its system is given at its first boot
}

// provision is where a network operating system finds what it asks for at its first boot.
type provision struct {
	url    string
	option uint8 // of DHCP; 0: as its vendor is known to want it
}

var _ discovery.Table = (*table)(nil)

func newTable(r *rack.Rack, o actors.Offer, serverID netip.Addr, own []netip.Prefix, tickets []boot.Ticket, services *boot.Services) *table {
	t := &table{rack: r, binder: o.Binder, serverID: serverID, own: own, services: services, tickets: map[string]boot.Ticket{}, boot: map[string]string{}, url: map[string]string{}, mboot: map[string]string{},
		pending: o.Pending, provision: map[string]provision{}}
	delivered := map[string]bool{}
	for _, x := range o.Tickets {
		delivered[x.ID] = x.Delivered
	}
	for _, x := range tickets {
		t.tickets[x.Device] = x
		t.boot[x.Device] = services.BootFile(x)
		if d, ok := r.Device(x.Device); ok && d.Install != nil && d.Install.Installer == rack.ESXi {
			t.mboot[x.Device] = services.NativeURL(x) + "/" + answerfile.MBoot
		}
		if p := x.Provision; p != nil {
			t.provision[x.Device] = provision{services.NativeURL(x) + "/" + p.Documents[0].Name, p.Option}
		}
		if !delivered[x.ID] {
			t.url[x.Device] = services.InstallerURL(x)
		}
	}
	return t
}

// Lookup implements discovery.Table. A device has one pre-determined address
// per end: its BMC's on the management network, its host's on the management
// network for switches and on the data network for servers. Another end of it gets
// an address out of the pool of its network, and nothing to boot. A component that
// no slot fits gets one where the rack file lets strangers in.
//
// On one segment a server's own NIC is heard as directly as what hangs on the
// management network; where its MAC, UUID or serial names the slot, it gets the address
// of its data network all the same.
func (t *table) Lookup(k rack.Keys) (discovery.Entry, rack.Binding, error) {
	e, b, err := t.lookup(k)
	if len(t.own) > 0 && err == nil && !e.Address.IsValid() && k.Direct && b.How != rack.ByClass {
		k.Direct = false
		e, b, err = t.lookup(k)
	}
	return e, b, err
}

func (t *table) lookup(k rack.Keys) (discovery.Entry, rack.Binding, error) {
	b, err := t.binder.Bind(k)
	if errors.Is(err, rack.ErrUnknown) {
		return t.stranger(k), rack.Binding{}, err
	}
	if err != nil {
		return discovery.Entry{}, rack.Binding{}, err
	}
	d, _ := t.rack.Device(b.Device)
	e := t.entry()
	e.Device, e.End, e.Hostname = d.Name, string(b.Network), d.Name
	host := rack.Management
	if d.Role == rack.Server {
		host = rack.Data
	}
	switch {
	case k.Stage == rack.StageBMC:
		e.End, e.Hostname = "bmc", d.Name+"-bmc"
		if d.BMC != nil {
			e.Address = d.BMC.Address
			t.on(&e, rack.Management)
		} else {
			t.pooled(&e, b.Network)
		}
	case b.Network == host || b.Network == "": // a unicast renewal says nothing of its way
		e.End = string(host)
		e.Address = d.Address
		t.on(&e, host)
		e.NextServer, e.BootPending = e.ServerID, t.pending[d.Name]
		e.BootFile, e.InstallerURL = t.boot[d.Name], t.url[d.Name]
		e.ProvisionURL, e.ProvisionOption = t.provision[d.Name].url, t.provision[d.Name].option
		if e.BootFile != "" {
			e.ScriptURL = "tftp://" + e.ServerID.String() + "/" + e.BootFile
			// Firmware that runs no script gets what does. Where there is none, it may be
			// iPXE in a ROM that does not say so: it gets the script.
			if file, url := t.services.Loader(t.tickets[d.Name], k.Arch); file != "" && k.Stage != rack.StageIPXE {
				e.BootFile, e.BootURL = file, url
			}
		}
		if url := t.mboot[d.Name]; url != "" {
			e.BootURL = url
		}
	default:
		t.pooled(&e, b.Network)
	}
	return e, b, nil
}

// entry is what everybody is told.
func (t *table) entry() discovery.Entry {
	s := t.rack.Services
	e := discovery.Entry{ServerID: t.serverID, Syslog: s.Syslog}
	copy(e.DNS[:], s.DNS)
	copy(e.NTP[:], s.NTP)
	return e
}

// on puts an entry on a network. Option 54 and the source of what we send are an address
// that the client can reach without a router, if we have one.
func (t *table) on(e *discovery.Entry, n rack.Network) {
	e.Prefix, e.Router = t.rack.Prefix(n), t.rack.Router(n)
	e.ServerID = within(t.own, e.Prefix, t.serverID)
}

// within is the first of our addresses that is in a network, or else.
func within(own []netip.Prefix, network netip.Prefix, or netip.Addr) netip.Addr {
	for _, p := range own {
		if network.Contains(p.Addr()) {
			return p.Addr()
		}
	}
	return or
}

// pooled gives an entry the pool of a network, if that has one.
func (t *table) pooled(e *discovery.Entry, n rack.Network) {
	if p := t.rack.Pool(n); p.First.IsValid() {
		e.Pool = lease.Pool{First: p.First, Last: p.Last}
		t.on(e, n)
	}
}

// stranger is what a component that no slot fits is given: an address of the
// network that it is on, where that network's pool is for strangers too. Its relay
// says which network that is; without a relay it hangs on the agent's own segment.
func (t *table) stranger(k rack.Keys) discovery.Entry {
	e := t.entry()
	for _, n := range []rack.Network{rack.Management, rack.Data} {
		on := k.Link.IsValid() && t.rack.Prefix(n).Contains(k.Link) || !k.Link.IsValid() && k.Via.IsZero() && n == rack.Management
		if on && t.rack.Pool(n).Strangers {
			t.pooled(&e, n)
		}
	}
	return e
}
