package reply

import (
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

// proxied is what a proxy says: the boot file, and in 60 that it is one. iPXE and
// PXE firmware look for PXEClient there, whatever they said themselves.
func (e *Entry) proxied(c *Client, b boots) boots {
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
