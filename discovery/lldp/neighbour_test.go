package lldp

import (
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// tlv is one field.
func tlv(kind int, value string) string {
	return string([]byte{byte(kind<<1 | len(value)>>8), byte(len(value))}) + value
}

// announcement is a frame of these fields.
func announcement(fields ...string) []byte {
	return []byte("\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x07\x88\xcc" + strings.Join(fields, ""))
}

var (
	chassis = tlv(typeChassis, "\x04\x02\x00\x00\x00\x00\x07")
	port    = tlv(typePort, "\x05swp48")
	ttl     = tlv(typeTTL, "\x00\x78")
	end     = tlv(typeEnd, "")
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name string
		f    []byte
		want Neighbour
	}{
		{"least", announcement(chassis, port, ttl, end), Neighbour{MAC: "02:00:00:00:00:07", Chassis: "02:00:00:00:00:07", Port: "swp48", TTL: 2 * time.Minute}},
		{"filled up", append(announcement(chassis, port, ttl, end), make([]byte, 33)...), Neighbour{MAC: "02:00:00:00:00:07", Chassis: "02:00:00:00:00:07", Port: "swp48", TTL: 2 * time.Minute}},
		{"names", announcement(chassis, tlv(typePort, "\x07"+"48"), ttl, tlv(typeDescription, "to the agent"), tlv(typeSystem, "mgmt-1.rack"), tlv(typeAbout, "a\x00switch"), tlv(127, "\x00\x12\x0f\x01x"), tlv(typeSystem, "again"), end),
			Neighbour{MAC: "02:00:00:00:00:07", Chassis: "02:00:00:00:00:07", Port: "48", Description: "to the agent", System: "mgmt-1.rack", About: `a\x00switch`, TTL: 2 * time.Minute}},
		{"port by MAC", announcement(tlv(typeChassis, "\x07box"), tlv(typePort, "\x03\x02\x00\x00\x00\x00\x09"), ttl, end), Neighbour{MAC: "02:00:00:00:00:07", Chassis: "box", Port: "02:00:00:00:00:09", TTL: 2 * time.Minute, portIsMAC: true}},
		{"farewell", announcement(chassis, port, tlv(typeTTL, "\x00\x00"), end), Neighbour{MAC: "02:00:00:00:00:07", Chassis: "02:00:00:00:00:07", Port: "swp48"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n, err := Parse(c.f); err != nil || n != c.want {
				t.Errorf("%+v %v\nwant %+v", n, err, c.want)
			}
		})
	}
}

func TestParseAddresses(t *testing.T) {
	v4 := tlv(typeAddress, "\x05\x01\xc0\xa8\x64\x01\x02\x00\x00\x00\x01\x00")
	v6 := tlv(typeAddress, "\x11\x02\xfe\x80"+strings.Repeat("\x00", 13)+"\x01\x02\x00\x00\x00\x01\x00")
	for _, f := range [][]byte{announcement(chassis, port, ttl, v4, v6, end), announcement(chassis, port, ttl, v6, v4, end), announcement(chassis, port, ttl, tlv(typeAddress, "\xff\x01"), v4, end)} {
		if n, err := Parse(f); err != nil || n.Address.String() != "192.168.100.1" {
			t.Errorf("%+v %v", n, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, f := range map[string][]byte{
		"empty":               nil,
		"not LLDP":            append([]byte("\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x07\x08\x00"), chassis+port+ttl+end...),
		"no end":              announcement(chassis, port, ttl),
		"no port":             announcement(chassis, ttl, end),
		"port first":          announcement(port, chassis, ttl, end),
		"chassis twice":       announcement(chassis, port, ttl, chassis, end),
		"end with value":      announcement(chassis, port, ttl, tlv(typeEnd, "x")),
		"empty chassis":       announcement(tlv(typeChassis, "\x04"), port, ttl, end),
		"past the end":        announcement(chassis, port, ttl, "\x0a\xffmgmt"),
		"end at once":         announcement(end),
		"longer than a frame": announcement(append([]string{chassis, port, ttl}, strings.Split(strings.Repeat(tlv(127, strings.Repeat("x", 300))+"|", 5)+end, "|")...)...),
	} {
		t.Run(name, func(t *testing.T) {
			if n, err := Parse(f); err == nil {
				t.Errorf("%+v", n)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	r := &rack.Rack{Agent: rack.Agent{Cable: rack.Port{Device: "mgmt-1", Name: "48"}}, Devices: []rack.Device{{Name: "mgmt-1"}, {Name: "tor-1"}}}
	for _, c := range []struct {
		n    Neighbour
		want Verdict
		says string
	}{
		{Neighbour{System: "mgmt-1", Port: "swp48"}, Agrees, "we are plugged into mgmt-1 port swp48, as the rack file says"},
		{Neighbour{System: "MGMT-1.example.org", Port: "Ethernet1/48"}, Agrees, "as the rack file says"},
		{Neighbour{System: "mgmt-1", Port: "ifindex 51", Description: "48"}, Agrees, "port ifindex 51 (48)"},
		{Neighbour{System: "mgmt-1", Port: "swp47"}, Differs, "but the rack file says mgmt-1:48: move the cable"},
		{Neighbour{System: "tor-1", Port: "swp48"}, Differs, "which is another device of this rack"},
		{Neighbour{System: "mgmt-1", Port: "02:00:00:00:00:09", portIsMAC: true}, CannotTell, "does not say which port"},
		{Neighbour{System: "localhost", Port: "swp48"}, CannotTell, "it may not be imaged yet"},
		{Neighbour{Chassis: "02:00:00:00:00:07", Port: "swp1"}, CannotTell, "chassis 02:00:00:00:00:07 port swp1"},
	} {
		v, text := Compare(c.n, r)
		if v != c.want || !strings.Contains(text, c.says) {
			t.Errorf("%+v: %s %q, want %s %q", c.n, v, text, c.want, c.says)
		}
	}
}

func TestSamePort(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"48", "swp48", true}, {"48", "Ethernet48", true}, {"48", "Gi1/0/48", true}, {"1/48", "Ethernet1/48", true}, {"eth48", "eth48", true}, {"Uplink", "uplink", true},
		{"48", "048", true}, {"1/48", "Ethernet2/48", false}, {"48", "47", false}, {"48", "", false}, {"", "", false}, {"48", "mgmt", false}, {"48", "swp48s1", false}, {"1", "swp1:4", false}, {"0", "eth0", true},
	} {
		if got := samePort(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
		if got := samePort(c.b, c.a); got != c.want {
			t.Errorf("%q and %q: %v", c.b, c.a, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(announcement(chassis, port, ttl, tlv(typeDescription, "x"), tlv(typeSystem, "y"), tlv(typeAddress, "\x05\x01\xc0\xa8\x64\x01"), end))
	f.Add(announcement(chassis, port, ttl, end, "filled up"))
	r := &rack.Rack{Agent: rack.Agent{Cable: rack.Port{Device: "mgmt-1", Name: "48"}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Parse(b)
		if err != nil {
			return
		}
		if n.Chassis == "" || n.Port == "" {
			t.Errorf("%+v", n)
		}
		_, text := Compare(n, r)
		if len(text) > 1000 {
			t.Errorf("%d characters", len(text))
		}
		for _, c := range text + n.About {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is not printable", text)
			}
		}
	})
}
