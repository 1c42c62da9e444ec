package sim

import (
	"strings"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// Cables of servers are swapped on one network, at the start on either and later on the
// data network; twice is not at all.
func TestSwapServers(t *testing.T) {
	r := pod("r2", "inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:8 rack:r1/tor-2:49")
	p := func(s string) rack.Port {
		x, err := rack.ParsePort(s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for i, name := range []string{"server-01", "server-02"} {
		n := string(rune('1' + i))
		r.Devices = append(r.Devices, rack.Device{Name: name, Role: rack.Server, Platform: "pxe-server", Management: p("mgmt-1:" + n), Data: []rack.Port{p("tor-1:" + n)}})
	}
	for text, says := range map[string]string{
		"tor-1:1=tor-1:2": "", "mgmt-1:1=mgmt-1:2": "",
		"tor-1:1=mgmt-1:2":       "one is of the data network, the other of the management network",
		"tor-1:1=inter-rack-1:7": "one is of the data network, the other of the links between racks",
		"tor-1:1=tor-1:9":        "no link of rack r2 leads from tor-1:9 to another rack, or to a server",
	} {
		x, err := ParseSwap(text)
		if err == nil {
			err = CheckSwaps([]Swap{x}, r)
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", text, err)
		}
	}
	s, err := New(Options{Rack: r, Platforms: testPlatforms(), Swaps: []Swap{{p("tor-1:1"), p("tor-1:2")}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	at := func(device string) string {
		for _, e := range s.fabric.ends {
			if e.device == device && e.network == rack.Data {
				return e.near().String()
			}
		}
		return ""
	}
	if at("server-01") != "tor-1:2" || at("server-02") != "tor-1:1" {
		t.Errorf("%s %s", at("server-01"), at("server-02"))
	}
	if err := s.Swap(Swap{p("tor-1:1"), p("tor-1:2")}); err != nil || at("server-01") != "tor-1:1" || at("server-02") != "tor-1:2" {
		t.Errorf("%v %s %s", err, at("server-01"), at("server-02"))
	}
	for _, x := range []Swap{{p("mgmt-1:1"), p("mgmt-1:2")}, {p("inter-rack-1:7"), p("inter-rack-1:8")}, {p("tor-1:1"), p("tor-1:9")}} {
		if err := s.Swap(x); err == nil {
			t.Errorf("%s was swapped", x)
		}
	}
}
