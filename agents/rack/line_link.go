package rackagent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/rackreach/rackreach/discovery/lldp"
	"github.com/rackreach/rackreach/discovery/ra"
)

const (
	linkEvery      = 2 * time.Second  // between two looks at the interface while it is served
	advertiseAgain = 10 * time.Second // before advertising is tried once more
)

// linkState is what was told of the interface last.
type linkState struct {
	up   bool // it has a link
	ours bool // it has the address that we serve by
}

// changed takes in how the interface is now, and says what is to be told.
func (s *linkState) changed(name string, own netip.Addr, now linkState) (texts []string) {
	was := *s
	*s = now
	switch {
	case was.up && !now.up:
		texts = append(texts, fmt.Sprintf("interface %s has lost its link: nobody can be heard until it is back", name))
	case !was.up && now.up:
		texts = append(texts, fmt.Sprintf("interface %s has a link again", name))
	}
	switch {
	case was.ours && !now.ours:
		texts = append(texts, fmt.Sprintf("interface %s has lost the address %s, by which clients are told to come back to us: nobody reaches it: ip addr add %s/LENGTH dev %s, or start again with another one", name, own, own, name))
	case !was.ours && now.ours:
		texts = append(texts, fmt.Sprintf("interface %s has the address %s again", name, own))
	}
	return texts
}

// has reports whether an interface has an address.
func has(l *net.Interface, own netip.Addr) bool {
	all, err := l.Addrs()
	if err != nil {
		return true // nothing is known
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == own {
			return true
		}
	}
	return false
}

// watchLink tells of a cable that is pulled and put back, and of an address that is taken away. An interface that is
// gone, or another one of the same name, ends the service: its sockets hear nothing.
func (l *Line) watchLink(ctx context.Context) error {
	again := time.NewTicker(linkEvery)
	defer again.Stop()
	last := linkState{up: true, ours: true}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		now, err := net.InterfaceByName(l.link.Name)
		if err != nil || now.Index != l.link.Index {
			return fmt.Errorf("interface %s has gone while it was served: start again once it is back", l.link.Name)
		}
		for _, text := range last.changed(l.link.Name, l.own, linkState{up: now.Flags&net.FlagRunning != 0, ours: has(now, l.own)}) {
			l.tell.again(Notice{Kind: NoticeTrouble, Text: text})
		}
	}
}

// neighbour tells where we are plugged in, and whether the rack file says the same.
func (l *Line) neighbour(n lldp.Neighbour) {
	if n.TTL == 0 {
		return // it takes back what it said, because it goes down
	}
	verdict, text := lldp.Compare(n, l.rack)
	l.tell.say(Notice{Kind: NoticeNeighbour, MAC: n.MAC, Model: n.System, Via: n.Port, Evidence: string(verdict), Text: text})
}

// advertise tells IPv6 nodes that there is no router, until ctx ends. Without it
// everything works, and iPXE waits a while on every boot: it is no reason to end.
func (l *Line) advertise(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		a, err := ra.Open(l.link.Name)
		if err == nil {
			l.tell.say(Notice{Kind: NoticeService, Text: fmt.Sprintf("IPv6 nodes on interface %s are told that there is no router", l.link.Name)})
			a.Sent = func(asked bool, err error) { l.metrics.advertised(asked, err == nil) }
			err = a.Run(ctx)
		}
		if err != nil && ctx.Err() == nil {
			l.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("%s; without it, iPXE waits 13 s on every boot", err)})
		}
		again.Reset(advertiseAgain)
	}
}
