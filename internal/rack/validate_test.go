package rack_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/rack"
)

// validTable is a small table of platforms, one for each role.
func validTable() map[string]rack.Platform {
	out := map[string]rack.Platform{}
	for _, role := range rack.Roles() {
		name := "for-" + string(role)
		out[name] = rack.Platform{Name: name, Roles: []rack.Role{role}}
	}
	return out
}

func validPort(s string) rack.Port {
	p, err := rack.ParsePort(s)
	if err != nil {
		panic(err)
	}
	return p
}

// validRack is rack 2 with one of everything, two servers, without a problem.
// Indices: 0 mgmt-1, 1 tor-1, 2 tor-2, 3 inter-rack-1, 4 server-1, 5 server-2.
func validRack() *rack.Rack {
	bmc := func(a string) *rack.BMC {
		return &rack.BMC{Protocol: "ipmi", Address: netip.MustParseAddr(a), Credentials: "env:RACK_BMC"}
	}
	ip := netip.MustParseAddr
	return &rack.Rack{
		Name: "r2", Number: 2, Agent: rack.Agent{Cable: validPort("mgmt-1:48")},
		Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.2.0/24"),
		Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "for-management-switch", Address: ip("192.168.100.1"), BMC: bmc("192.168.100.100")},
			{Name: "tor-1", Role: rack.ToRSwitch, Platform: "for-tor-switch", Address: ip("192.168.100.2"), Management: validPort("mgmt-1:45"), Data: []rack.Port{validPort("mgmt-1:43")}},
			{Name: "tor-2", Role: rack.ToRSwitch, Platform: "for-tor-switch", Address: ip("192.168.100.3"), Management: validPort("mgmt-1:46"), Data: []rack.Port{validPort("mgmt-1:44")}},
			{Name: "inter-rack-1", Role: rack.InterRackSwitch, Platform: "for-inter-rack-switch", Address: ip("192.168.100.4"), Management: validPort("mgmt-1:47")},
			{Name: "server-1", Role: rack.Server, Platform: "for-server", Address: ip("10.0.2.11"), BMC: bmc("192.168.100.101"), Management: validPort("mgmt-1:1"), Data: []rack.Port{validPort("tor-1:1"), validPort("tor-2:1")}},
			{Name: "server-2", Role: rack.Server, Platform: "for-server", Address: ip("10.0.2.12"), BMC: bmc("192.168.100.102"), Management: validPort("mgmt-1:2"), Data: []rack.Port{validPort("tor-1:2"), validPort("tor-2:2")}},
		},
		Links: []rack.Link{
			{A: validPort("tor-1:49"), B: validPort("inter-rack-1:1"), Kind: rack.Trunk},
			{A: validPort("tor-1:53"), B: validPort("tor-2:53"), Kind: rack.PeerLink},
			{A: validPort("tor-1:54"), B: rack.Port{Device: "external", Name: "datacenter"}, Kind: rack.Trunk},
			{A: validPort("inter-rack-1:7"), B: rack.Port{Device: "rack:r1/tor-1", Name: "49"}, Kind: rack.Trunk},
		},
	}
}

func written(p rack.Problem) string {
	at := p.Where.Field
	if p.Where.List != "" {
		at = strings.TrimSuffix(fmt.Sprintf("%s[%d].%s", p.Where.List, p.Where.Index, p.Where.Field), ".")
	}
	return at + ": " + p.What + "; write: " + p.Fix
}

// TestValidate breaks the valid rack in one way each and holds every message,
// word by word.
func TestValidate(t *testing.T) {
	const bmcShape = `bmc: {protocol: ipmi, address: …, credentials: "env:NAME"}`
	const noName = "1 to 63 lower-case letters, digits and hyphens, no hyphen first or last"
	const aSwitch = "SWITCH:PORT with a switch of this rack, such as mgmt-1:48"
	const free = "a port that nothing else is cabled to"
	for _, tt := range []struct {
		name   string
		damage func(*rack.Rack)
		want   []string
	}{
		{"nothing", func(*rack.Rack) {}, nil},
		{"a proxy", func(r *rack.Rack) { r.DHCP.Mode = rack.DHCPProxy }, nil},
		{"a proxy with addresses of its own", func(r *rack.Rack) {
			r.DHCP = rack.DHCP{Mode: rack.DHCPProxy, Authoritative: true}
			r.DataPool = rack.Pool{First: netip.MustParseAddr("10.0.2.200"), Last: netip.MustParseAddr("10.0.2.210")}
		}, []string{
			"dhcp.authoritative: a proxy refuses nobody: addresses are the other server's; write: leave it out",
			"networks.data.pool: a proxy gives no addresses of a pool; write: leave it out, and let the site's DHCP server have the pool"}},
		{"a mode of DHCP", func(r *rack.Rack) { r.DHCP.Mode = "relay" }, []string{
			"dhcp.mode: relay is not a mode of DHCP; write: proxy, where the site's own DHCP server gives the addresses, or addresses, where ours does"}},
		{"two cables: agent and device", func(r *rack.Rack) { r.Devices[4].Management = validPort("mgmt-1:48") }, []string{
			"devices[4].management: two cables on port mgmt-1:48: the agent's cable and the management end of server-1; write: " + free}},
		{"two cables: data ends", func(r *rack.Rack) { r.Devices[5].Data[1] = validPort("tor-2:1") }, []string{
			"devices[5].data[1]: two cables on port tor-2:1: data end 2 of server-1 and data end 2 of server-2; write: " + free}},
		{"two cables: uplink and management", func(r *rack.Rack) { r.Devices[1].Data[0] = validPort("mgmt-1:45") }, []string{
			"devices[1].data[0]: two cables on port mgmt-1:45: the management end of tor-1 and data end 1 of tor-1; write: " + free}},
		{"two cables: link and device", func(r *rack.Rack) { r.Links[1].B = validPort("tor-2:1") }, []string{
			"links[1].b: two cables on port tor-2:1: data end 2 of server-1 and the link from tor-1:53 to tor-2:1; write: " + free}},
		{"two cables: at another rack", func(r *rack.Rack) {
			r.Links = append(r.Links, rack.Link{A: validPort("inter-rack-1:8"), B: r.Links[3].B, Kind: rack.Trunk})
		}, []string{"links[4].b: two cables on port rack:r1/tor-1:49: the link from inter-rack-1:7 to rack:r1/tor-1:49 and the link from inter-rack-1:8 to rack:r1/tor-1:49; write: " + free}},
		{"port cabled to itself: link", func(r *rack.Rack) { r.Links[1].B = validPort("tor-1:53") }, []string{
			"links[1].b: port tor-1:53 is cabled to itself; write: the port at the other end of the cable"}},
		{"port cabled to itself: device", func(r *rack.Rack) { r.Devices[1].Data[0] = validPort("tor-1:9") }, []string{
			"devices[1].data[0]: port tor-1:9 is cabled to itself: data end 1 of tor-1 leads to the same device; write: a port of another switch"}},
		{"link within one switch", func(r *rack.Rack) { r.Links[1].B = validPort("tor-1:52") }, []string{
			"links[1].b: both ends of the link are on tor-1; write: a port of another switch"}},
		{"switch outside its network", func(r *rack.Rack) { r.Devices[1].Address = netip.MustParseAddr("10.0.2.9") }, []string{
			"devices[1].address: address 10.0.2.9 of tor-1 is outside the management network 192.168.100.0/24; write: an address from 192.168.100.1 to 192.168.100.254"}},
		{"server outside its network", func(r *rack.Rack) { r.Devices[4].Address = netip.MustParseAddr("192.168.100.9") }, []string{
			"devices[4].address: address 192.168.100.9 of server-1 is outside the data network 10.0.2.0/24; write: an address from 10.0.2.1 to 10.0.2.254"}},
		{"BMC outside its network", func(r *rack.Rack) { r.Devices[4].BMC.Address = netip.MustParseAddr("10.0.2.99") }, []string{
			"devices[4].bmc.address: address 10.0.2.99 of the BMC of server-1 is outside the management network 192.168.100.0/24; write: an address from 192.168.100.1 to 192.168.100.254"}},
		{"IPv6 address", func(r *rack.Rack) { r.Devices[4].Address = netip.MustParseAddr("fd00::1") }, []string{
			"devices[4].address: address fd00::1 of server-1 is outside the data network 10.0.2.0/24; write: an address from 10.0.2.1 to 10.0.2.254"}},
		{"network's own address", func(r *rack.Rack) { r.Devices[4].Address = netip.MustParseAddr("10.0.2.0") }, []string{
			"devices[4].address: address 10.0.2.0 of server-1 is the network's own or its broadcast address; write: an address from 10.0.2.1 to 10.0.2.254"}},
		{"broadcast address", func(r *rack.Rack) {
			r.Data = netip.MustParsePrefix("10.0.2.0/28")
			r.Devices[4].Address = netip.MustParseAddr("10.0.2.15")
		}, []string{
			"devices[4].address: address 10.0.2.15 of server-1 is the network's own or its broadcast address; write: an address from 10.0.2.1 to 10.0.2.14"}},
		{"no address", func(r *rack.Rack) { r.Devices[4].Address = netip.Addr{} }, []string{
			"devices[4].address: server-1 has no address on the data network; write: an address from 10.0.2.1 to 10.0.2.254"}},
		{"address twice", func(r *rack.Rack) { r.Devices[5].BMC.Address = r.Devices[2].Address }, []string{
			"devices[5].bmc.address: address 192.168.100.3 is given twice: to tor-2 and to the BMC of server-2; write: an address that nothing else has"}},
		{"no management switch", func(r *rack.Rack) { r.Devices = slices.Delete(r.Devices, 0, 1); cableTo(r, "tor-1") }, []string{
			"devices: the rack has no management switch; write: one device with role: management-switch"}},
		{"two management switches", func(r *rack.Rack) {
			r.Devices[3] = rack.Device{Name: "mgmt-2", Role: rack.ManagementSwitch, Platform: "for-management-switch", Address: r.Devices[3].Address, BMC: &rack.BMC{Protocol: "ipmi", Address: netip.MustParseAddr("192.168.100.99"), Credentials: "env:X"}}
			r.Links = nil
		}, []string{"devices[3].role: two management switches: mgmt-1 and mgmt-2; a rack has one; write: another role, or leave this device out"}},
		{"management switch with cables of its own", func(r *rack.Rack) {
			r.Devices[0].Management, r.Devices[0].Data = validPort("tor-1:9"), []rack.Port{validPort("tor-1:10")}
		}, []string{
			"devices[0].data: a management switch has no data cables of its own; write: no data here; name its port at the device that the cable leads to",
			"devices[0].management: a management switch hangs on the agent's own cable; write: no management here"}},
		{"agent elsewhere", func(r *rack.Rack) { r.Agent.Cable = validPort("tor-1:48") }, []string{
			"agent.cable: the agent's cable is on tor-1:48, not on the management switch mgmt-1; write: mgmt-1:PORT"}},
		{"agent nowhere", func(r *rack.Rack) { r.Agent.Cable = rack.Port{} }, []string{
			"agent.cable: no port for the agent's cable; write: " + aSwitch}},
		{"management end not on the management switch", func(r *rack.Rack) { r.Devices[2].Management = validPort("tor-1:9") }, []string{
			"devices[2].management: no route can ever reach the management end of tor-2: tor-1 is not the management switch; write: a port of mgmt-1"}},
		{"no route to a ToR", func(r *rack.Rack) { r.Devices[2].Data = nil; r.Links = nil }, []string{
			"devices[4].data[1]: no route can ever reach data end 2 of server-1: tor-2 has no way to mgmt-1; write: data: mgmt-1:PORT at tor-2, or a link from it to a switch that has one",
			"devices[5].data[1]: no route can ever reach data end 2 of server-2: tor-2 has no way to mgmt-1; write: data: mgmt-1:PORT at tor-2, or a link from it to a switch that has one"}},
		{"a route over a link is one", func(r *rack.Rack) { r.Devices[2].Data = nil }, nil},
		{"cable to nobody", func(r *rack.Rack) { r.Devices[4].Data[0] = validPort("tor-9:1") }, []string{
			"devices[4].data[0]: data end 1 of server-1 leads to tor-9:1, but no device is named tor-9; write: " + aSwitch}},
		{"cable to a server", func(r *rack.Rack) { r.Devices[4].Data[0] = validPort("server-2:1") }, []string{
			"devices[4].data[0]: data end 1 of server-1 leads to server-2:1, but server-2 is a server, not a switch; write: " + aSwitch}},
		{"link to a server", func(r *rack.Rack) { r.Links[1].B = validPort("server-2:1") }, []string{
			"links[1].b: the link from tor-1:53 to server-2:1 leads to server-2:1, but server-2 is a server, not a switch; write: " + aSwitch}},
		{"device outside", func(r *rack.Rack) { r.Devices[4].Data[0] = r.Links[3].B }, []string{
			"devices[4].data[0]: data end 1 of server-1 cannot end outside this rack, at rack:r1/tor-1:49; write: " + aSwitch}},
		{"no inter-rack switches but in rack 2", func(r *rack.Rack) { r.Number = 3 }, []string{
			"devices[3].role: inter-rack switches stand in rack 2 only, this is rack 3; write: number: 2 at the top, or leave the inter-rack switches out"}},
		{"unknown platform", func(r *rack.Rack) { r.Devices[1].Platform = "best-tor" }, []string{
			"devices[1].platform: unknown platform best-tor; write: one of for-tor-switch"}},
		{"no platform", func(r *rack.Rack) { r.Devices[1].Platform = "" }, []string{
			"devices[1].platform: no platform; write: one of for-tor-switch"}},
		{"platform of another role", func(r *rack.Rack) { r.Devices[1].Platform = "for-server" }, []string{
			"devices[1].platform: platform for-server is not for a tor-switch; write: one of for-tor-switch"}},
		{"unknown role", func(r *rack.Rack) { r.Devices[3].Role = "leaf\x1b[2J" }, []string{
			`devices[3].role: unknown role "leaf\x1b[2J"; write: one of management-switch, tor-switch, inter-rack-switch, server`}},
		{"bad names", func(r *rack.Rack) {
			r.Name = "Rack 2"
			r.Devices[4].Name, r.Devices[5].Name = "-server", strings.Repeat("s", 64)
		}, []string{
			`name: "Rack 2" is not a name for a rack; write: ` + noName,
			"devices[4].name: -server is not a name for a device; write: " + noName,
			"devices[5].name: " + strings.Repeat("s", 64) + ` is not a name for a device; write: ` + noName}},
		{"empty name", func(r *rack.Rack) { r.Devices[5].Name = "" }, []string{
			`devices[5].name: "" is not a name for a device; write: ` + noName}},
		{"kept name", func(r *rack.Rack) { r.Devices[5].Name = "external" }, []string{
			"devices[5].name: the name external is kept for cables that lead out of the rack; write: another name"}},
		{"name twice", func(r *rack.Rack) { r.Devices[5].Name = "server-1" }, []string{
			"devices[5].name: the name server-1 is given twice; write: a name that no other device has"}},
		{"overlapping networks", func(r *rack.Rack) { r.Data = netip.MustParsePrefix("192.168.0.0/16"); noServers(r) }, []string{
			"networks.data.cidr: data network 192.168.0.0/16 overlaps management network 192.168.100.0/24; write: a network that shares no address with 192.168.100.0/24"}},
		{"network with host bits", func(r *rack.Rack) { r.Data = netip.MustParsePrefix("10.0.2.1/24") }, []string{
			"networks.data.cidr: 10.0.2.1/24 is an address in a network, not a network; write: 10.0.2.0/24"}},
		{"IPv6 and missing networks", func(r *rack.Rack) { r.Data, r.Management = netip.MustParsePrefix("fd00::/64"), netip.Prefix{} }, []string{
			"networks.data.cidr: fd00::/64 cannot be the data network; write: an IPv4 network such as 192.168.100.0/24, of /8 to /30",
			"networks.management.cidr: the management network has no address range; write: an IPv4 network such as 192.168.100.0/24, of /8 to /30"}},
		{"MAC and serial twice", func(r *rack.Rack) {
			r.Devices[1].MACs, r.Devices[4].MACs = []string{"02:00:00:00:00:01"}, []string{"02:00:00:00:00:02", "02:00:00:00:00:01"}
			r.Devices[1].Serial, r.Devices[4].Serial = "SN 1", "SN 1"
		}, []string{
			"devices[4].macs[1]: MAC 02:00:00:00:00:01 is given twice: to tor-1 and to server-1; write: the MAC that stands on the device",
			`devices[4].serial: serial number "SN 1" is given twice: to tor-1 and to server-1; write: the serial number that stands on the device`}},
		{"server without anything", func(r *rack.Rack) { d := &r.Devices[4]; d.BMC, d.Data, d.Management = nil, nil, rack.Port{} }, []string{
			"devices[4].bmc: no bmc: a server is booted from the network by its BMC; write: " + bmcShape,
			`devices[4].data: no data cable: no image can ever reach server-1; write: data: with one ToR port for each NIC, such as ["tor-1:1", "tor-2:1"]`,
			"devices[4].management: no management cable: no route can ever reach server-1; write: management: and a port of the management switch, such as mgmt-1:1"}},
		{"management switch without bmc", func(r *rack.Rack) { r.Devices[0].BMC = nil }, []string{
			"devices[0].bmc: no bmc: a management-switch is booted from the network by its BMC; write: " + bmcShape}},
		{"ToR with bmc", func(r *rack.Rack) {
			r.Devices[1].BMC = &rack.BMC{Protocol: "ipmi", Address: netip.MustParseAddr("192.168.100.200"), Credentials: "env:X"}
		}, []string{
			"devices[1].bmc: a tor-switch is not driven by a BMC; write: no bmc here"}},
		{"BMC protocol and secret", func(r *rack.Rack) { r.Devices[4].BMC.Protocol, r.Devices[4].BMC.Credentials = "redfish", "root:calvin" }, []string{
			`devices[4].bmc.credentials: bmc.credentials is not a reference: secrets do not stand in a rack file; write: "env:NAME", "file:/PATH", or "age:/PATH" of a file that is encrypted with age, which holds user:password`,
			"devices[4].bmc.protocol: unknown BMC protocol redfish; write: ipmi"}},
		{"secret behind env:", func(r *rack.Rack) { r.Devices[4].BMC.Credentials = "env:root:calvin" }, []string{
			`devices[4].bmc.credentials: bmc.credentials is not a reference: secrets do not stand in a rack file; write: "env:NAME", "file:/PATH", or "age:/PATH" of a file that is encrypted with age, which holds user:password`}},
		{"kind and outside of links", func(r *rack.Rack) {
			r.Links[1].Kind = "lag"
			r.Links[2].B.Name = "data centre"
			r.Links[3].B.Device = "rack:r1"
		}, []string{
			"links[1].kind: unknown kind of link lag; write: trunk or peer, or leave kind out",
			`links[2].b: "data centre" is not the name of what a cable leads to; write: external:NAME, such as external:datacenter`,
			"links[3].b: rack:r1:49 is not a port of another rack; write: rack:RACK/DEVICE:PORT, such as rack:r1/tor-1:49"}},
		{"link to its own rack", func(r *rack.Rack) { r.Links[3].B.Device = "rack:r2/tor-1" }, []string{
			"links[3].b: rack:r2/tor-1:49 is a port of this rack; write: tor-1:49"}},
		{"rack number, interface, image, port", func(r *rack.Rack) {
			r.Number, r.Agent.Interface, r.Devices[4].Image = -1, "eth 0", "a b"
			r.Devices[4].Data[0].Name = "1 2"
			r.Devices = slices.Delete(r.Devices, 3, 4)
			r.Links = nil
		}, []string{
			`agent.interface: "eth 0" is not the name of an interface; write: the name of an interface of the agent's machine, such as eth1`,
			"number: -1 is not the number of a rack; write: a number from 1 to 65535",
			`devices[3].data[0]: "1 2" is not the name of a port; write: ` + aSwitch,
			`devices[3].image: "a b" is not the name of an image; write: the name of an image: letters, digits and -_./:@ only, or leave image out`}},
		{"nothing at all", func(r *rack.Rack) { *r = rack.Rack{} }, []string{
			"agent.cable: no port for the agent's cable; write: " + aSwitch,
			"devices: the rack has no devices; write: a list with one management switch, its ToR switches and servers",
			`name: "" is not a name for a rack; write: ` + noName,
			"networks.data.cidr: the data network has no address range; write: an IPv4 network such as 192.168.100.0/24, of /8 to /30",
			"networks.management.cidr: the management network has no address range; write: an IPv4 network such as 192.168.100.0/24, of /8 to /30",
			"number: 0 is not the number of a rack; write: a number from 1 to 65535"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := validRack()
			tt.damage(r)
			var got []string
			for _, p := range rack.Validate(r, validTable()) {
				got = append(got, written(p))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if strings.Contains(strings.Join(got, ""), "calvin") {
				t.Error("a message repeats a secret")
			}
		})
	}
}

// cableTo moves every cable of the management switch to distinct ports of
// another one.
func cableTo(r *rack.Rack, device string) {
	r.Agent.Cable.Device = device
	for i := range r.Devices {
		d := &r.Devices[i]
		d.Management.Device = device
		d.Management.Name = "m" + d.Management.Name
		if d.Name == device {
			d.Management = validPort("tor-2:m1")
		}
		if d.Role.IsSwitch() {
			d.Data = nil
		}
	}
}

func noServers(r *rack.Rack) { r.Devices = r.Devices[:4] }

// TestValidateHasNoHoles holds, for random damage of several places at once,
// that a rack without problems has a route to every end, and that every problem
// says what and what to write, and points at something that is there.
func TestValidateHasNoHoles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := validRack()
		ports := []rack.Port{{}, validPort("mgmt-1:48"), validPort("mgmt-1:99"), validPort("tor-1:1"), validPort("tor-2:99"), validPort("server-1:1"), validPort("tor-9:1"), {Device: "external", Name: "x"}, {Device: "rack:r1/tor-1", Name: "1"}}
		for range rapid.IntRange(0, 4).Draw(t, "damages") {
			d := &r.Devices[rapid.IntRange(0, len(r.Devices)-1).Draw(t, "device")]
			p := rapid.SampledFrom(ports).Draw(t, "port")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				d.Management = p
			case 1:
				d.Data = append(slices.Clone(d.Data), p)
			case 2:
				d.Data = nil
			case 3:
				d.Role = rapid.SampledFrom(append(rack.Roles(), "x", "")).Draw(t, "role")
			case 4:
				r.Links[rapid.IntRange(0, len(r.Links)-1).Draw(t, "link")].A = p
			case 5:
				d.Name = rapid.SampledFrom([]string{"", "tor-1", "external", "x"}).Draw(t, "name")
			case 6:
				r.Links = r.Links[:1]
			}
		}
		problems := rack.Validate(r, validTable())
		for _, p := range problems {
			if p.What == "" || p.Fix == "" || (p.Where.List == "devices" && p.Where.Index >= len(r.Devices)) || (p.Where.List == "links" && p.Where.Index >= len(r.Links)) {
				t.Fatalf("not a problem that helps: %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		cabling := rack.NewCabling(r)
		for i := range r.Devices {
			for _, c := range cabling.Ends(r.Devices[i].Name) {
				if _, ok := cabling.Route(c); !ok {
					t.Fatalf("accepted, but no route leads to %+v", c)
				}
			}
		}
	})
}

// TestValidateProxy: only firmware takes what it boots from a server that gives it no
// address.
func TestValidateProxy(t *testing.T) {
	ticket := []rack.Step{{Action: rack.IssueTicket}}
	for _, tt := range []struct {
		name string
		p    rack.Platform
		want string // of the problem, its begin; empty: none
	}{
		{"PXE", rack.Platform{Match: rack.Match{Stages: []rack.Stage{rack.StageBMC, rack.StagePXE}}, Steps: ticket}, ""},
		{"not installed", rack.Platform{Match: rack.Match{Stages: []rack.Stage{rack.StageNOS}}}, ""},
		{"ONIE", rack.Platform{Match: rack.Match{Stages: []rack.Stage{rack.StageONIE, rack.StageNOS}}, Steps: ticket}, "devices[1].platform: platform for-tor-switch does not boot by PXE"},
		{"ONIE behind PXE", rack.Platform{Match: rack.Match{Stages: []rack.Stage{rack.StagePXE, rack.StageONIE}}, Steps: append([]rack.Step{{Until: rack.DHCPONIE}}, ticket...)}, "devices[1].platform: platform for-tor-switch does not boot by PXE"},
		{"zero-touch provisioning", rack.Platform{Provision: &rack.Provision{}}, "devices[1].platform: platform for-tor-switch is provisioned at its first boot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := validRack()
			r.Devices, r.Links = slices.Delete(r.Devices, 2, 3), nil // one switch of the platform
			r.Devices[3].Data, r.Devices[4].Data = r.Devices[3].Data[:1], r.Devices[4].Data[:1]
			known := validTable()
			tt.p.Name, tt.p.Roles = "for-tor-switch", []rack.Role{rack.ToRSwitch}
			known[tt.p.Name] = tt.p
			if got := rack.Validate(r, known); len(got) != 0 {
				t.Fatalf("without a proxy: %v", got)
			}
			r.DHCP.Mode = rack.DHCPProxy
			got := rack.Validate(r, known)
			if tt.want == "" && len(got) != 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(written(got[0]), tt.want)) {
				t.Errorf("%v", got)
			}
		})
	}
}
