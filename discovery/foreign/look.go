package foreign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rackreach/rackreach/discovery/wire"
)

// DefaultWindow is how long Look listens: dnsmasq offers an address that it has not
// given yet only after it has pinged it for 3 s (measured).
const DefaultWindow = 5 * time.Second

// maxServers bounds how many servers are kept: each is a line that a person reads.
const maxServers = 32

// Look listens on an interface for a while, and asks. It returns the servers that
// spoke, each once, in the order in which they were heard.
//
// Errors: no such interface; permission (CAP_NET_RAW).
func Look(ctx context.Context, link *wire.Link, window time.Duration) ([]Server, error) {
	frames, err := probes(link.MAC)
	if err != nil {
		return nil, fmt.Errorf("make a DHCPDISCOVER: %w", err)
	}
	tap, err := wire.OpenTap(link.Name, wire.Servers())
	if err != nil {
		return nil, err
	}
	sender, err := wire.OpenSender(link.Name)
	if err != nil {
		return nil, errors.Join(err, tap.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, window)
	defer cancel()
	asked := make(chan error, 1)
	go func() { asked <- errors.Join(ask(ctx, sender, frames, window/2), sender.Close()) }()
	var out []Server
	known := map[Key]bool{}
	err = Watch(ctx, tap, Own{MAC: link.MAC}, func(s Server) {
		if !known[s.Key()] && len(out) < maxServers {
			known[s.Key()] = true
			out = append(out, s)
		}
	})
	return out, errors.Join(err, <-asked)
}

// ask sends the frames now and once more after a while.
func ask(ctx context.Context, to *wire.Sender, frames [][]byte, pause time.Duration) error {
	again := time.NewTimer(pause)
	defer again.Stop()
	for range 2 {
		for _, f := range frames {
			if err := to.Send(f); err != nil {
				return err
			}
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// Watch listens until ctx ends, and then returns nil, or until listening fails for
// good. found is called for every message of a server that is not ours; it must not
// block. Watch closes what it listens to.
func Watch(ctx context.Context, frames wire.Frames, own Own, found func(Server)) error {
	return wire.Hear(ctx, frames, func(frame []byte) {
		if u, err := wire.ParseUDP(frame); err == nil {
			if s, ok := Judge(u, own); ok {
				found(s)
			}
		}
	})
}
