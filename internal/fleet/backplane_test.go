package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

func port(s string) rack.Port {
	at := strings.LastIndexByte(s, ':')
	return rack.Port{Device: s[:at], Name: s[at+1:]}
}

// numbered is a rack with two ToR switches and, in rack 2, an inter-rack switch;
// its addresses follow from its number.
func numbered(number int, links ...string) *rack.Rack {
	in := func(third, last int) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 168, byte(third), byte(last)})
	}
	n, m := number, 100+number
	r := &rack.Rack{Name: fmt.Sprint("r", n), Number: n, Agent: rack.Agent{Cable: port("mgmt-1:48")},
		Management: netip.PrefixFrom(in(m, 0), 24), Data: netip.PrefixFrom(in(n, 0), 24),
		Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Address: in(m, 1), BMC: &rack.BMC{Address: in(m, 201)}},
			{Name: "tor-1", Role: rack.ToRSwitch, Address: in(m, 2), Management: port("mgmt-1:45"), Data: []rack.Port{port("mgmt-1:43")}},
			{Name: "tor-2", Role: rack.ToRSwitch, Address: in(m, 3), Management: port("mgmt-1:46"), Data: []rack.Port{port("mgmt-1:44")}},
			{Name: "server-01", Role: rack.Server, Address: in(n, 11), Management: port("mgmt-1:1"), Data: []rack.Port{port("tor-1:1")}, BMC: &rack.BMC{Address: in(m, 101)},
				MACs: []string{fmt.Sprintf("02:00:00:00:00:%02x", n)}, Serial: fmt.Sprint("S", n)},
		}}
	if n == rack.InterRackNumber {
		r.Devices = append(r.Devices, rack.Device{Name: "inter-rack-1", Role: rack.InterRackSwitch, Address: in(m, 4), Management: port("mgmt-1:49")})
	}
	for _, s := range links {
		a, b, _ := strings.Cut(s, " ")
		r.Links = append(r.Links, rack.Link{A: port(a), B: port(b), Kind: rack.Trunk})
	}
	return r
}

func TestLinks(t *testing.T) {
	r1 := numbered(1, "tor-1:53 tor-2:53", "tor-1:49 rack:r2/inter-rack-1:7", "tor-1:54 external:datacenter")
	r2 := numbered(2, "inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:8 rack:r1/tor-2:49", "inter-rack-1:9 rack:r9/tor-1:49")
	var got []string
	for _, l := range Links([]*rack.Rack{r1, r2}) {
		got = append(got, l.A.String()+" "+l.B.String())
	}
	if want := []string{"r1/tor-1:49 r2/inter-rack-1:7", "r2/inter-rack-1:8 r1/tor-2:49", "r2/inter-rack-1:9 r9/tor-1:49"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Neighbours(r2); !slices.Equal(got, []string{"r1", "r9"}) {
		t.Errorf("%v", got)
	}
}

func TestJudge(t *testing.T) {
	l := Link{End{"r2", port("inter-rack-1:7")}, End{"r1", port("tor-1:49")}}
	up := func(hears string) Side { return Side{true, true, true, hears} }
	down := func(hears string) Side { return Side{true, true, false, hears} }
	for _, tt := range []struct {
		name  string
		a, b  Side
		state rack.LinkState
		note  string
	}{
		{"both hear each other", up("r1/tor-1:49"), up("r2/inter-rack-1:7"), rack.LinkIsOpen, ""},
		{"neither hears anything", up(""), up(""), rack.LinkIsReady, "r2/inter-rack-1:7 hears nothing, expected r1/tor-1:49; r1/tor-1:49 hears nothing, expected r2/inter-rack-1:7"},
		{"one hears nothing", up("r1/tor-1:49"), up(""), rack.LinkIsReady, "r1/tor-1:49 hears nothing, expected r2/inter-rack-1:7"},
		{"crossed", up("r1/tor-1:49"), up("r2/inter-rack-2:7"), rack.LinkIsReady, "cables crossed? r1/tor-1:49 hears r2/inter-rack-2:7, expected r2/inter-rack-1:7"},
		{"one is not ready", up(""), down(""), rack.LinkIsClosed, "r1/tor-1 is not ready"},
		{"what it heard before does not count", up("r1/tor-1:49"), down("r2/inter-rack-1:7"), rack.LinkIsClosed, "r1/tor-1 is not ready"},
		{"crossed, and one is not ready", up("r1/tor-2:49"), down(""), rack.LinkIsClosed, "cables crossed? r2/inter-rack-1:7 hears r1/tor-2:49, expected r1/tor-1:49; r1/tor-1 is not ready"},
		{"both are not ready", down(""), down(""), rack.LinkIsClosed, "r2/inter-rack-1 is not ready; r1/tor-1 is not ready"},
		{"no such rack", up("r1/tor-1:49"), Side{}, rack.LinkIsClosed, "rack r1 is not in the fleet"},
		{"no such switch", up("r1/tor-1:49"), Side{Known: true}, rack.LinkIsClosed, "rack r1 has no switch tor-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Judge(l, tt.a, tt.b)
			if got.State != tt.state || got.Note != tt.note || got.Link != l {
				t.Errorf("%+v, want %s %q", got, tt.state, tt.note)
			}
			back := Judge(Link{l.B, l.A}, tt.b, tt.a)
			if back.State != got.State {
				t.Errorf("seen from the other end it is %s", back.State)
			}
		})
	}
}

// From journals to the state of a cable.
func TestBackplane(t *testing.T) {
	runs := map[string]*rack.Run{"r1": rack.NewRun(numbered(1), nil), "r2": rack.NewRun(numbered(2, "inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:8 rack:r1/server-01:49"), nil)}
	links := Links([]*rack.Rack{runs["r1"].Rack, runs["r2"].Rack})
	look := func(state rack.LinkState) {
		t.Helper()
		if got := Backplane(links, LookAt(runs)); got[0].State != state || got[1].State != rack.LinkIsClosed {
			t.Errorf("%+v, want %s", got, state)
		}
	}
	hear := func(name, at, what string) {
		p := port(at)
		runs[name].Apply(rack.Event{Kind: rack.NeighbourSeen, Device: p.Device, Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromLLDP, Via: p, Message: what}}})
	}
	look(rack.LinkIsClosed)
	runs["r1"].Apply(rack.Event{Kind: rack.DeviceReady, Device: "tor-1"})
	runs["r2"].Apply(rack.Event{Kind: rack.DeviceReady, Device: "inter-rack-1"})
	look(rack.LinkIsReady)
	hear("r1", "tor-1:49", "r2/inter-rack-1:7")
	look(rack.LinkIsReady)
	hear("r2", "inter-rack-1:7", "r1/tor-1:49")
	look(rack.LinkIsOpen)
	runs["r1"].Apply(rack.Event{Kind: rack.ReimageOrdered, Device: "tor-1"})
	look(rack.LinkIsClosed)
	runs["r1"].Apply(rack.Event{Kind: rack.DeviceReady, Device: "tor-1"})
	look(rack.LinkIsReady) // what it heard before it was imaged anew is forgotten
	hear("r1", "tor-1:49", "r2/inter-rack-1:7")
	hear("r2", "inter-rack-1:7", "")
	look(rack.LinkIsReady)
}
