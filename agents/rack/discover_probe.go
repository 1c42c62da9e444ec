package rackagent

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
)

// probed takes in the question of another rackreach, which wants to know who serves
// here. It must hear that we do, whoever the rack file knows; and nothing is learnt from
// it: its PXE DISCOVER would be taken for the management switch, whose slot then is
// another's.
func (d *Discoverer) probed(s discovery.Seen) {
	mac := s.Observation.MAC
	d.tell.once(Notice{Kind: NoticeForeign, MAC: mac}, func() string {
		return fmt.Sprintf("another rackreach asks who serves DHCP here, as %s: it is told that we do", mac)
	})
	if s.Offered != "" || s.Message != "DISCOVER" || d.wire == nil {
		return
	}
	hardware, err := net.ParseMAC(mac)
	if err != nil {
		return
	}
	payload, err := foreign.Answer(hardware, d.own)
	if err != nil {
		return
	}
	everybody := netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), wire.ClientPort)
	d.wire.Write([]wire.Datagram{{Payload: payload, Peer: everybody, Local: netip.AddrPortFrom(d.own, 0)}}, func(_ int, err error) {
		d.tell.say(Notice{Kind: NoticeTrouble, Text: fmt.Sprintf("another rackreach cannot be told that we serve here: %s", err)})
	})
}
