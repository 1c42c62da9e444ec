package rackfile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

// parsed reads a draft back.
func parsed(t rapid.TB, d Draft) (*rack.Rack, string) {
	yaml, inventory := d.Files("draft.csv", platform.All())
	r, err := Parse("draft.yaml", yaml, func(string) ([]byte, error) { return inventory, nil }, platform.All())
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, yaml, inventory)
	}
	return r, string(yaml)
}

func TestDraft(t *testing.T) {
	r, yaml := parsed(t, Draft{Interface: "eth1", Own: netip.MustParsePrefix("192.168.7.1/24"), Switch: "mgmt-7", Port: "swp12", Taken: []netip.Addr{netip.MustParseAddr("192.168.7.3")}, Seen: []Sighting{
		{MAC: "02:00:00:00:00:01", Role: rack.ToRSwitch, Serial: "SN1", Via: rack.Port{Device: "mgmt-7", Name: "45"}, Text: "onie (Accton)"},
		{MAC: "02:00:00:00:00:02", Role: rack.Server, Serial: "SN2", Via: rack.Port{Device: "tor-1", Name: "7"}, Text: "pxe"},
		{MAC: "02:00:00:00:00:03", Role: rack.Server, Serial: "SN2", Text: "pxe"},
		{MAC: "02:00:00:00:00:04", BMC: true, Text: "an iDRAC"},
		{MAC: "02:00:00:00:00:05", Text: "a telephone"},
	}})
	if r.Agent.Cable.String() != "mgmt-7:swp12" || r.Agent.Interface != "eth1" || r.Management.String() != "192.168.7.0/24" || len(r.Devices) != 4 {
		t.Errorf("%+v", r)
	}
	// The interface has .1 and somebody .3.
	mgmt, tor, s1, s2 := r.Devices[0], r.Devices[1], r.Devices[2], r.Devices[3]
	if mgmt.Name != "mgmt-7" || mgmt.Address.String() != "192.168.7.2" || mgmt.BMC.Address.String() != "192.168.7.4" {
		t.Errorf("%+v", mgmt)
	}
	if tor.Management.String() != "mgmt-7:45" || tor.Serial != "SN1" || fmt.Sprint(tor.MACs) != "[02:00:00:00:00:01]" {
		t.Errorf("%+v", tor)
	}
	if fmt.Sprint(s1.Data) != "[tor-1:7]" || s1.Serial != "SN2" || s2.Serial != "" || fmt.Sprint(s2.MACs) != "[02:00:00:00:00:03]" {
		t.Errorf("%+v\n%+v", s1, s2)
	}
	for _, want := range []string{"# TODO: a BMC was seen, its device is not known; add its MAC to the row of that device: an iDRAC", "as far as its packets say: a telephone", "platform: sim-tor # TODO", `"mgmt-7:45" # it was seen through this port`} {
		if !strings.Contains(yaml, want) {
			t.Errorf("%q is missing in\n%s", want, yaml)
		}
	}
}

// Whatever was seen, the draft is a valid rack file.
func TestDraftIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		port := rapid.Custom(func(t *rapid.T) rack.Port {
			return rack.Port{Device: rapid.SampledFrom([]string{"", "mgmt-1", "tor-1", "server-01", "external", "rack:r1/tor-1", "A b"}).Draw(t, "switch"), Name: rapid.SampledFrom([]string{"", "1", "48", "swp1", "a b", "Gi1/0/1"}).Draw(t, "port")}
		})
		d := Draft{Interface: "eth1", Switch: rapid.SampledFrom([]string{"", "mgmt-1", "tor-1", "server-01", "Sw 1", "rack"}).Draw(t, "named"), Port: rapid.SampledFrom([]string{"", "1", "45", "a:b"}).Draw(t, "at")}
		if rapid.Bool().Draw(t, "addressed") {
			d.Own = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, rapid.Byte().Draw(t, "own")}), rapid.IntRange(8, 32).Draw(t, "bits"))
		}
		for i := range rapid.IntRange(0, 230).Draw(t, "seen") {
			d.Seen = append(d.Seen, Sighting{MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256), Role: rapid.SampledFrom(append(rack.Roles(), "")).Draw(t, "role"), BMC: rapid.Bool().Draw(t, "BMC"),
				Serial: rapid.SampledFrom([]string{"", "SN", " padded ", `quoted",`, strings.Repeat("x", 65)}).Draw(t, "serial"), Via: port.Draw(t, "via"), Text: "seen"})
		}
		parsed(t, d)
	})
}
