package rackagent

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rackreach/rackreach/discovery/lldp"
	"github.com/rackreach/rackreach/discovery/ra"
)

const (
	linkEvery      = 2 * time.Second  // between two looks at the interface while it is served
	advertiseAgain = 10 * time.Second // before advertising is tried once more
)

// watchLink tells of a cable that is pulled and put back. An interface that is
// gone, or another one of the same name, ends the service: its sockets hear nothing.
func (d *Discoverer) watchLink(ctx context.Context) error {
	again := time.NewTicker(linkEvery)
	defer again.Stop()
	up := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		l, err := net.InterfaceByName(d.link.Name)
		if err != nil || l.Index != d.link.Index {
			return fmt.Errorf("interface %s has gone while it was served: start again once it is back", d.link.Name)
		}
		if running := l.Flags&net.FlagRunning != 0; running != up {
			up = running
			text := "interface %s has a link again"
			if !up {
				text = "interface %s has lost its link: nobody can be heard until it is back"
			}
			d.tell.again(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf(text, d.link.Name)})
		}
	}
}

// neighbour tells where we are plugged in, and whether the rack file says the same.
func (d *Discoverer) neighbour(n lldp.Neighbour) {
	if n.TTL == 0 {
		return // it takes back what it said, because it goes down
	}
	verdict, text := lldp.Compare(n, d.o.Rack)
	d.tell.say(Notice{Kind: NoticeNeighbour, MAC: n.MAC, Model: n.System, Via: n.Port, Evidence: string(verdict), Text: text})
}

// advertise tells IPv6 nodes that there is no router, until ctx ends. Without it
// everything works, and iPXE waits a while on every boot: it is no reason to end.
func (d *Discoverer) advertise(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		a, err := ra.Open(d.link.Name)
		if err == nil {
			d.tell.say(Notice{Kind: NoticeService, Text: fmt.Sprintf("IPv6 nodes on interface %s are told that there is no router", d.link.Name)})
			a.Sent = func(asked bool, err error) { d.metrics.advertised(asked, err == nil) }
			err = a.Run(ctx)
		}
		if err != nil && ctx.Err() == nil {
			d.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("%s; without it, iPXE waits 13 s on every boot", err)})
		}
		again.Reset(advertiseAgain)
	}
}
