package rackagent

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// On one segment, who is heard directly gets the address of its end by its own keys,
// and the server's address on that network.
func TestLinkTable(t *testing.T) {
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Devices {
		if r.Devices[i].Name == "server-01" {
			r.Devices[i].MACs = []string{"02:00:00:00:00:01"}
		}
	}
	own := netip.MustParseAddr("192.168.100.254")
	table := newTable(r, actors.Offer{Binder: rack.NewBinder(r, platform.All())}, own, []netip.Prefix{netip.PrefixFrom(own, 24), netip.MustParsePrefix("10.0.1.254/24")}, nil, nil)
	for _, c := range []struct {
		name         string
		keys         rack.Keys
		device, gets string
		server       string
		err          error
	}{
		{"a server's NIC", rack.Keys{MAC: "02:00:00:00:00:01", Stage: rack.StagePXE, Direct: true}, "server-01", "10.0.1.11", "10.0.1.254", nil},
		{"its BMC", rack.Keys{MAC: "02:00:00:00:00:01", Stage: rack.StageBMC, Direct: true}, "server-01", "192.168.100.101", "192.168.100.254", nil},
		{"the management switch, by its class", rack.Keys{MAC: "02:00:00:00:00:02", Stage: rack.StageNOS, Direct: true}, "mgmt-1", "192.168.100.1", "192.168.100.254", nil},
		{"through a port", rack.Keys{MAC: "02:00:00:00:00:03", Stage: rack.StageONIE, Model: "sim_tor48", Via: rack.Port{Device: "mgmt-1", Name: "45"}}, "tor-1", "192.168.100.2", "192.168.100.254", nil},
		{"a stranger", rack.Keys{MAC: "02:00:00:00:00:04", Stage: rack.StageUnknown, Direct: true}, "", "invalid IP", "", rack.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, b, err := table.Lookup(c.keys)
			if !errors.Is(err, c.err) || b.Device != c.device || e.Address.String() != c.gets || err == nil && (e.ServerID.String() != c.server || e.BootFile != "") {
				t.Errorf("%+v %+v %v", e, b, err)
			}
		})
	}
}
