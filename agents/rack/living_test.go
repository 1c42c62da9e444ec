package rackagent

import (
	"net/netip"
	"testing"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// twoAddresses is an interface in the networks of management and of data.
func twoAddresses() *wire.Link {
	return &wire.Link{Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.1.0.1/24")}}
}

// Where the site's own DHCP server gives the addresses, it is no sign of a living agent;
// one that answers from an address of the lost agent, or of ours, is.
func TestUnwanted(t *testing.T) {
	for _, tt := range []struct {
		name, server string
		proxy, alone bool // in which modes nobody minds it
		allow        []string
	}{
		{"the site's own", "10.0.0.9", true, false, nil},
		{"from an address of the lost agent", "10.0.0.2", false, false, nil},
		{"from an address of ours", "10.1.0.1", false, false, nil},
		{"another rack's agent", "10.0.0.3", true, true, nil},
		{"it may stay", "10.0.0.9", true, true, []string{"10.0.0.9"}},
		{"all may stay", "10.0.0.9", true, true, []string{"eth0"}},
	} {
		for mode, fine := range map[rack.DHCPMode]bool{rack.DHCPProxy: tt.proxy, rack.DHCPAddresses: tt.alone} {
			lost := Lost{
				Rack:     &rack.Rack{Name: "r4", DHCP: rack.DHCP{Mode: mode}},
				Servers:  []netip.Addr{netip.MustParseAddr("10.0.0.2")},
				Siblings: []netip.Addr{netip.MustParseAddr("10.0.0.3")},
			}
			heard := []foreign.Server{{Address: netip.MustParseAddr(tt.server), MAC: "02:00:00:00:00:09", Message: "OFFER"}}
			if got := unwanted(heard, twoAddresses(), lost, tt.allow); (got == "") != fine {
				t.Errorf("%s, mode %q: %q", tt.name, mode, got)
			}
		}
	}
}
