package wire

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestUnfit(t *testing.T) {
	network := netip.MustParsePrefix("192.168.100.0/24")
	good := Link{Name: "eth1", MAC: make(net.HardwareAddr, 6), Up: true, Carrier: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.9.9/8"), netip.MustParsePrefix("192.168.100.254/24")}}
	for _, c := range []struct {
		name   string
		change func(*Link)
		want   string // part of what is said; empty: nothing
		risk   bool
	}{
		{"good", func(*Link) {}, "", false},
		{"off", func(l *Link) { l.Up, l.Carrier = false, false }, "switched off: ip link set eth1 up", false},
		{"no cable", func(l *Link) { l.Carrier = false }, "no link", false},
		{"no address", func(l *Link) { l.Addresses = nil }, "no IPv4 address: ip addr add ADDRESS/24 dev eth1", false},
		{"foreign address", func(l *Link) { l.Addresses = l.Addresses[:1] }, "no address in the management network 192.168.100.0/24, only 10.9.9.9/8", false},
		{"the network's", func(l *Link) { l.Addresses = []netip.Prefix{netip.MustParsePrefix("192.168.100.0/24")} }, "the network's own", false},
		{"leads out", func(l *Link) { l.DefaultRoutes = []string{"the default route by 10.0.0.1 leaves through eth1"} }, "by 10.0.0.1 leaves through eth1: take the interface that is cabled to the rack; or --allow eth1", true},
		{"loopback", func(l *Link) { l.MAC = nil }, "not Ethernet", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := good
			c.change(&l)
			got := l.Unfit(network)
			if c.want == "" {
				if len(got) > 0 {
					t.Error(got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0].String(), c.want) || got[0].Risk != c.risk {
				t.Errorf("%+v, want %q", got, c.want)
			}
		})
	}
	if a, ok := good.In(network); !ok || a != netip.MustParseAddr("192.168.100.254") {
		t.Error(a, ok)
	}
}
