package sim

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// openTo says through which switches the data ends of a rack are open when each
// switch forwards between the given ports.
func pathsOf(r *rack.Rack, ports map[string]string) map[string]string {
	out := map[string]string{}
	for p, hops := range newTopology(r).paths(func(d string) ([]string, bool) {
		list, ok := ports[d]
		return strings.Fields(list), ok
	}) {
		out[p.String()] = strings.Join(via(hops), ">")
	}
	return out
}

func TestPathsNeedBothPorts(t *testing.T) {
	r := testRack()
	for _, c := range []struct {
		name  string
		ports map[string]string
		port  string
		want  string
	}{
		{"nothing forwards", nil, "mgmt-1:1", ""},
		{"management", map[string]string{"mgmt-1": "48 1"}, "mgmt-1:1", "mgmt-1"},
		{"a port is not configured", map[string]string{"mgmt-1": "48 2"}, "mgmt-1:1", ""},
		{"the agent's port is not configured", map[string]string{"mgmt-1": "1 45"}, "mgmt-1:1", ""},
		{"through the ToR", map[string]string{"mgmt-1": "48 43", "tor-1": "1"}, "tor-1:1", "mgmt-1>tor-1"},
		{"the ToR's uplink is dark", map[string]string{"mgmt-1": "48", "tor-1": "1"}, "tor-1:1", ""},
		{"the ToR's management port carries nothing", map[string]string{"mgmt-1": "48 45", "tor-1": "1"}, "tor-1:1", ""},
		{"only the ToR forwards", map[string]string{"tor-1": "1"}, "tor-1:1", ""},
	} {
		if got := pathsOf(r, c.ports)[c.port]; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPathsOverLinks(t *testing.T) {
	r := testRack()
	r.Devices = append(r.Devices,
		rack.Device{Name: "tor-2", Role: rack.ToRSwitch, Platform: "onie-switch", Address: netip.MustParseAddr("192.168.100.3"), Management: port("mgmt-1:46"), Data: []rack.Port{port("mgmt-1:44")}},
		rack.Device{Name: "spine-1", Role: rack.InterRackSwitch, Platform: "onie-switch", Address: netip.MustParseAddr("192.168.100.4"), Management: port("mgmt-1:47")})
	r.Links = []rack.Link{{A: port("tor-1:49"), B: port("spine-1:1")}, {A: port("tor-2:53"), B: port("tor-1:53"), Kind: rack.PeerLink},
		{A: port("tor-1:54"), B: port("external:datacenter")}}
	all := map[string]string{"mgmt-1": "48 43 44 45 46 47 1", "tor-1": "1 2 49 53 54", "tor-2": "1 53", "spine-1": "1 2"}
	for p, want := range map[string]string{"tor-1:1": "mgmt-1>tor-1", "tor-2:1": "mgmt-1>tor-2", "spine-1:2": "mgmt-1>tor-1>spine-1", "tor-1:54": "mgmt-1>tor-1"} {
		if got := pathsOf(r, all)[p]; got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	all["mgmt-1"] = "48 44" // tor-1's uplink is dark: its peer leads there
	if got := pathsOf(r, all)["tor-1:1"]; got != "mgmt-1>tor-2>tor-1" {
		t.Errorf("around: %q", got)
	}
}

func TestTempo(t *testing.T) {
	c := tempo{speed: 60, seed: 7}
	a, b := c.around(time.Minute, "x", "post", 1), c.around(time.Minute, "x", "post", 1)
	if a != b {
		t.Errorf("one seed, two durations: %v %v", a, b)
	}
	if other := (tempo{60, 8}).around(time.Minute, "x", "post", 1); other == a {
		t.Errorf("two seeds, one duration: %v", a)
	}
	for n := range 1000 {
		if d := c.around(time.Minute, "x", "post", n); d < 800*time.Millisecond || d > 1200*time.Millisecond {
			t.Fatalf("%v is more than a fifth off", d)
		}
	}
	r := retries{first: 4, most: 10}
	if r.wait(0) != 4 || r.wait(1) != 8 || r.wait(2) != 10 || r.wait(1000) != 10 {
		t.Errorf("back-off %d %d %d", r.wait(0), r.wait(1), r.wait(2))
	}
}

func TestReadInstaller(t *testing.T) {
	whole := "#!/bin/sh\n# payload-sha256: " + hexSum([]byte("pay\nload")) + "\n__ARCHIVE__\npay\nload"
	f, err := readInstaller(strings.NewReader(whole))
	if err != nil || f.payload != f.wanted || f.digest != "sha256:"+hexSum([]byte(whole)) {
		t.Errorf("%+v %v", f, err)
	}
	for bad, want := range map[string]string{
		"":                  "header",
		"MZ\n__ARCHIVE__\n": "does not begin with",
		"#!/bin/sh\n":       "header",
		"#!/bin/sh\n" + strings.Repeat("x\n", 300): "no line __ARCHIVE__",
		"#!/bin/sh\n" + strings.Repeat("x", 1<<20): "header",
	} {
		if _, err := readInstaller(io.Reader(strings.NewReader(bad))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestJobOf(t *testing.T) {
	got, err := jobOf([]byte("#!ipxe\n# x\nkernel http://a/k quiet rackreach.job=http://a/job/1\nboot\n"))
	if err != nil || got != "http://a/job/1" {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"", "kernel x rackreach.job=y", "#!ipxe\nboot\n", "#!ipxe\nkernel x\n"} {
		if got, err := jobOf([]byte(bad)); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
	if p := tftpPath("tftp://10.0.0.1/a/boot.ipxe"); p != "a/boot.ipxe" {
		t.Error(p)
	}
}

func TestONIEOption(t *testing.T) {
	url := append([]byte{0, 0, 0, 9, 2, 1, 0, 0, 0, 0xa6, 0x7f, 5, 1, 3}, "u:/"...)
	if got := ocpOption(url, 1); got != "u:/" {
		t.Errorf("%q", got)
	}
}

func FuzzOCPOption(f *testing.F) {
	f.Add([]byte{0, 0, 0xa6, 0x7f, 4, 1, 2, 'a', 'b'})
	f.Add([]byte{0, 0, 0xa6, 0x7f, 255, 1, 255})
	f.Fuzz(func(_ *testing.T, b []byte) { ocpOption(b, 1) })
}
