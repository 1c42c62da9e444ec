package discovery

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/reply"
)

// considerProxy comes to the decision of a server that gives no address. On port 67
// it offers a boot file to firmware that asks for an address: the firmware puts the
// two offers together. On port 4011 it acknowledges the request of firmware that has
// its address and comes for the boot file. It never refuses: the site's own server
// does. own is the server's own address.
func (a *answer) considerProxy(own netip.Addr) {
	want := dhcpv4.MessageTypeDiscover
	if a.mode == BootServer {
		want = dhcpv4.MessageTypeRequest
	}
	switch {
	case a.stranger:
		a.outcome = IgnoredUnknown
	case !a.addressed(own) && a.mode == BootServer:
		a.outcome = IgnoredOtherServer
	case a.request.kind != want, !a.entry.ForProxy(&a.client), a.mode == BootServer && !a.ciaddr.IsValid():
		a.outcome = IgnoredNotBoot
	case a.mode == BootServer:
		a.kind, a.outcome = dhcpv4.MessageTypeAck, Acknowledged
	default:
		a.kind, a.outcome = dhcpv4.MessageTypeOffer, Offered
	}
}

// proxied is a message without address. Firmware looks for its own number, option
// 97, in it (PXE 2.1 section 2.2.2).
func (a *answer) proxied(m reply.Message) reply.Message {
	m.Proxy, m.Echo = true, a.machine
	if a.kind == dhcpv4.MessageTypeAck {
		m.CIAddr = a.ciaddr
	}
	return m
}
