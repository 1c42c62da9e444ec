package rackagent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// TestFitBMC: an interface that the BMC of the management switch cannot be spoken to from
// is told before anything is begun.
func TestFitBMC(t *testing.T) {
	r := &rack.Rack{Name: "r1", Management: netip.MustParsePrefix("192.168.100.0/24"), Agent: rack.Agent{Interface: "lo"},
		Devices: []rack.Device{{Name: "mgmt-1", Role: rack.ManagementSwitch, BMC: &rack.BMC{Address: netip.MustParseAddr("192.168.100.100")}}}}
	for _, tt := range []struct{ name, says string }{
		{"", ""},
		{"rr-none", "there is no interface rr-none"},
		{"lo", "is agent.interface itself"},
	} {
		r.Agent.BMCCable = tt.name
		if err := fitBMC(r); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v", tt.name, err)
		}
	}
	r.Agent.Interface, r.Agent.BMCCable = "eth1", "lo"
	if err := fitBMC(r); err == nil || !strings.Contains(err.Error(), "ip route add 192.168.100.100 dev lo") {
		t.Errorf("an interface without an address there: %v", err)
	}
}
