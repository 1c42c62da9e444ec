package rackagent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// arpTries is how often an address is asked for: RFC 5227 section 2.1.1, PROBE_NUM.
const arpTries = 3

// Living says who is at work on the wires of a real rack as its agent would be, heard
// within a window on the interface that its plan names: another DHCP server, or somebody
// who has an address that the lost agent answered from, or one of ours. "": nobody was
// heard. Servers that allow names, by address or with the whole interface, and the agents
// of other racks are nobody, and so is the site's own DHCP server where the plan leaves
// addresses to it (rack.DHCPProxy); who has the agent's address never is.
func Living(ctx context.Context, lost Lost, allow []string, window time.Duration) (who string, err error) {
	if lost.Rack == nil {
		return "", nil // it never gave an answer: there is nothing to hear of it
	}
	name := lost.Rack.Agent.Interface
	if name == "" {
		return "", fmt.Errorf("the plan of rack %s names no interface that could be listened on", lost.Rack.Name)
	}
	link, err := wire.Inspect(name)
	if err != nil {
		return "", err
	}
	if !link.Up || !link.Carrier {
		return "", fmt.Errorf("nobody is heard on interface %s: it has no link: plug in the cable of the designated port, and see that the switch is on", name)
	}
	addresses := askedFor(link, lost)
	found := make([]string, 1+len(addresses)) // each written by one goroutine
	var g errgroup.Group
	g.Go(func() (err error) { found[0], err = strangers(ctx, link, lost, allow, window); return err })
	for i, a := range addresses {
		g.Go(func() (err error) { found[1+i], err = whoHas(ctx, link, a, window); return err })
	}
	err = g.Wait()
	if found = slices.DeleteFunc(found, func(s string) bool { return s == "" }); len(found) > 0 {
		return strings.Join(found, "; "), nil
	}
	return "", err
}

// askedFor are the addresses that nobody else may have: those of the interface, and those
// that the lost agent answered from.
func askedFor(link *wire.Link, lost Lost) (out []netip.Addr) {
	for _, p := range link.Addresses {
		out = append(out, p.Addr())
	}
	for _, a := range lost.Servers {
		if a.Is4() && !slices.Contains(out, a) && !slices.Contains(lost.Siblings, a) {
			out = append(out, a)
		}
	}
	return out
}

// strangers are the DHCP servers that should not be there. An agent is silent to whoever
// is no device of its rack, so that one is only heard when a device asks meanwhile.
func strangers(ctx context.Context, link *wire.Link, lost Lost, allow []string, window time.Duration) (string, error) {
	heard, err := foreign.Look(ctx, link, window)
	if err != nil {
		return "", fmt.Errorf("listen for other DHCP servers on interface %s: %w", link.Name, err)
	}
	return unwanted(heard, link, lost, allow), nil
}

// unwanted says which of the servers that were heard should not be there; "": none.
func unwanted(heard []foreign.Server, link *wire.Link, lost Lost, allow []string) string {
	ours := askedFor(link, lost)
	var out []string
	for _, s := range heard {
		switch {
		case slices.Contains(lost.Siblings, s.Address), slices.Contains(allow, link.Name), slices.Contains(allow, s.Address.String()):
		case lost.Rack.DHCP.Mode == rack.DHCPProxy && !slices.Contains(ours, s.Address):
			// It gives the addresses; an agent answers from one of those that are asked for.
		default:
			out = append(out, fmt.Sprintf("a DHCP server is at work on interface %s: %s (--allow %s, if it may stay)", link.Name, s, s.Address))
		}
	}
	return strings.Join(out, "; ")
}

// whoHas asks by ARP who has an address, from no address of ours: who is asked by his own
// address does not answer (RFC 5227 section 1.1).
func whoHas(ctx context.Context, link *wire.Link, address netip.Addr, window time.Duration) (string, error) {
	for range arpTries {
		one, cancel := context.WithTimeout(ctx, window/arpTries)
		mac, err := wire.Resolve(one, link.Name, netip.IPv4Unspecified(), address)
		silent := one.Err() != nil
		cancel()
		switch {
		case err == nil:
			return fmt.Sprintf("MAC %s has the agent's address %s on interface %s: the machine that is taken for lost is on, or another one was given its address", mac, address, link.Name), nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !silent:
			return "", err
		}
	}
	return "", nil
}
