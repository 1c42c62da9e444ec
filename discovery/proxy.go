package discovery

import (
	"fmt"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/internal/rack"
)

// considerProxy comes to the decision of a server that gives no address. On port 67
// it offers a boot file to firmware that asks for an address: the firmware puts the
// two offers together. On port 4011 it acknowledges the request of firmware that has
// its address and comes for the boot file. It never refuses: the site's own server
// does. own is the server's own address.
//
// What a device asks of the site's server tells where it stands: a DISCOVER of its
// firmware that it is there, a REQUEST for the address of its slot that it was offered
// that one. A REQUEST for another address means that rack file and site disagree.
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
	case a.request.kind != want, !a.entry.ForProxy(&a.client) && !a.entry.ProxyPending(&a.client), a.mode == BootServer && !a.ciaddr.IsValid():
		a.outcome = IgnoredNotBoot
	case a.mode == BootServer && a.entry.ProxyPending(&a.client):
		a.outcome = IgnoredPending
	case a.mode == BootServer:
		a.kind, a.outcome = dhcpv4.MessageTypeAck, Acknowledged
	default:
		a.kind, a.outcome = dhcpv4.MessageTypeOffer, Offered
	}
}

// overheard says what a message to the site's server proves, on port 67.
func (a *answer) overheard(o *rack.Observation) (alarm string) {
	asked := a.requested
	if !asked.IsValid() {
		asked = a.ciaddr // RENEWING, REBINDING
	}
	switch {
	case a.stranger || a.mode != Proxy:
	case a.request.kind == dhcpv4.MessageTypeDiscover:
		o.Proves = question(a.class.Stage)
	case a.request.kind != dhcpv4.MessageTypeRequest || !a.entry.Address.Is4() || !asked.IsValid():
	case asked == a.entry.Address:
		o.Address, o.Proves = asked.String(), proof(a.class.Stage)
		if a.unnamed() {
			o.Proves = rack.DHCPUnnamed
		}
	case a.server.IsValid() && a.entry.Prefix.Contains(asked):
		// SELECTING: option 54 names the server that offers it. In INIT-REBOOT and RENEWING
		// it asks for what it had before, and the server may refuse it (RFC 2131 section 4.3.2).
		return fmt.Sprintf("the DHCP server of the site gives %s the address %s, and the rack file says %s: reserve %s for MAC %s there, or write %s into the rack file",
			a.name(), asked, a.entry.Address, a.entry.Address, a.ClientHWAddr, asked)
	}
	return ""
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
