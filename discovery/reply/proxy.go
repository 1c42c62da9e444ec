package reply

import (
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// ForProxy reports whether a client takes its boot file from a server that gives it
// no address (PXE 2.1 section 2.2.3), and the entry has one for it.
func (e *Entry) ForProxy(c *Client) bool {
	switch c.Stage {
	case rack.StagePXE, rack.StageHTTPBoot, rack.StageIPXE:
		return e.boots(c, e.ServerID).file != ""
	}
	return false
}

// ProxyPending reports whether a client of ForProxy is to be told of nothing but the boot
// server on port 4011, which is silent until it is decided what the client boots: PXE
// firmware and iPXE ask there again and again (PXE 2.1 section 2.2.3; iPXE dhcp.c; EDK2
// PxeBcDhcp4.c), and without any offer would go on to their disk. UEFI HTTP boot knows no
// such server.
func (e *Entry) ProxyPending(c *Client) bool {
	return e.BootPending && !e.ForProxy(c) && (c.Stage == rack.StagePXE || c.Stage == rack.StageIPXE)
}

// proxied is what a proxy says: the boot file, and in 60 that it is one. iPXE and
// PXE firmware look for PXEClient there, whatever they said themselves.
func (e *Entry) proxied(c *Client, b boots, serverID netip.Addr) boots {
	if b.file == "" {
		b.server = e.nextServer(serverID) // of port 4011
	}
	for _, o := range b.options {
		if o.Code.Code() == optionClass {
			return b
		}
	}
	name := "PXEClient"
	if c.Stage == rack.StageHTTPBoot {
		name = "HTTPClient"
	}
	b.options = append(b.options, dhcpv4.OptClassIdentifier(name))
	return b
}
