package rackagent

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
)

// A rackreach that asks who serves is no component: it would be drafted as a server.
func TestListenerDraftsNoProbe(t *testing.T) {
	l := NewListener(&wire.Link{Name: "rr9"}, nil, func(Notice) {})
	own := net.HardwareAddr{2, 0, 0, 1, 2, 3}
	for _, mac := range []net.HardwareAddr{foreign.ProbeMAC(own), {2, 0, 0, 0, 0, 7}} {
		p, err := dhcpv4.NewDiscovery(mac, dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003000")))
		if err != nil {
			t.Fatal(err)
		}
		frame, err := wire.UDP{From: own, To: net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Payload: p.ToBytes(),
			Source: netip.MustParseAddrPort("0.0.0.0:68"), Target: netip.MustParseAddrPort("255.255.255.255:67")}.AppendFrame(nil)
		if err != nil {
			t.Fatal(err)
		}
		l.dhcp(frame)
	}
	if d := l.Draft(); len(d.Seen) != 1 || d.Seen[0].MAC != "02:00:00:00:00:07" {
		t.Errorf("%+v", d.Seen)
	}
}
