package rack_test

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// Servers that nobody would tell the port of are named before anything is begun.
func TestUnmarked(t *testing.T) {
	r := &rack.Rack{Devices: []rack.Device{
		{Name: "tor-1", Role: rack.ToRSwitch, Platform: "sonic"},
		{Name: "tor-2", Role: rack.ToRSwitch, Platform: "sonic"},
		{Name: "tor-3", Role: rack.ToRSwitch, Platform: "sim-leaf"},
		{Name: "both", Role: rack.Server, Platform: "esxi", Data: []rack.Port{{Device: "tor-1", Name: "1"}, {Device: "tor-2", Name: "1"}}},
		{Name: "also", Role: rack.Server, Platform: "linux-server", Data: []rack.Port{{Device: "tor-1", Name: "2"}, {Device: "tor-2", Name: "2"}}},
		{Name: "one", Role: rack.Server, Platform: "esxi", Data: []rack.Port{{Device: "tor-1", Name: "3"}, {Device: "tor-3", Name: "3"}}},
		{Name: "simulated", Role: rack.Server, Platform: "sim-server", Data: []rack.Port{{Device: "tor-3", Name: "4"}}},
	}}
	all := platform.All()
	p := all["sonic"]
	p.MarksPorts = false
	all["sonic"] = p
	got := rack.Unmarked(r, all)
	if len(got) != 1 || !strings.HasPrefix(got[0], "both, also: behind tor-1 (platform sonic) and tor-2 (platform sonic), whose platform does not say that it inserts DHCP option 82") {
		t.Errorf("%q", got)
	}
	p.MarksPorts = true
	all["sonic"] = p
	if got := rack.Unmarked(r, all); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
