package relay

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// spellings are circuit-ids as they come, with where each is written down, and the
// port that each is in the words of a rack file: either printed on the switch, or as
// the switch itself says.
var spellings = []struct {
	vendor, source string
	circuit        string
	host           string // the switch's name in it
	labels         []string
	not            []string // ports that it must not be taken for
}{
	{"Juniper QFX", "insomniacslk/dhcp, ztpv4 tests", "et-0/0/0:0.0", "", []string{"0", "et-0/0/0:0", "0/0"}, []string{"1", "et-0/0/0:1", "xe-0/0/0"}},
	{"Juniper QFX", "insomniacslk/dhcp, ztpv4 tests", "xe-0/0/14:2", "", []string{"xe-0/0/14:2"}, []string{"14", "2", "xe-0/0/14", "xe-0/0/14:1"}},
	{"Juniper QFX", "insomniacslk/dhcp, ztpv4 tests", "et-1/0/61", "", []string{"61", "et-1/0/61", "1/0/61"}, []string{"1", "et-0/0/61", "0/0/61"}},
	{"Juniper PTX", "insomniacslk/dhcp, ztpv4 tests", "et-0/0/7.0", "", []string{"7", "et-0/0/7"}, []string{"0"}},
	{"Juniper EX", "insomniacslk/dhcp, ztpv4 tests", "ge-0/0/3.0:RANDOMCHAR", "", []string{"3", "ge-0/0/3"}, []string{"xe-0/0/3", "0"}},
	{"Juniper", "circuit-id (DHCP Relay Agent): fpc/pic/port:vlan", "ge-0/0/1:500", "", []string{"1", "ge-0/0/1"}, []string{"500"}},
	{"Juniper", "circuit-id: fpc/pic/port:svlan-vlan", "ge-4/1/1:122-500", "", []string{"ge-4/1/1", "4/1/1"}, []string{"1", "122"}},
	{"Juniper", "circuit-id, prefix host-name", "tor-1:ge-0/0/9.0", "tor-1", []string{"9"}, []string{"0"}},
	{"Juniper", "insomniacslk/dhcp, ztpv4 tests", "ae52.0", "", []string{"ae52"}, []string{"52"}},
	{"Arista", "insomniacslk/dhcp, ztpv4 tests", "Ethernet3/17/1", "", []string{"3/17/1", "Ethernet3/17/1", "3/17", "Ethernet3/17"}, []string{"17", "3", "1"}},
	{"Arista", "insomniacslk/dhcp, ztpv4 tests", "Ethernet14:Vlan2001", "", []string{"14", "Ethernet14", "Et14"}, []string{"1", "2001"}},
	{"Arista", "insomniacslk/dhcp, ztpv4 tests", "\x00\x0fEthernet14:2001", "", []string{"14", "Ethernet14"}, []string{"1"}},
	{"Arista", "circuit-id-type 1, circuit-id-type-format %h:%p", "\x01\x11tor-1:Ethernet5/1", "tor-1", []string{"5", "5/1"}, []string{"1"}},
	{"Arista", "circuit-id-type-format %h:%p", "tor-1.example.net:Ethernet5/1", "tor-1.example.net", []string{"5", "5/1", "Ethernet5/1"}, []string{"1"}},
	{"Arista", "insomniacslk/dhcp, ztpv4 tests", "Port-Channel10", "", []string{"Port-Channel10", "Po10"}, []string{"10", "Ethernet10"}},
	{"Cisco Catalyst", "insomniacslk/dhcp, ztpv4 tests", "Gi1/10:2020", "", []string{"10", "Gi1/10", "GigabitEthernet1/10"}, []string{"1", "Te1/10", "Fa1/10"}},
	{"Cisco Catalyst", "stack: switch/module/port", "TenGigabitEthernet1/0/48", "", []string{"48", "Te1/0/48"}, []string{"1/48/0", "Gi1/0/48"}},
	{"Cisco Nexus", "insomniacslk/dhcp, ztpv4 tests", "Ethernet1/3", "", []string{"3", "Eth1/3", "1/3"}, []string{"1"}},
	{"Cisco", "IE 2000 configuration guide, figure 25-2", "\x00\x04\x00\x0a\x01\x0c", "", []string{"12", "1/12"}, []string{"1", "10"}},
	{"Cisco", "IE 2000 configuration guide, figure 25-3: a string that was configured", "\x01\x05Gi0/7", "", []string{"7"}, []string{"0"}},
	{"Cisco", "mgmt0 is no front port", "mgmt0", "", []string{"mgmt0"}, []string{"0"}},
	{"SONiC", "sonic-mgmt, dhcp_relay_test.py", "str-s6000-acs-12:fortyGigE0/4", "str-s6000-acs-12", []string{"4", "fortyGigE0/4"}, []string{"0"}},
	{"SONiC", "sonic-mgmt, dhcp_relay_test.py: sonic-relay-agent", "tor-1:etp5:Vlan1000", "tor-1", []string{"5", "etp5"}, []string{"1000"}},
	{"Cumulus", "interface name", "swp45", "", []string{"45", "swp45"}, []string{"4"}},
	{"Cumulus", "interface name, broken out", "swp14s2", "", []string{"swp14s2"}, []string{"14", "swp14s1", "2"}},
	{"simulated", "internal/sim", "45", "", []string{"45"}, []string{"4"}},
}

func TestSpellings(t *testing.T) {
	for _, x := range spellings {
		t.Run(x.vendor+" "+x.circuit, func(t *testing.T) {
			c, ok := Parse([]byte(x.circuit))
			if !ok || c.Switch != x.host {
				t.Fatalf("read %v, switch %q, want %q", ok, c.Switch, x.host)
			}
			for _, label := range x.labels {
				if got := only(label).match("tor-1", c); got != label {
					t.Errorf("it is not %s", label)
				}
			}
			for _, label := range x.not {
				if got := only(label).match("tor-1", c); got != "" {
					t.Errorf("it is taken for %s", label)
				}
			}
		})
	}
}

// only is a switch tor-1 with cables on the ports of those names.
func only(labels ...string) *Ports {
	r := &rack.Rack{Devices: []rack.Device{{Name: "tor-1", Role: rack.ToRSwitch, Address: netip.MustParseAddr("192.168.100.2"), MACs: []string{"ec:f4:bb:fe:88:0a"}},
		{Name: "tor-2", Role: rack.ToRSwitch, Address: netip.MustParseAddr("192.168.100.3")}}}
	for i, l := range labels {
		r.Devices = append(r.Devices, rack.Device{Name: fmt.Sprintf("server-%d", i), Role: rack.Server, Data: []rack.Port{{Device: "tor-1", Name: l}}})
	}
	return NewPorts(r)
}

// Of several ports that fit, none is a match: a wrong one would image a wrong device.
func TestOnlyOnePortFits(t *testing.T) {
	for _, x := range []struct {
		circuit string
		cabled  []string
		want    string
	}{
		{"Ethernet1/3", []string{"1", "3"}, "3"},
		{"Ethernet1/1", []string{"1", "1/1"}, "1/1"},
		{"Gi0/1", []string{"Fa0/1", "Gi0/1"}, "Gi0/1"},
		{"\x00\x04\x00\x01\x00\x01", []string{"Fa0/1", "Gi0/1"}, ""},
		{"xe-0/0/1", []string{"0/1", "1"}, ""},
		{"Ethernet1/1/1", []string{"1", "1/1"}, ""},
		{"Ethernet9", []string{"1", "2"}, ""},
	} {
		c, _ := Parse([]byte(x.circuit))
		if got := only(x.cabled...).match("tor-1", c); got != x.want {
			t.Errorf("%q with %v cabled: %q, want %q", x.circuit, x.cabled, got, x.want)
		}
	}
}

func TestWhichSwitch(t *testing.T) {
	relayed := netip.MustParseAddr("192.168.100.2")
	for _, x := range []struct {
		name, circuit, remote string
		giaddr                netip.Addr
		want                  string
	}{
		{"its name is the remote-id", "45", "tor-1", netip.Addr{}, "tor-1:45"},
		{"its name, with a domain, in other letters", "Ethernet45", "TOR-1.example.net", netip.Addr{}, "tor-1:45"},
		{"its name behind type and length", "Ethernet45", "\x01\x05tor-1", netip.Addr{}, "tor-1:45"},
		{"its name is in the circuit-id", "tor-1:Ethernet45", "", netip.Addr{}, "tor-1:45"},
		{"its MAC, as text", "tor-9:etp45", "ec:f4:bb:fe:88:0a", netip.Addr{}, "tor-1:45"},
		{"its MAC, Cisco's text", "Gi1/45", "ecf4.bbfe.880a", netip.Addr{}, "tor-1:45"},
		{"its MAC, binary", "Gi1/45", "\x00\x06\xec\xf4\xbb\xfe\x88\x0a", netip.Addr{}, "tor-1:45"},
		{"its address", "Gi1/45", "whatever", relayed, "tor-1:45"},
		{"a port that nothing is cabled to", "Gi1/46", "", relayed, "tor-1:Gi1/46"},
		{"no circuit-id that is known", "port forty-five", "tor-1", netip.Addr{}, "tor-1:port forty-five"},
		{"a contradiction", "tor-2:Ethernet45", "tor-1", netip.Addr{}, "tor-2 or tor-1:tor-2:Ethernet45"},
		{"another contradiction", "Ethernet45", "tor-2", relayed, "tor-2 or tor-1:Ethernet45"},
		{"nobody's", "Ethernet45", "spine-7", netip.Addr{}, "spine-7:Ethernet45"},
		{"a server is no switch", "Ethernet45", "server-0", netip.Addr{}, "server-0:Ethernet45"},
		{"hostile", "4\n5", "\x1b[2J", netip.Addr{}, `\x1b[2J:4\x0a5`},
		{"nothing", "", "", relayed, ":"},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := only("45").Find([]byte(x.circuit), []byte(x.remote), x.giaddr)
			if got.String() != x.want {
				t.Errorf("%s, want %s", got, x.want)
			}
		})
	}
	var none *Ports
	if got := none.Find([]byte("45"), []byte("tor-1"), relayed); got.String() != "tor-1:45" {
		t.Errorf("without cabling: %s", got)
	}
}

// FuzzFind: whatever a relay says, no panic, and what comes of it is either a port of
// the rack file or short printable text.
func FuzzFind(f *testing.F) {
	for _, x := range spellings {
		f.Add([]byte(x.circuit), []byte("tor-1"))
	}
	f.Add([]byte("\x00\x04\x0f\xff\x01\x2d"), []byte("\x00\x06\xec\xf4\xbb\xfe\x88\x0a"))
	f.Add([]byte("Ethernet99999/99999/99999/99999/1"), []byte("ecf4bbfe880a"))
	ports := only("45", "1/3", "et-0/0/0:0", "Port-Channel10", "swp14s2", "4 5")
	f.Fuzz(func(t *testing.T, circuit, remote []byte) {
		got := ports.Find(circuit, remote, netip.Addr{})
		for _, s := range []string{got.Device, got.Name} {
			if len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("%q", s)
			}
		}
		if c, ok := Parse(circuit); ok && (c.port.n < 1 || c.port.n > maxPath) {
			t.Fatalf("%+v", c)
		}
	})
}
