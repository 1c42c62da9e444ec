//go:build netns

package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	poolFirst = netip.MustParseAddr("10.61.0.200")
	poolLast  = netip.MustParseAddr("10.61.0.249")
)

// clientsOfAPool: strangers get addresses of the pool, and an agent that was killed
// gives nobody what it had acknowledged to another.
func clientsOfAPool(t *testing.T, binary string) {
	const one, two = "02:99:00:00:00:01", "02:99:00:00:00:02"
	s := newSegmentOf(t, binary, true)
	s.serve()
	udhcpc := clientSoftware[0]
	a := s.component("first", one)
	p := udhcpc.run(a)
	p.says("CLIENT bound 10.61.0.2")
	had := a.pooled()
	s.discover.kill() // after the ACK: it must be on the disk by now
	a.w.clear(a.in)
	<-p.ended
	s.heard.keep("udhcpc-pool")
	s.serve()
	b := s.component("second", two)
	udhcpc.run(b).says("CLIENT bound 10.61.0.2")
	if other := b.pooled(); other == had {
		t.Errorf("%s was given to a second client", had)
	}
	udhcpc.run(a).says("CLIENT bound " + had.String())
	s.discover.stop()
}

// pooled is the address of an eth0, which must be one of the pool.
func (h *host) pooled() netip.Addr {
	h.w.t.Helper()
	f := strings.Fields(h.addresses())
	h.w.until(nsSoon, h.name+" has an address", func() bool { f = strings.Fields(h.addresses()); return len(f) > 2 })
	p, err := netip.ParsePrefix(f[2])
	if err != nil || p.Addr().Less(poolFirst) || poolLast.Less(p.Addr()) {
		h.w.t.Errorf("%s has %s, which is not of the pool (%v)", h.name, f[2], err)
	}
	return p.Addr()
}

// clientsByTheHundred: perfdhcp's clients, each a stranger behind a relay, all get an
// address, and none that another has, as long as there are any.
func clientsByTheHundred(t *testing.T, binary string) {
	s := newSegmentOf(t, binary, true)
	s.serve()
	h := s.host("relay", "10.61.0.3")
	x, err := h.perfdhcp(traffic{server: clientAgent, clients: 50, rate: 100, count: 200}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine perfdhcp sends a few more than it was asked to.
	if x.acks.received < 200 || x.lost() > 0 || x.offers.duplicates+x.acks.duplicates+x.offers.rejected+x.acks.rejected > 0 {
		t.Errorf("of 200 exchanges of 50 clients: %+v", x)
	}
	holder := map[string]string{}
	for _, m := range s.heard.all() {
		if m.MessageType().String() != "ACK" {
			continue
		}
		mac, address := m.ClientHWAddr.String(), m.YourIPAddr.String()
		if other, held := holder[address]; held && other != mac {
			t.Errorf("%s was given to %s and to %s", address, other, mac)
		}
		holder[address] = mac
	}
	if len(holder) == 0 || len(holder) > 50 {
		t.Errorf("%d addresses of 50 were acknowledged", len(holder))
	}
	s.discover.stop()
}
