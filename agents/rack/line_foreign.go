package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// Hear listens for other DHCP servers before anything is said. It returns an error for every server that
// may not be there: any, unless addresses are the site's business (rack.DHCPProxy).
func (l *Line) Hear(ctx context.Context) error {
	l.tell.say(Notice{Kind: NoticeService, Text: fmt.Sprintf("listening for other DHCP servers on interface %s for %s", l.link.Name, l.window)})
	found, err := foreign.Look(ctx, l.link, l.window)
	if err != nil {
		return err
	}
	return l.judge(found)
}

// judge says which of the servers that were heard may not be there; nil: none. The
// siblings are those of this moment: the coordinator may have said them meanwhile.
func (l *Line) judge(found []foreign.Server) error {
	var errs []error
	var others []foreign.Server
	for _, s := range present(l.link, found) {
		if l.isSibling(s.Address) {
			l.meet(s)
			continue
		}
		if err := shares(l.link, s); err != nil {
			errs = append(errs, err)
		}
		others = append(others, s)
	}
	if l.rack.DHCP.Mode == rack.DHCPProxy {
		l.expect(others)
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, Foreign(others, l.link.Name, l.allow))...)
}

// present are the servers that are there. Of one with our own address, which only a client
// named, it chose the offer when we, or the agent that was here before us, gave it.
func present(link *wire.Link, found []foreign.Server) (out []foreign.Server) {
	for _, s := range found {
		if s.MAC != "" || !holds(link, s.Address) {
			out = append(out, s)
		}
	}
	return out
}

// shares is what is wrong with a server that has an address of ours, whichever it is and
// whoever may stay; nil: it has another one.
func shares(link *wire.Link, s foreign.Server) error {
	if !holds(link, s.Address) {
		return nil
	}
	return fmt.Errorf("%s is our own address on interface %s, and MAC %s has it too: two agents may not share one: give one of them another", s.Address, link.Name, s.MAC)
}

// holds reports whether an address is one of an interface.
func holds(link *wire.Link, a netip.Addr) bool {
	return slices.ContainsFunc(link.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// expect tells of the site's own DHCP server, which gives the addresses.
func (l *Line) expect(found []foreign.Server) {
	if len(found) == 0 {
		l.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("no DHCP server of the site was heard on interface %s within %s: it may know only the devices of the rack; if there is none, no device gets an address: leave dhcp.mode: proxy out of the rack file", l.link.Name, l.window)})
	}
	for _, s := range found {
		l.tell.say(Notice{Kind: NoticeService, Address: s.Address.String(), MAC: s.MAC, Text: fmt.Sprintf("a DHCP server of the site is on the segment of interface %s: %s: it gives the addresses, we name what to boot", l.link.Name, s)})
	}
}

// Foreign says which DHCP servers must not be on the segment of an interface; nil:
// none that was not allowed, by its address or with the whole interface.
func Foreign(found []foreign.Server, name string, allow []string) error {
	var errs []error
	for _, s := range found {
		if !slices.Contains(allow, name) && !slices.Contains(allow, s.Address.String()) {
			errs = append(errs, fmt.Errorf("another DHCP server is on the segment of interface %s: %s: two servers give one device two answers: switch it off there, or --allow %s if it may stay", name, s, s.Address))
		}
	}
	return errors.Join(errs...)
}

// ownership is what of the DHCP on the segment is ours.
func (l *Line) ownership() foreign.Own {
	own := foreign.Own{MAC: l.link.MAC}
	for _, p := range l.link.Addresses {
		own.Addresses = append(own.Addresses, p.Addr())
	}
	return own
}

// owns reports whether an address is one of the interface.
func (l *Line) owns(a netip.Addr) bool { return holds(l.link, a) }

// isSibling reports whether a server is the agent of another rack of the fleet, as its
// coordinator says. Whoever has an address of ours is none, whatever it says.
func (l *Line) isSibling(a netip.Addr) bool { return l.siblings.Has(a) && !l.owns(a) }

// meet tells that a sibling is on the segment.
func (l *Line) meet(s foreign.Server) {
	l.joined.Store(true)
	l.tell.once(Notice{Kind: NoticeSibling, Address: s.Address.String()}, func() string {
		return fmt.Sprintf("the agent of another rack of the fleet is on this segment: %s", s)
	})
}

// company is that of discovery.Options.
func (l *Line) company() (known, heard bool) { return l.siblings.Any(), l.joined.Load() }

// overheard counts and tells what another server said while ours serves. One that
// is allowed, or gives the addresses, is counted only.
func (l *Line) overheard(s foreign.Server) {
	expected := l.rack.DHCP.Mode == rack.DHCPProxy && !l.owns(s.Address)
	allowed := expected || slices.Contains(l.allow, s.Address.String()) || slices.Contains(l.allow, l.link.Name)
	switch {
	case l.isSibling(s.Address):
		l.metrics.overheard("sibling")
		l.meet(s)
		return
	case allowed:
		l.metrics.overheard("yes")
		return
	}
	l.metrics.overheard("no")
	// Of a server, the first word of each kind is told.
	l.tell.once(Notice{Kind: NoticeForeign, MAC: s.MAC, Address: s.Address.String(), Evidence: s.Message}, func() string {
		if l.owns(s.Address) {
			return fmt.Sprintf("ANOTHER DHCP SERVER HAS OUR ADDRESS: %s: find it by its MAC in the table of the switch, and give it or us another one", s)
		}
		return fmt.Sprintf("ANOTHER DHCP SERVER: %s: find it by its MAC in the table of the switch, and switch it off", s)
	})
}
