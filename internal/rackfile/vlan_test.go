package rackfile

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// withVLANs is a rack file with these lines as its VLANs, from line 9 on.
func withVLANs(lines ...string) []byte {
	return []byte(strings.Replace(whole, "devices:\n", "vlans:\n"+strings.Join(lines, "\n")+"\ndevices:\n", 1))
}

const homeVLAN = "  - {name: provisioning, id: 100, untagged: [agent, bmc, management, uplink, server], tagged: [peer]}"

func TestVLANs(t *testing.T) {
	r, err := Parse("r", withVLANs(homeVLAN, "  - {name: tenants, id: 200, tagged: [uplink, server, outside]}"), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.VLANs) != 2 || r.HomeVLAN().ID != 100 || !r.VLANs[1].Has(rack.OutsidePort) || r.VLANs[1].Has(rack.BMCPort) {
		t.Errorf("%+v", r.VLANs)
	}
	// An agent that sends tags itself.
	r, err = Parse("r", withVLANs(strings.NewReplacer("agent, ", "", "[peer]", "[peer, agent]").Replace(homeVLAN)), opened(""), table())
	if err != nil || r.HomeVLAN().ID != 100 {
		t.Errorf("%+v, %v", r, err)
	}
	plain, err := Parse("r", []byte(whole), opened(""), table())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(plain); err != nil || strings.Contains(string(b), "VLAN") || plain.HomeVLAN() != nil {
		t.Errorf("a rack without VLANs has another hash: %s, %v", b, err)
	}
}

func TestVLANsThatCannotBe(t *testing.T) {
	const other = "  - {name: tenants, id: 200, tagged: [server]}"
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"no list", []string{"  a: b"}, "r:10: vlans is not a list"},
		{"no number", []string{homeVLAN, "  - {name: a, tagged: [server]}"}, "r:11: id is missing"},
		{"number of none", []string{homeVLAN, "  - {name: a, id: 4095, tagged: [server]}"}, "r:11: 4095 is not the number of a VLAN; write: a number from 1 to 4094"},
		{"number twice", []string{homeVLAN, "  - {name: a, id: 100, tagged: [server]}"}, "r:11: number 100 is given twice: to provisioning and to a"},
		{"name twice", []string{homeVLAN, "  - {name: provisioning, id: 101, tagged: [server]}"}, "r:11: VLAN provisioning is given twice"},
		{"no name", []string{homeVLAN, "  - {name: A b, id: 101, tagged: [server]}"}, `r:11: "A b" is not a name for a VLAN`},
		{"nowhere", []string{homeVLAN, "  - {name: a, id: 101}"}, "r:11: VLAN a reaches no ports"},
		{"no such port", []string{homeVLAN, "  - {name: a, id: 101, tagged: [servers]}"}, "r:11: servers is not what a port is for; write: some of agent, bmc, management, uplink, server, trunk, peer, outside"},
		{"a port twice", []string{homeVLAN, "  - {name: a, id: 101, tagged: [server, server]}"}, "r:11: VLAN a has server twice"},
		{"untagged in two", []string{homeVLAN, "  - {name: a, id: 101, untagged: [server]}"}, "r:11: what comes untagged through server ports would be in two VLANs: provisioning and a"},
		{"unknown key", []string{homeVLAN, "  - {name: a, id: 101, tagged: [server], mtu: 9000}"}, `r:11: unknown key "mtu"`},
		{"no list of ports", []string{homeVLAN, "  - {name: a, id: 101, tagged: server}"}, "r:11: tagged is not a list"},
		{"the agent in none", []string{other}, "r:10: it cannot be said which VLAN the agent is in"},
		{"the agent tagged in two", []string{"  - {name: a, id: 1, tagged: [agent]}", "  - {name: b, id: 2, tagged: [agent]}"}, "r:10: it cannot be said which VLAN the agent is in"},
		{"BMCs elsewhere", []string{strings.Replace(homeVLAN, "bmc, ", "", 1)}, "r:10: no BMC could be reached: bmc ports are not untagged in VLAN provisioning of the agent"},
		{"switches tagged", []string{strings.NewReplacer("management, ", "", "[peer]", "[peer, management]").Replace(homeVLAN)}, "r:10: no switch could be reached"},
		{"servers elsewhere", []string{strings.Replace(homeVLAN, ", server]", "]", 1), other}, "r:10: no server could boot from the network"},
		{"no way to servers", []string{strings.Replace(homeVLAN, "uplink, ", "", 1)}, "r:10: no server could be reached through the switches: uplink ports are not in VLAN provisioning of the agent"},
		{"no way across a pair", []string{strings.Replace(homeVLAN, ", tagged: [peer]", "", 1)}, "r:10: no server behind the second switch of a pair could be reached"},
	} {
		_, err := Parse("r", withVLANs(c.lines...), opened(""), table())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
