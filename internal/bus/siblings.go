package bus

import (
	"net/netip"
	"slices"

	"github.com/rackreach/rackreach/messages"
)

// Bounds of server ids.
const (
	// MaxServerIDs bounds those of one agent: an interface has an address or two in the
	// networks of its rack.
	MaxServerIDs = 8
	// MaxSiblings bounds those of all the other agents of a fleet.
	MaxSiblings = 8192
)

// ServerIDs reads at most limit server ids (DHCP option 54), each once and in order.
// What no DHCP server on a segment can have is left out, such as the loopback address
// of a simulation.
func ServerIDs(texts []string, limit int) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts[:min(len(texts), 2*limit)] {
		if len(text) > len("255.255.255.255") {
			continue
		}
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() && a.IsGlobalUnicast() && a.As4()[0] < 224 {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	out = slices.Compact(out)
	return out[:min(len(out), limit)]
}

// tellSiblings says who the siblings are, if they are not those that were said last.
func (c *connection) tellSiblings() error {
	if c.d.o.Siblings == nil {
		return nil
	}
	ids, version := c.d.o.Siblings(c.rack, c.siblings)
	if version == c.siblings {
		return nil
	}
	c.siblings = version
	return c.stream.Send(&messages.ConnectResponse{Message: &messages.ConnectResponse_Siblings{Siblings: &messages.Siblings{ServerIds: ids}}})
}
