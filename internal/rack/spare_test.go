package rack

import (
	"maps"
	"testing"
)

// TestSpare: of the cables of the management switch into what is connected already, one
// forwards.
func TestSpare(t *testing.T) {
	port := func(s string) Port {
		if s == "rack:r1/tor-1:49" {
			return Port{Device: "rack:r1/tor-1", Name: "49"}
		}
		p, err := ParsePort(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	link := func(a, b string, k LinkKind) Link { return Link{A: port(a), B: port(b), Kind: k} }
	home := VLAN{Name: "home", ID: 100, Untagged: []PortRole{AgentPort, BMCPort, ManagementPort, UplinkPort, ServerPort, PeerPort}}
	for _, tt := range []struct {
		name  string
		data  []string // of tor-1, then tor-2
		links []Link
		vlans []VLAN
		spare map[string]string
	}{
		{"two switches that do not know each other", []string{"m:1", "m:2"}, nil, nil, nil},
		{"a pair", []string{"m:1", "m:2"}, []Link{link("tor-1:53", "tor-2:53", PeerLink)}, nil, map[string]string{"m:2": "it would make a loop with m:1 by way of tor-2"}},
		{"two cables to one", []string{"m:1", ""}, []Link{link("m:9", "tor-1:50", Trunk)}, nil, map[string]string{"m:9": "it would make a loop with m:1 by way of tor-1"}},
		{"by way of another switch", []string{"m:1", "m:2"}, []Link{link("tor-1:49", "spine:1", Trunk), link("tor-2:49", "spine:2", Trunk)}, nil, map[string]string{"m:2": "it would make a loop with m:1 by way of tor-2"}},
		{"by way of the data centre", []string{"m:1", "m:2"}, []Link{link("tor-1:54", "external:dc", Trunk), link("tor-2:54", "external:dc", Trunk)}, nil, map[string]string{"m:2": "it would make a loop with m:1 by way of tor-2"}},
		{"which no VLAN of the management switch gets to", []string{"m:1", "m:2"}, []Link{link("tor-1:54", "external:dc", Trunk), link("tor-2:54", "external:dc", Trunk)},
			[]VLAN{home, {Name: "tenants", ID: 200, Tagged: []PortRole{ServerPort, OutsidePort}}}, nil},
		{"a VLAN does not make a pair two", []string{"m:1", "m:2"}, []Link{link("tor-1:53", "tor-2:53", PeerLink)}, []VLAN{home}, map[string]string{"m:2": "it would make a loop with m:1 by way of tor-2"}},
		{"two places outside", []string{"m:1", ""}, []Link{link("tor-1:54", "external:dc", Trunk), link("m:52", "external:office", Trunk)}, nil, nil},
		{"one place outside, twice", []string{"m:1", ""}, []Link{link("tor-1:54", "external:dc", Trunk), link("m:52", "external:dc", Trunk)}, nil, map[string]string{"m:52": "it would make a loop with m:1 by way of external:dc"}},
		{"by way of another rack", []string{"m:1", "m:2"}, []Link{link("tor-1:49", "rack:r1/tor-1:49", Trunk), link("tor-2:49", "rack:r1/tor-1:49", Trunk)}, nil, map[string]string{"m:2": "it would make a loop with m:1 by way of tor-2"}},
	} {
		r := &Rack{Name: "r2", VLANs: tt.vlans, Links: tt.links, Devices: []Device{{Name: "m", Role: ManagementSwitch}, {Name: "spine", Role: InterRackSwitch}}}
		for i, p := range tt.data {
			d := Device{Name: []string{"tor-1", "tor-2"}[i], Role: ToRSwitch, Management: Port{"m", []string{"41", "42"}[i]}}
			if p != "" {
				d.Data = []Port{port(p)}
			}
			r.Devices = append(r.Devices, d)
		}
		got := map[string]string{}
		for p, why := range r.Spare() {
			got[p.String()] = why
		}
		if !maps.Equal(got, tt.spare) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.spare)
		}
	}
	if got := (&Rack{}).Spare(); len(got) > 0 {
		t.Errorf("no management switch: %v", got)
	}
}
