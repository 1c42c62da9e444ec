package rackagent

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/internal/rack"
)

// proxied is the pair of DHCP servers that stands beside the site's own: a proxy on port
// 67, and a boot server on port 4011 (discovery.Mode).
type proxied [2]*discovery.Server

// newDHCP builds the DHCP service of a rack on the wire of o. boot opens the wire of port
// 4011, which only a proxy has. Of the functions of o, OnSeen and OnTrouble are called by
// one server at a time; the others must bear that both call them at once. On an error
// nothing is open that this opened; the wire of o is the caller's.
func newDHCP(r *rack.Rack, o discovery.Options, boot func() (discovery.Wire, error)) (interface{ Serve(context.Context) error }, error) {
	if r.DHCP.Mode != rack.DHCPProxy {
		return discovery.New(o)
	}
	if boot == nil {
		return nil, errors.New("dhcp.mode is proxy, and nothing opens port 4011")
	}
	o.OnSeen, o.OnTrouble = inTurn(o.OnSeen, o.OnTrouble)
	o.Leases, o.Authoritative = nil, false // addresses are the other server's
	var out proxied
	var err error
	o.Mode = discovery.Proxy
	if out[0], err = discovery.New(o); err != nil {
		return nil, err
	}
	if o.Wire, err = boot(); err != nil {
		return nil, err
	}
	o.Mode = discovery.BootServer
	if out[1], err = discovery.New(o); err != nil {
		return nil, errors.Join(err, o.Wire.Close())
	}
	return out, nil
}

// inTurn makes two functions that may be called at any time call these one after the
// other; nil ones stay nil.
func inTurn(seen func(discovery.Seen), trouble func(error)) (func(discovery.Seen), func(error)) {
	var mu sync.Mutex
	if was := seen; was != nil {
		seen = func(s discovery.Seen) { mu.Lock(); defer mu.Unlock(); was(s) }
	}
	if was := trouble; was != nil {
		trouble = func(err error) { mu.Lock(); defer mu.Unlock(); was(err) }
	}
	return seen, trouble
}

// Serve implements actors.DHCPServer: it ends with the first of the two that fails.
func (p proxied) Serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range p {
		group.Go(func() error { return s.Serve(ctx) })
	}
	return group.Wait()
}
