package rackagent

import (
	"net/netip"
	"testing"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/internal/rack"
)

// Preflight refuses the DHCP servers that the agent would refuse, and no others.
func TestPreflightJudgesAsTheAgentDoes(t *testing.T) {
	const mac = "02:00:00:00:00:09"
	for _, tt := range []struct {
		name, server, mac string
		allow             []string
		proxy, alone      bool // in which modes it is refused
	}{
		{"the site's own", "10.0.0.9", mac, nil, false, true},
		{"it may stay", "10.0.0.9", mac, []string{"10.0.0.9"}, false, false},
		{"a client names it", "10.0.0.9", "", nil, false, true},
		{"it has our address of management", "10.0.0.1", mac, nil, true, true},
		{"it has another address of ours", "10.1.0.1", mac, nil, true, true},
		{"it has our address, and may stay", "10.1.0.1", mac, []string{"eth0"}, true, true},
		{"a client names us", "10.0.0.1", "", nil, false, false},
		{"a client names another address of ours", "10.1.0.1", "", nil, false, false},
	} {
		for mode, refused := range map[rack.DHCPMode]bool{rack.DHCPProxy: tt.proxy, rack.DHCPAddresses: tt.alone} {
			r := &rack.Rack{Name: "r4", Management: netip.MustParsePrefix("10.0.0.0/24"), DHCP: rack.DHCP{Mode: mode}}
			link := twoAddresses()
			found := []foreign.Server{{Address: netip.MustParseAddr(tt.server), MAC: tt.mac, Message: "OFFER"}}

			line := &Line{rack: r, link: link, allow: tt.allow, tell: newTeller(r.Name, func(Notice) {})}
			if err := line.judge(found); (err != nil) != refused {
				t.Errorf("%s, mode %q: the agent: %v", tt.name, mode, err)
			}
			var problems []Check
			p := &preflight{o: PreflightOptions{Rack: r, Allow: tt.allow}, tell: func(c Check) {
				if c.Result == CheckProblem {
					problems = append(problems, c)
				}
			}}
			p.heard(link, found)
			if (len(problems) > 0) != refused {
				t.Errorf("%s, mode %q: preflight: %v", tt.name, mode, problems)
			}
		}
	}
}
