package fleet

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestValidate(t *testing.T) {
	const cable = "inter-rack-1:7 rack:r1/tor-1:49"
	for _, tt := range []struct {
		name   string
		links  []string // of r2
		change func(f *Spec, r1, r2 *rack.Rack)
		agents []string
		want   []string // "RACK LIST INDEX FIELD: what it says"
	}{
		{name: "good", links: []string{cable}},
		{name: "both files name a cable", links: []string{cable}, change: func(_ *Spec, r1, _ *rack.Rack) {
			r1.Links = []rack.Link{{A: port("tor-1:49"), B: port("rack:r2/inter-rack-1:7")}}
		}},
		{name: "numbers of racks", change: func(f *Spec, _, _ *rack.Rack) { f.AtOnce, f.HaltAfter = -1, -2 },
			want: []string{"-1  0 atOnce: -1 is not a number of racks", "-1  0 haltAfter: -2 is not a number of racks"}},
		{name: "one name twice", change: func(_ *Spec, r1, r2 *rack.Rack) { r2.Name = r1.Name }, want: []string{"1  0 name: two racks are named r1"}},
		{name: "no such rack", links: []string{"inter-rack-1:7 rack:r9/tor-1:49"}, want: []string{"1 links 0 b: the link from inter-rack-1:7 leads to rack r9, which is not in the fleet"}},
		{name: "no such device", links: []string{"inter-rack-1:7 rack:r1/tor-9:49"}, want: []string{"1 links 0 b: the link from inter-rack-1:7 leads to r1/tor-9:49, but rack r1 has no device named tor-9"}},
		{name: "a server", links: []string{"inter-rack-1:7 rack:r1/server-01:1"}, want: []string{"1 links 0 b: the link from r2/inter-rack-1:7 to r1/server-01:1 joins an inter-rack-switch and a server"}},
		{name: "two ToR switches", links: []string{"tor-1:7 rack:r1/tor-1:49"}, want: []string{"1 links 0 b: the link from r2/tor-1:7 to r1/tor-1:49 joins a tor-switch and a tor-switch"}},
		{name: "a port that is taken", links: []string{"inter-rack-1:7 rack:r1/tor-1:1"}, want: []string{"1 links 0 b: two cables on port r1/tor-1:1: a data end of server-01 and the link from r2/inter-rack-1:7 to r1/tor-1:1"}},
		{name: "a port of a peer link", links: []string{"inter-rack-1:7 rack:r1/tor-1:53"}, change: func(_ *Spec, r1, _ *rack.Rack) {
			r1.Links = []rack.Link{{A: port("tor-1:53"), B: port("tor-2:53")}}
		}, want: []string{"1 links 0 b: two cables on port r1/tor-1:53: the link to tor-2:53"}},
		{name: "the files contradict each other", links: []string{cable}, change: func(_ *Spec, r1, _ *rack.Rack) {
			r1.Links = []rack.Link{{A: port("tor-1:50"), B: port("rack:r2/inter-rack-1:7")}}
		}, want: []string{"1 links 0 a: two cables on port r2/inter-rack-1:7: the link from r1/tor-1:50 to r2/inter-rack-1:7 and the link from r2/inter-rack-1:7 to r1/tor-1:49"}},
		{name: "an address twice", links: []string{cable}, change: func(_ *Spec, r1, r2 *rack.Rack) {
			r2.Management, r2.Devices[1].Address = r1.Management, r1.Devices[1].Address
			r2.Devices[0].BMC.Address = r1.Devices[0].BMC.Address
		}, want: []string{"1 devices 0 bmc.address: address 192.168.101.201 is given twice in joined racks: to the BMC of r1/mgmt-1 and to the BMC of r2/mgmt-1",
			"1 devices 1 address: address 192.168.101.2 is given twice in joined racks: to r1/tor-1 and to r2/tor-1"}},
		{name: "the same in racks that nothing joins", change: func(_ *Spec, r1, r2 *rack.Rack) {
			r2.Management, r2.Number, r2.Devices[1].Address = r1.Management, r1.Number, r1.Devices[1].Address
		}},
		{name: "networks that overlap", links: []string{cable}, change: func(_ *Spec, r1, r2 *rack.Rack) {
			r2.Data, r2.Management = netip.MustParsePrefix("192.168.0.0/22"), r1.Data
		}, want: []string{"1  0 networks.data.cidr: data network 192.168.0.0/22 of r2 overlaps data network 192.168.1.0/24 of r1, and the racks are joined",
			"1  0 networks.management.cidr: management network 192.168.1.0/24 of r2 overlaps data network 192.168.1.0/24 of r1, and the racks are joined"}},
		{name: "a number twice", links: []string{cable}, change: func(_ *Spec, r1, _ *rack.Rack) { r1.Number = 2 }, want: []string{"1  0 number: racks r1 and r2 are joined and have the same number 2"}},
		{name: "a MAC and a serial number twice", change: func(_ *Spec, r1, r2 *rack.Rack) {
			r2.Devices[3].MACs, r2.Devices[3].Serial = r1.Devices[3].MACs, r1.Devices[3].Serial
		}, want: []string{"1 devices 3 macs[0]: MAC 02:00:00:00:00:01 is given twice: to r1/server-01 and to r2/server-01", `1 devices 3 serial: serial number "S1" is given twice: to r1/server-01 and to r2/server-01`}},
		{name: "two agents of one address", links: []string{cable}, agents: []string{"192.168.101.250", "192.168.101.250"}, want: []string{"1  0 agent: the agents of r1 and r2 both answer as 192.168.101.250"}},
		{name: "an agent that answers as a device", links: []string{cable}, agents: []string{"192.168.102.2", "192.168.102.250"}, want: []string{"0  0 agent: the agent of r1 answers as 192.168.102.2, which is the address of r2/tor-1"}},
		{name: "agents of simulated racks", links: []string{cable}, agents: []string{"127.0.0.1", "127.0.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, r1, r2 := Spec{Name: "f"}, numbered(1), numbered(2, tt.links...)
			if tt.change != nil {
				tt.change(&f, r1, r2)
			}
			members := []Member{{Rack: r1}, {Rack: r2}}
			for i, a := range tt.agents {
				members[i].ServerID = netip.MustParseAddr(a)
			}
			got := Validate(f, members)
			if len(got) != len(tt.want) {
				t.Errorf("%d problems, want %d: %+v", len(got), len(tt.want), got)
			}
			for i, p := range got {
				text := fmt.Sprintf("%d %s %d %s: %s", p.Rack, p.Where.List, p.Where.Index, p.Where.Field, p.What)
				if p.Fix == "" || i < len(tt.want) && !strings.HasPrefix(text, tt.want[i]) {
					t.Errorf("got  %s\nwant %s", text, tt.want[i])
				}
			}
		})
	}
}

func TestValidateBounds(t *testing.T) {
	if p := Validate(Spec{}, nil); len(p) != 1 || p[0].What != "the fleet has no racks" {
		t.Errorf("%+v", p)
	}
	many := make([]Member, MaxRacks+1)
	for i := range many {
		r := numbered(3)
		r.Name, r.Devices = fmt.Sprint("r", i), r.Devices[:3]
		many[i].Rack = r
	}
	if p := Validate(Spec{}, many); len(p) != 1 || !strings.Contains(p[0].What, "4097 racks") {
		t.Errorf("%+v", p)
	}
}

// Racks are joined through others, too: what is joined to nothing is left alone.
func TestJoinedThroughOthers(t *testing.T) {
	r1, r2, r3, r4 := numbered(1), numbered(2, "inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:8 rack:r3/tor-1:49"), numbered(3), numbered(4)
	r3.Devices[2].Address, r3.Management = r1.Devices[2].Address, r1.Management
	r4.Devices[2].Address, r4.Management = r1.Devices[2].Address, r1.Management
	p := Validate(Spec{}, []Member{{Rack: r4}, {Rack: r3}, {Rack: r2}, {Rack: r1}})
	if len(p) != 1 || p[0].Rack != 3 || p[0].What != "address 192.168.101.3 is given twice in joined racks: to r3/tor-2 and to r1/tor-2" {
		t.Errorf("%+v", p)
	}
}
