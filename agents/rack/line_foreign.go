package rackagent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rackreach/rackreach/discovery/foreign"
)

// Hear listens for other DHCP servers before anything is said. It returns an error for every server that
// may not be there.
func (l *Line) Hear(ctx context.Context) error {
	l.tell.say(Notice{Kind: NoticeService, Text: fmt.Sprintf("listening for other DHCP servers on interface %s for %s", l.link.Name, l.window)})
	found, err := foreign.Look(ctx, l.link, l.window)
	if err != nil {
		return err
	}
	return Foreign(found, l.link.Name, l.allow)
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

// overheard counts and tells what another server said while ours serves. One that
// is allowed is counted only.
func (l *Line) overheard(s foreign.Server) {
	allowed := slices.Contains(l.allow, s.Address.String()) || slices.Contains(l.allow, l.link.Name)
	l.metrics.overheard(allowed)
	if allowed {
		return
	}
	// Of a server, the first word of each kind is told.
	l.tell.once(Notice{Kind: NoticeForeign, MAC: s.MAC, Address: s.Address.String(), Evidence: s.Message}, func() string {
		return fmt.Sprintf("ANOTHER DHCP SERVER: %s: find it by its MAC in the table of the switch, and switch it off", s)
	})
}
