package rackagent

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// recorder is a wire that nobody speaks on.
type recorder struct{ sent []wire.Datagram }

func (r *recorder) Read([]wire.Datagram) (int, error) { return 0, net.ErrClosed }
func (r *recorder) Write(ds []wire.Datagram, _ func(i int, err error)) {
	r.sent = append(r.sent, ds...)
}
func (r *recorder) Close() error { return nil }

// Another rackreach is answered, whoever the rack file knows, and takes no slot.
func TestAnotherRackreachAsks(t *testing.T) {
	d, told := discoverer(t)
	on := &recorder{}
	d.wire = on
	probe := foreign.ProbeMAC(net.HardwareAddr{2, 0, 0, 1, 2, 3})
	bound := discovery.Seen{Message: "DISCOVER", Binding: rack.Binding{Device: "mgmt-1", How: rack.ByClass},
		Observation: rack.Observation{Device: "mgmt-1", MAC: probe.String(), Stage: rack.StagePXE}}
	unknown := discovery.Seen{Message: "DISCOVER", Err: fmt.Errorf("%w: because", rack.ErrUnknown), Observation: rack.Observation{MAC: probe.String()}}
	offered := bound
	offered.Offered = "192.168.100.1"
	for _, s := range []discovery.Seen{bound, unknown, offered} {
		d.seen(s)
	}
	if got := texts(*told); len(got) != 1 || !strings.Contains(got[0], "another rackreach asks who serves DHCP here") {
		t.Errorf("%q", got)
	}
	// The real management switch still finds its slot.
	if _, b, err := d.table.Load().Lookup(rack.Keys{MAC: "02:00:00:00:00:07", Stage: rack.StagePXE, Direct: true}); err != nil || b.Device != "mgmt-1" {
		t.Errorf("%+v %v", b, err)
	}
	if len(on.sent) != 2 { // the third was offered an address already
		t.Fatalf("%d answers", len(on.sent))
	}
	for _, x := range on.sent {
		p, err := dhcpv4.FromBytes(x.Payload)
		if err != nil || x.Peer != netip.MustParseAddrPort("255.255.255.255:68") || !p.YourIPAddr.IsUnspecified() {
			t.Fatalf("%+v %v %v", x, p, err)
		}
		u := wire.UDP{From: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Source: netip.AddrPortFrom(d.own, 67), Target: x.Peer, Payload: x.Payload}
		if s, ok := foreign.Judge(u, foreign.Own{}); !ok || s.Address != d.own {
			t.Errorf("it is not heard: %+v", s)
		}
	}
}
