package adjacency

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func sample(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNeighbours(t *testing.T) {
	linux := []Neighbour{{"cba0", "server-01", "7a:2e:76:82:ed:33", "7a:2e:76:82:ed:33", "cbb0"}}
	for _, c := range []struct {
		format Format
		file   string
		want   []Neighbour
	}{
		{LLDPCtl, "lldpctl-json.json", linux},
		{LLDPCtl, "lldpctl-json0.json", linux},
		{SONiCLLDP, "sonic-lldp.txt", []Neighbour{
			{"Ethernet0", "tor-2", "", "Ethernet1/51", "peer link"}, {"Ethernet4", "", "", "7a:2e:76:82:ed:33", "ens1f0"}, {"eth0", "mgmt-1", "", "swp45", "tor-1"}}},
		{EOSLLDP, "eos-lldp.json", []Neighbour{
			{"Ethernet1", "tor-2.example.net", "00:1c:73:00:00:02", "Ethernet49", "peer"}, {"Ethernet3", "", "7a:2e:76:82:ed:33", "7a:2e:76:82:ed:33", ""}}},
	} {
		if got, err := Neighbours(c.format, sample(t, c.file)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", c.file, got, err)
		}
	}
}

// Several ports, and two neighbours at one, as lldpctl writes them.
func TestSeveralNeighbours(t *testing.T) {
	const two = `{"lldp": {"interface": [
	 {"swp1": {"chassis": {"a": {"id": {"type": "mac", "value": "02:00:00:00:00:01"}}}, "port": {"id": {"type": "ifname", "value": "eth0"}}}},
	 {"swp1": {"chassis": {"id": {"type": "mac", "value": "02:00:00:00:00:02"}}, "port": {"id": {"type": "local", "value": "2"}}}},
	 {"swp2": {"chassis": {"b": {"id": {"type": "ip", "value": "10.0.0.1"}}}, "port": {"id": {"type": "ifname", "value": "eth1"}}}}]}}`
	want := []Neighbour{{"swp1", "a", "02:00:00:00:00:01", "eth0", ""}, {"swp1", "", "02:00:00:00:00:02", "2", ""}, {"swp2", "b", "10.0.0.1", "eth1", ""}}
	if got, err := Neighbours(LLDPCtl, two); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := Neighbours(LLDPCtl, `{"lldp": {}}`); err != nil || len(got) != 0 {
		t.Errorf("nobody there: %+v %v", got, err)
	}
}

func TestStations(t *testing.T) {
	for _, c := range []struct {
		format Format
		file   string
		want   []Station
	}{
		{Bridge, "bridge.json", []Station{{"cba0", "7a:2e:76:82:ed:33"}}},
		{SONiCMAC, "sonic-mac.txt", []Station{{"Ethernet20", "7c:fe:90:80:9f:05"}, {"Ethernet40", "7c:fe:90:80:9f:10"}}},
		{EOSMAC, "eos-mac.json", []Station{{"Ethernet3", "7a:2e:76:82:ed:33"}}},
	} {
		if got, err := Stations(c.format, sample(t, c.file)); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v", c.file, got, err)
		}
	}
}

func TestWhatIsNoTable(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"a": 1}`, "\x1b[31mno such command", strings.Repeat("x", MaxText+1), "[" + strings.Repeat(`{"mac":"02:00:00:00:00:01","ifname":"a","master":"b"},`, 4097) + "{}]"} {
		for _, f := range append(NeighbourFormats(), StationFormats()...) {
			var err error
			n := 0
			if slices.Contains(NeighbourFormats(), f) {
				var rows []Neighbour
				rows, err = Neighbours(f, text)
				n = len(rows)
			} else {
				var rows []Station
				rows, err = Stations(f, text)
				n = len(rows)
			}
			if f == Bridge && text == "[]" {
				continue // an empty table
			}
			if !errors.Is(err, ErrFormat) || n > 0 || len(err.Error()) > 400 || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s of %.20q: %d rows, %v", f, text, n, err)
			}
		}
	}
	if _, err := Neighbours("no-such", "{}"); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

func FuzzNeighbours(f *testing.F) {
	for i, file := range []string{"lldpctl-json.json", "lldpctl-json0.json", "sonic-lldp.txt", "eos-lldp.json"} {
		f.Add(uint8(i), sample(f, file))
	}
	f.Add(uint8(1), `{"lldp":{"interface":{"p\u001b[2J":{"chassis":{"n\u202e":{}}}}}}`)
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		all := NeighbourFormats()
		rows, err := Neighbours(all[int(which)%len(all)], text)
		if len(rows) > MaxNeighbours || err != nil && len(rows) > 0 {
			t.Fatalf("%d rows and %v", len(rows), err)
		}
		for _, n := range rows {
			for _, s := range []string{n.Port, n.System, n.Chassis, n.RemotePort, n.Description} {
				fit(t, s)
			}
		}
	})
}

func FuzzStations(f *testing.F) {
	for i, file := range []string{"bridge.json", "eos-mac.json", "sonic-mac.txt"} {
		f.Add(uint8(i), sample(f, file))
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		all := StationFormats()
		rows, err := Stations(all[int(which)%len(all)], text)
		if len(rows) > MaxStations || err != nil && len(rows) > 0 {
			t.Fatalf("%d rows and %v", len(rows), err)
		}
		for _, s := range rows {
			fit(t, s.Port)
			if MAC(s.MAC) != s.MAC || s.MAC == "" || s.Port == "" {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func fit(t *testing.T, s string) {
	t.Helper()
	if len(s) > maxName || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Fatalf("%q is not fit to be shown", s)
	}
}
