package rackfile

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// TestServices: what devices are told besides their address. It is in the plan's
// hash; a rack that says none of it has the hash that it always had.
func TestServices(t *testing.T) {
	const said = "services: {dns: [192.168.100.10, 10.9.9.9], ntp: 192.168.100.11, syslog: 192.168.100.12}\ndhcp: {authoritative: true}\n"
	with := strings.NewReplacer("192.168.100.0/24}", "192.168.100.0/24, router: 192.168.100.254}", "10.0.1.0/24}", "10.0.1.0/24, router: 10.0.1.254}\n"+strings.TrimSuffix(said, "\n")).Replace(whole)
	r, err := Parse("r", []byte(with), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	if s := r.Services; !slices.Equal(s.DNS, []netip.Addr{ip("192.168.100.10"), ip("10.9.9.9")}) || !slices.Equal(s.NTP, []netip.Addr{ip("192.168.100.11")}) || s.Syslog != ip("192.168.100.12") {
		t.Errorf("%+v", s)
	}
	if r.Router(rack.Management) != ip("192.168.100.254") || r.Router(rack.Data) != ip("10.0.1.254") || !r.DHCP.Authoritative {
		t.Errorf("%+v", r)
	}
	plain, err := Parse("r", []byte(whole), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]bool{}
	for _, x := range []*rack.Rack{plain, r} {
		p, err := rack.NewPlan(x, table(), func(name string) (rack.Image, error) { return rack.Image{Name: name}, nil })
		if err != nil {
			t.Fatal(err)
		}
		hashes[p.Hash] = true
	}
	if len(hashes) != 2 {
		t.Error("services are not in the plan's hash")
	}
	b, err := json.Marshal(plain)
	for _, word := range []string{"Router", "Services", "DHCP"} {
		if err != nil || strings.Contains(string(b), word) {
			t.Errorf("a rack that says nothing of it: %s %v", b, err)
		}
	}
}

func TestServicesThatCannotBe(t *testing.T) {
	const router = "; write: an address from 10.0.1.1 to 10.0.1.254 that no device has, or leave router out"
	const server = "; write: the IPv4 address of a server, such as 192.168.100.10"
	for _, c := range []struct{ name, line, want string }{
		{"router elsewhere", "", "r:8: router 10.0.2.1 is not a machine of the data network 10.0.1.0/24" + router},
		{"router is everybody", "", "r:8: router 10.0.1.255 is not a machine of the data network 10.0.1.0/24" + router},
		{"router is a server", "", "r:8: router 10.0.1.11 has the address of server-09" + router},
		{"router in the pool", "", "r:8: router 10.0.1.60 is in the pool of the data network" + router},
		{"router is a name", "", `r:8: networks.data.router: "gw" is not an address; write: an IPv4 address, such as 192.168.100.10`},
		{"dns is a name", "services: {dns: [a.example]}", `r:9: services.dns: "a.example" is not an address; write: an IPv4 address, such as 192.168.100.10`},
		{"four", "services: {ntp: [10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4]}", "r:9: services.ntp has 4 servers, more than 3; write: the nearest of them"},
		{"twice", "services: {ntp: [10.0.0.1, 10.0.0.1]}", "r:9: 10.0.0.1 is given twice; write: each server once"},
		{"everybody", "services: {syslog: 255.255.255.255}", "r:9: 255.255.255.255 is not the address of a server" + server},
		{"a group", "services: {dns: 224.0.0.1}", "r:9: 224.0.0.1 is not the address of a server" + server},
		{"IPv6", "services: {dns: 'fe80::1'}", "r:9: fe80::1 is not the address of a server" + server},
		{"a map", "services: {dns: {a: b}}", "r:9: services.dns is not text; write: one text, in quotes"},
		{"unknown", "services: {smtp: 10.0.0.1}", `r:9: unknown key "smtp" in services; write: one of dns, ntp, syslog, domain, bandwidth`},
		{"no services", "services: 7", "r:9: services is not a set of keys and values; write: keys and values: dns, ntp, syslog, domain, bandwidth"},
		{"authoritative", "dhcp: {authoritative: 1}", "r:9: dhcp.authoritative is neither true nor false; write: true or false"},
		{"mode", "dhcp: {mode: relay}", "r:9: relay is not a mode of DHCP; write: proxy, where the site's own DHCP server gives the addresses, or addresses, where ours does"},
		{"mode and another key", "dhcp: {modes: proxy}", `r:9: unknown key "modes" in dhcp; write: one of mode, authoritative`},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := strings.Replace(whole, "devices:", c.line+"\ndevices:", 1)
			if c.line == "" {
				given := map[string]string{"router elsewhere": "10.0.2.1", "router is everybody": "10.0.1.255", "router is a server": "10.0.1.11", "router in the pool": "10.0.1.60", "router is a name": "gw"}[c.name]
				file = strings.Replace(whole, "10.0.1.0/24}", "10.0.1.0/24, pool: 10.0.1.50-10.0.1.70, router: "+given+"}", 1)
			}
			_, err := Parse("r", []byte(file), opened(""), table())
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestDHCPMode: a file that says what holds anyhow is no other plan.
func TestDHCPMode(t *testing.T) {
	r, err := Parse("r", []byte(strings.Replace(whole, "devices:", "dhcp: {mode: addresses}\ndevices:", 1)), opened(""), table())
	if err != nil || r.DHCP != (rack.DHCP{}) {
		t.Errorf("%+v, %v", r.DHCP, err)
	}
}
