package rackagent

import (
	"net/netip"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/internal/rack"
)

// linkTable is a boot table without tickets, for one interface of a real machine.
type linkTable struct {
	discovery.Table
	own []netip.Prefix // the interface's addresses
}

var _ discovery.Table = (*linkTable)(nil)

func newLinkTable(r *rack.Rack, binder *rack.Binder, serverID netip.Addr, own []netip.Prefix) *linkTable {
	return &linkTable{newTable(r, actors.Offer{Binder: binder}, serverID, nil, nil), own}
}

// Lookup implements discovery.Table. On one segment a server's own NIC is heard as
// directly as what hangs on the management network; where its MAC, UUID or serial
// names the slot, it gets the address of its data network all the same.
func (t *linkTable) Lookup(k rack.Keys) (discovery.Entry, rack.Binding, error) {
	e, b, err := t.Table.Lookup(k)
	if err == nil && !e.Address.IsValid() && k.Direct && b.How != rack.ByClass {
		k.Direct = false
		e, b, err = t.Table.Lookup(k)
	}
	// The engine takes an address of its own for a stranger's entry too.
	// Option 54 and the source of what we send are an address that the client
	// can reach without a router, if we have one.
	for _, p := range t.own {
		if e.Prefix.Contains(p.Addr()) {
			e.ServerID, e.NextServer = p.Addr(), p.Addr()
			break
		}
	}
	return e, b, err
}
