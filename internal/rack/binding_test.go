package rack_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// small is 1 management switch, 2 ToR switches, 2 inter-rack switches and 2 servers.
func small() *rack.Rack {
	p := func(s string) rack.Port {
		x, err := rack.ParsePort(s)
		if err != nil {
			panic(err)
		}
		return x
	}
	a := netip.MustParseAddr
	return &rack.Rack{Name: "r2", Number: 2, Agent: rack.Agent{Cable: p("mgmt-1:48")},
		Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.2.0/24"),
		Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: platform.SimManagement, Address: a("192.168.100.1"), BMC: &rack.BMC{Address: a("192.168.100.201")}},
			{Name: "tor-1", Role: rack.ToRSwitch, Platform: platform.SimToR, Address: a("192.168.100.2"), Management: p("mgmt-1:45"), Data: []rack.Port{p("mgmt-1:43")}},
			{Name: "tor-2", Role: rack.ToRSwitch, Platform: platform.SimToR, Address: a("192.168.100.3"), Management: p("mgmt-1:46")},
			{Name: "inter-rack-1", Role: rack.InterRackSwitch, Platform: platform.SimSpine, Address: a("192.168.100.4"), Management: p("mgmt-1:41")},
			{Name: "server-01", Role: rack.Server, Platform: platform.SimServer, Address: a("10.0.2.11"), Management: p("mgmt-1:1"), Data: []rack.Port{p("tor-1:1"), p("tor-2:1")},
				BMC: &rack.BMC{Address: a("192.168.100.101")}, MACs: []string{"52:54:00:00:00:01"}},
			{Name: "server-02", Role: rack.Server, Platform: platform.SimServer, Address: a("10.0.2.12"), Management: p("mgmt-1:2"), Data: []rack.Port{p("tor-1:2"), p("tor-2:2")},
				BMC: &rack.BMC{Address: a("192.168.100.102")}},
		},
		Links: []rack.Link{{A: p("tor-1:53"), B: p("tor-2:53"), Kind: rack.PeerLink}, {A: p("tor-1:49"), B: p("inter-rack-1:1")}, {A: p("tor-1:54"), B: p("external:datacenter")}},
	}
}

func port(t *testing.T, s string) rack.Port {
	t.Helper()
	p, err := rack.ParsePort(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBind(t *testing.T) {
	const tor, spine = "sim_tor48", "sim_spine32"
	learned := []rack.Observation{{Device: "mgmt-1", Source: rack.FromBMC, UUID: "4c4c4544004235108052b4c04f4e3132"}, {Device: "mgmt-1", Stage: rack.StageIPXE}, {Device: "server-02", MAC: "52:54:00:00:00:02"}}
	for _, c := range []struct {
		name    string
		keys    rack.Keys
		learned bool
		want    rack.Binding
		err     error
		says    string
	}{
		{name: "a relay's port names the slot and the network", keys: rack.Keys{Via: port(t, "mgmt-1:45"), Stage: rack.StageONIE, Model: tor},
			want: rack.Binding{Device: "tor-1", Network: rack.Management, Link: port(t, "mgmt-1:45"), How: rack.ByPort}},
		{name: "a server's NIC through its ToR", keys: rack.Keys{Via: port(t, "tor-2:2"), Stage: rack.StageIPXE},
			want: rack.Binding{Device: "server-02", Network: rack.Data, Link: port(t, "tor-2:2"), How: rack.ByPort}},
		{name: "an inventory's MAC", keys: rack.Keys{MAC: "52:54:00:00:00:01", Stage: rack.StageOS},
			want: rack.Binding{Device: "server-01", How: rack.ByMAC}},
		{name: "MAC and port agree", keys: rack.Keys{MAC: "52:54:00:00:00:01", Via: port(t, "tor-1:1"), Stage: rack.StageOS},
			want: rack.Binding{Device: "server-01", Network: rack.Data, Link: port(t, "tor-1:1"), How: rack.ByMAC}},
		{name: "a MAC in the wrong port is a swapped cable", keys: rack.Keys{MAC: "52:54:00:00:00:01", Via: port(t, "tor-1:2"), Stage: rack.StageOS},
			err: rack.ErrAmbiguous, says: "its mac says server-01, its port says server-02"},
		{name: "a MAC that was learned by port", keys: rack.Keys{MAC: "52:54:00:00:00:02", Stage: rack.StageOS}, learned: true,
			want: rack.Binding{Device: "server-02", How: rack.ByMAC}},
		{name: "the BMC's GUID is the host's UUID, in another order of bytes", keys: rack.Keys{UUID: "44454c4c420010358052b4c04f4e3132", Direct: true, Stage: rack.StageIPXE}, learned: true,
			want: rack.Binding{Device: "mgmt-1", Network: rack.Management, How: rack.ByUUID}},
		{name: "the agent's own cable leads to the management switch only", keys: rack.Keys{Direct: true, Stage: rack.StageIPXE},
			want: rack.Binding{Device: "mgmt-1", Network: rack.Management, How: rack.ByClass}},
		{name: "once it is bound, class binds nobody else to it", keys: rack.Keys{Direct: true, Stage: rack.StageIPXE}, learned: true, err: rack.ErrUnknown},
		{name: "its BMC is another end of it, which was bound by asking it", keys: rack.Keys{Direct: true, Stage: rack.StageBMC}, learned: true, err: rack.ErrUnknown},
		{name: "one inter-rack switch remains", keys: rack.Keys{Stage: rack.StageONIE, Model: spine}, want: rack.Binding{Device: "inter-rack-1", How: rack.ByClass}},
		{name: "two ToR switches remain", keys: rack.Keys{Stage: rack.StageONIE, Model: tor}, err: rack.ErrAmbiguous, says: "tor-1, tor-2"},
		{name: "a server's firmware in a ToR's port", keys: rack.Keys{Via: port(t, "mgmt-1:45"), Stage: rack.StageIPXE}, err: rack.ErrAmbiguous, says: "does not go through"},
		{name: "another machine in a ToR's port", keys: rack.Keys{Via: port(t, "mgmt-1:45"), Stage: rack.StageONIE, Model: spine}, err: rack.ErrAmbiguous, says: spine},
		{name: "no vendor strings, but a port", keys: rack.Keys{Via: port(t, "tor-1:2"), Stage: rack.StageUnknown},
			want: rack.Binding{Device: "server-02", Network: rack.Data, Link: port(t, "tor-1:2"), How: rack.ByPort}},
		{name: "no keys at all", keys: rack.Keys{Stage: rack.StageUnknown}, err: rack.ErrUnknown},
		{name: "a port that nothing is cabled to", keys: rack.Keys{Via: port(t, "mgmt-1:30"), Stage: rack.StageONIE, Model: spine}, err: rack.ErrUnknown, says: "mgmt-1:30"},
		{name: "another rack's switch", keys: rack.Keys{Via: port(t, "r9-tor:1"), Stage: rack.StageOS}, err: rack.ErrUnknown, says: "not a switch of r2"},
		{name: "a relay that names its port and not itself says nothing", keys: rack.Keys{MAC: "52:54:00:00:00:01", Via: rack.Port{Name: "swp1"}, Stage: rack.StageOS},
			want: rack.Binding{Device: "server-01", How: rack.ByMAC}},
		{name: "nor does it make a stranger known by its class", keys: rack.Keys{Via: rack.Port{Name: "swp1"}, Stage: rack.StageONIE, Model: spine}, err: rack.ErrUnknown, says: "swp1"},
		{name: "another rack's switch relays a MAC of ours", keys: rack.Keys{MAC: "52:54:00:00:00:01", Via: port(t, "r9-tor:1")}, err: rack.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := rack.NewBinder(small(), platform.All())
			if c.learned {
				for i := range learned {
					b = b.Learned(&learned[i])
				}
			}
			got, err := b.Bind(c.keys)
			if !errors.Is(err, c.err) || (err != nil && !strings.Contains(err.Error(), c.says)) {
				t.Fatalf("error %v, want %v saying %q", err, c.err, c.says)
			}
			if got != c.want {
				t.Errorf("bound to %+v, want %+v", got, c.want)
			}
		})
	}
}

// A slot's BMC and its host are bound each on its own: the one must not keep the
// other from being known by its class.
func TestBindHostAfterItsBMC(t *testing.T) {
	bmc := rack.Keys{MAC: "52:54:00:00:00:0b", Direct: true, Stage: rack.StageBMC}
	b := rack.NewBinder(small(), platform.All())
	got, err := b.Bind(bmc)
	if err != nil || got.Device != "mgmt-1" {
		t.Fatalf("%+v, %v", got, err)
	}
	b = b.Learned(&rack.Observation{Device: "mgmt-1", Source: rack.FromDHCP, MAC: bmc.MAC, Stage: rack.StageBMC})
	if got, err := b.Bind(rack.Keys{MAC: "52:54:00:00:00:0c", Direct: true, Stage: rack.StageIPXE}); err != nil || got.Device != "mgmt-1" {
		t.Errorf("the host behind the BMC: %+v, %v", got, err)
	}
	if _, err := b.Bind(rack.Keys{MAC: "52:54:00:00:00:0d", Direct: true, Stage: rack.StageBMC}); !errors.Is(err, rack.ErrUnknown) {
		t.Errorf("a second BMC must not take the place of the first: %v", err)
	}
}

// A laptop that boots from the network is the only one that asks, and not the management
// switch: the BMC has said which machine that is.
func TestBindHostThatItsBMCDoesNotKnow(t *testing.T) {
	b := rack.NewBinder(small(), platform.All())
	guest := rack.Keys{UUID: "00112233445566778899aabbccddeeff", Direct: true, Stage: rack.StagePXE}
	if got, err := b.Bind(guest); err != nil || got.How != rack.ByClass {
		t.Errorf("before the BMC has spoken: %+v, %v", got, err)
	}
	b = b.Learned(&rack.Observation{Device: "mgmt-1", Source: rack.FromBMC, UUID: "4c4c4544004235108052b4c04f4e3132"})
	if got, err := b.Bind(guest); !errors.Is(err, rack.ErrAmbiguous) || !strings.Contains(err.Error(), "rackreach bind mgmt-1 MAC") {
		t.Errorf("%+v, %v", got, err)
	}
	guest.UUID = strings.Repeat("f", 32) // its board has no number
	if got, err := b.Bind(guest); err != nil || got.Device != "mgmt-1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRoutes(t *testing.T) {
	c := rack.NewCabling(small())
	for near, want := range map[string]string{
		"mgmt-1:1": "mgmt-1", "mgmt-1:45": "mgmt-1", "mgmt-1:43": "mgmt-1", "tor-1:1": "mgmt-1 tor-1",
		"tor-2:1": "mgmt-1 tor-1 tor-2", // no uplink of its own: through its peer
	} {
		cable, ok := c.At(port(t, near))
		route, reachable := c.Route(cable)
		if !ok || !reachable || strings.Join(route, " ") != want {
			t.Errorf("route to %s is %v (%v), want %s", near, route, reachable, want)
		}
	}
	// A server cabled to a switch that nothing leads to has no route.
	r := small()
	r.Links = nil
	c = rack.NewCabling(r)
	cable, _ := c.At(port(t, "tor-2:1"))
	if route, ok := c.Route(cable); ok {
		t.Errorf("tor-2 has no data cable, and yet a route: %v", route)
	}
}

func TestPlanHashChangesWithEverythingThatMatters(t *testing.T) {
	describe := func(digest string) func(string) (rack.Image, error) {
		return func(n string) (rack.Image, error) { return rack.Image{Name: n, Digest: digest, Size: 1}, nil }
	}
	hash := func(r *rack.Rack, p map[string]rack.Platform, digest string) string {
		plan, err := rack.NewPlan(r, p, describe(digest))
		if err != nil {
			t.Fatal(err)
		}
		return plan.Hash
	}
	base := hash(small(), platform.All(), "sha256:00")
	if again := hash(small(), platform.All(), "sha256:00"); again != base {
		t.Errorf("the same plan has the hashes %s and %s", base, again)
	}
	cable := small()
	cable.Devices[1].Management.Name = "44"
	steps := platform.All()
	p := steps[platform.SimToR]
	p.Steps = append([]rack.Step{}, p.Steps...)
	p.Steps[0].Retries++
	steps[platform.SimToR] = p
	with := func(change func(p *rack.Platform)) string {
		all := platform.All()
		p := all[platform.SimToR]
		change(&p)
		all[platform.SimToR] = p
		return hash(small(), all, "sha256:00")
	}
	vlans, version := small(), small()
	vlans.VLANs = []rack.VLAN{{Name: "provisioning", ID: 100, Untagged: []rack.PortRole{rack.AgentPort}}}
	version.Devices[1].Version = "2"
	for what, other := range map[string]string{
		"a VLAN": hash(vlans, platform.All(), "sha256:00"), "a version": hash(version, platform.All(), "sha256:00"),
		"a document": with(func(p *rack.Platform) {
			p.Provision = &rack.Provision{Documents: []rack.Document{{Name: "ztp", Template: "x"}}}
		}),
		"how neighbours are asked for": with(func(p *rack.Platform) { p.Neighbours = &rack.Ask{Run: "x"} }),
		"how a MAC table is asked for": with(func(p *rack.Platform) { p.MACs = &rack.Ask{Community: "env:X"} }),
		"a body of a request": with(func(p *rack.Platform) {
			p.Steps = append([]rack.Step{{Action: rack.Request, HTTP: &rack.WebRequest{Body: "x"}}}, p.Steps...)
		}),
		"a cable": hash(cable, platform.All(), "sha256:00"), "a platform's step": hash(small(), steps, "sha256:00"), "an image": hash(small(), platform.All(), "sha256:01"),
	} {
		if other == base {
			t.Errorf("the hash does not change with %s", what)
		}
	}
	_, err := rack.NewPlan(small(), platform.All(), func(n string) (rack.Image, error) { return rack.Image{}, errors.New("no image " + n) })
	if err == nil || !strings.Contains(err.Error(), "mgmt-1") {
		t.Errorf("a missing image must name the device that wants it, got %v", err)
	}
}

func TestPlanOrder(t *testing.T) {
	r := small()
	r.Devices[5].Protect = true
	plan, err := rack.NewPlan(r, platform.All(), func(n string) (rack.Image, error) { return rack.Image{Name: n}, nil })
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, d := range plan.Devices {
		order = append(order, d.Name)
		if d.Role == rack.Server && strings.Join(d.WaitsFor, " ") != "mgmt-1 tor-1 tor-2 inter-rack-1" {
			t.Errorf("%s waits for %v", d.Name, d.WaitsFor)
		}
		if (d.Overwrites == "") != (d.Name == "server-02") {
			t.Errorf("%s overwrites %q", d.Name, d.Overwrites)
		}
	}
	if got := strings.Join(order, " "); got != "mgmt-1 tor-1 tor-2 inter-rack-1 server-01 server-02" {
		t.Errorf("order %s", got)
	}
}

func TestOnFailure(t *testing.T) {
	for _, role := range rack.Roles() {
		for kind, server := range map[rack.FailureKind]rack.Answer{rack.Fault: rack.Isolate, rack.Bug: rack.Restart} {
			want := server
			if role.IsSwitch() {
				want = rack.Halt
			}
			if got := rack.OnFailure(role, kind); got != want {
				t.Errorf("%s of a %s: %s, want %s", kind, role, got, want)
			}
		}
	}
}

func TestBindBMC(t *testing.T) {
	r := &rack.Rack{Name: "r1", Devices: []rack.Device{
		{Name: "mgmt-1", Role: rack.ManagementSwitch, BMC: &rack.BMC{Address: netip.MustParseAddr("10.0.0.100")}},
		{Name: "tor-1", Role: rack.ToRSwitch, Management: rack.Port{Device: "mgmt-1", Name: "45"}},
		{Name: "server-01", Role: rack.Server, MACs: []string{"02:00:00:00:00:01"}, Management: rack.Port{Device: "mgmt-1", Name: "1"}, BMC: &rack.BMC{Address: netip.MustParseAddr("10.0.0.101")}},
		{Name: "server-02", Role: rack.Server, Management: rack.Port{Device: "mgmt-1", Name: "2"}, BMC: &rack.BMC{Address: netip.MustParseAddr("10.0.0.102")}},
	}}
	b := rack.NewBinder(r, platform.All()).Learned(&rack.Observation{Device: "server-02", UUID: "4c4c4544004235108052b4c04f4e3132"})
	port := func(name string) rack.Port { return rack.Port{Device: "mgmt-1", Name: name} }
	for _, c := range []struct {
		name   string
		keys   rack.Keys
		at     string
		device string
		how    rack.How
		err    error
	}{
		{"GUID", rack.Keys{UUID: "32314e4fc0b452801035420044454c4c"}, "10.0.0.77", "server-02", rack.ByUUID, nil},
		{"MAC", rack.Keys{MAC: "02:00:00:00:00:01"}, "10.0.0.77", "server-01", rack.ByMAC, nil},
		{"port", rack.Keys{Via: port("2")}, "10.0.0.77", "server-02", rack.ByPort, nil},
		{"address", rack.Keys{}, "10.0.0.100", "mgmt-1", rack.ByAddress, nil},
		{"all of one", rack.Keys{Via: port("2"), UUID: "44454c4c420010358052b4c04f4e3132"}, "10.0.0.102", "server-02", rack.ByPort, nil},
		{"at the address of another", rack.Keys{Via: port("2")}, "10.0.0.101", "", "", rack.ErrAmbiguous},
		{"with the GUID of another", rack.Keys{MAC: "02:00:00:00:00:01", UUID: "44454c4c420010358052b4c04f4e3132"}, "10.0.0.77", "", "", rack.ErrAmbiguous},
		{"at a switch that has none", rack.Keys{Via: port("45")}, "10.0.0.77", "", "", rack.ErrAmbiguous},
		{"nothing is known", rack.Keys{MAC: "02:00:00:00:00:09", UUID: "00000000000000000000000000000000"}, "10.0.0.77", "", "", rack.ErrUnknown},
		{"of another rack", rack.Keys{Via: rack.Port{Device: "mgmt-9", Name: "1"}}, "10.0.0.101", "", "", rack.ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := b.BindBMC(c.keys, netip.MustParseAddr(c.at))
			if !errors.Is(err, c.err) || got.Device != c.device || got.How != c.how || err == nil && got.Network != rack.Management {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
}
