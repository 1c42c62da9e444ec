package sim

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// pod is a rack with an inter-rack switch, two ToR switches, and links.
func pod(name string, links ...string) *rack.Rack {
	r := &rack.Rack{Name: name, Number: 2, Agent: rack.Agent{Cable: port("mgmt-1:48")},
		Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.1.0/24"),
		Devices: []rack.Device{
			{Name: "mgmt-1", Role: rack.ManagementSwitch, Platform: "pxe-switch", Address: netip.MustParseAddr("192.168.100.1"), BMC: &rack.BMC{Protocol: "ipmi", Address: netip.MustParseAddr("192.168.100.201")}},
			{Name: "tor-1", Role: rack.ToRSwitch, Platform: "onie-switch", Address: netip.MustParseAddr("192.168.100.2"), Management: port("mgmt-1:45"), Data: []rack.Port{port("mgmt-1:43")}},
			{Name: "tor-2", Role: rack.ToRSwitch, Platform: "onie-switch", Address: netip.MustParseAddr("192.168.100.3"), Management: port("mgmt-1:46"), Data: []rack.Port{port("mgmt-1:44")}},
			{Name: "inter-rack-1", Role: rack.InterRackSwitch, Platform: "onie-switch", Address: netip.MustParseAddr("192.168.100.4"), Management: port("mgmt-1:49")},
		}}
	for _, s := range links {
		a, b, _ := strings.Cut(s, " ")
		at := strings.LastIndexByte(b, ':')
		r.Links = append(r.Links, rack.Link{A: port(a), B: rack.Port{Device: b[:at], Name: b[at+1:]}, Kind: rack.Trunk})
	}
	return r
}

// side is one rack's LLDP without sockets, its switches switched by hand.
type side struct {
	*lldp
	t *testing.T
}

func newSide(t *testing.T, r *rack.Rack, swaps ...string) *side {
	t.Helper()
	var list []Swap
	for _, s := range swaps {
		x, err := ParseSwap(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	if err := CheckSwaps(list, r); err != nil {
		t.Fatal(err)
	}
	y, err := newLLDP(r, newFabric(r, &record{}), list)
	if err != nil {
		t.Fatal(err)
	}
	return &side{y, t}
}

func (s *side) up(devices ...string) *side {
	for _, d := range devices {
		s.fabric.forward(d, nil)
	}
	return s
}

// hear is what a switch hears, in words.
func (s *side) hear(device string) string {
	var out []string
	for _, n := range s.neighbours(device) {
		out = append(out, fmt.Sprintf("%s<%s/%s:%s", n.Port, n.Rack, n.Device, n.RemotePort))
	}
	return strings.Join(out, " ")
}

func (s *side) hears(device, want string) {
	s.t.Helper()
	if got := s.hear(device); got != want {
		s.t.Errorf("%s of %s hears %q, want %q", device, s.rack.Name, got, want)
	}
}

// plugged lets two racks converse until the returned function is called.
func plugged(a, b *side) (unplug func()) {
	x, y := net.Pipe()
	done := make(chan error, 2)
	go func() { done <- a.converse(a.t.Context(), newFramed(x), b.rack.Name, time.Second) }()
	go func() { done <- b.converse(b.t.Context(), newFramed(y), a.rack.Name, time.Second) }()
	return func() {
		x.Close()
		<-done
		<-done
	}
}

func TestNeighboursWithinARack(t *testing.T) {
	s := newSide(t, pod("r2", "tor-1:49 inter-rack-1:1", "tor-2:49 inter-rack-1:2", "tor-1:53 tor-2:53", "tor-1:54 external:datacenter"))
	s.up("tor-1")
	s.hears("tor-1", "")
	s.up("inter-rack-1")
	s.hears("tor-1", "49<r2/inter-rack-1:1")
	s.hears("tor-2", "") // it does not run: it hears nothing
	s.up("tor-2")
	s.hears("inter-rack-1", "1<r2/tor-1:49 2<r2/tor-2:49")
	s.hears("tor-1", "49<r2/inter-rack-1:1 53<r2/tor-2:53")
	s.fabric.block("tor-2")
	s.hears("tor-1", "49<r2/inter-rack-1:1")
}

func TestNeighboursBetweenRacks(t *testing.T) {
	both := []string{"inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:8 rack:r1/tor-2:49"}
	for _, tt := range []struct {
		name         string
		r1           []string // links that the other file names
		swaps        []string // in the rack whose file names the first port
		tor1, spine1 string
	}{
		{"one file names the cables", nil, nil, "49<r2/inter-rack-1:7", "7<r1/tor-1:49 8<r1/tor-2:49"},
		{"both files name them", []string{"tor-1:49 rack:r2/inter-rack-1:7", "tor-2:49 rack:r2/inter-rack-1:8"}, nil, "49<r2/inter-rack-1:7", "7<r1/tor-1:49 8<r1/tor-2:49"},
		{"crossed, and one file names them", nil, []string{"inter-rack-1:7=inter-rack-1:8"}, "49<r2/inter-rack-1:8", "7<r1/tor-2:49 8<r1/tor-1:49"},
		{"crossed, and both files name them", []string{"tor-1:49 rack:r2/inter-rack-1:7", "tor-2:49 rack:r2/inter-rack-1:8"}, []string{"inter-rack-1:7=inter-rack-1:8"}, "49<r2/inter-rack-1:8", "7<r1/tor-2:49 8<r1/tor-1:49"},
		{"crossed in the rack whose name comes first", []string{"tor-1:49 rack:r2/inter-rack-1:7", "tor-2:49 rack:r2/inter-rack-1:8"}, []string{"tor-1:49=tor-2:49"}, "49<r2/inter-rack-1:8", "7<r1/tor-2:49 8<r1/tor-1:49"},
		{"the files contradict each other", []string{"tor-1:50 rack:r2/inter-rack-1:7"}, nil, "49<r2/inter-rack-1:7", "7<r1/tor-1:49 8<r1/tor-2:49"},
		{"the port is taken", []string{"tor-1:49 tor-2:1"}, nil, "49<r1/tor-2:1", "8<r1/tor-2:49"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				swaps := map[bool][]string{strings.HasPrefix(strings.Join(tt.swaps, ""), "tor"): tt.swaps}
				r1, r2 := newSide(t, pod("r1", tt.r1...), swaps[true]...), newSide(t, pod("r2", both...), swaps[false]...)
				r1.up("tor-1", "tor-2")
				unplug := plugged(r1, r2)
				synctest.Wait()
				r1.hears("inter-rack-1", "")
				if got := r1.hear("tor-1"); strings.Contains(got, "r2") {
					t.Errorf("a switch that does not run is heard: %s", got)
				}
				r2.up("inter-rack-1")
				synctest.Wait()
				r1.hears("tor-1", tt.tor1)
				r2.hears("inter-rack-1", tt.spine1)
				time.Sleep(time.Hour) // kept up
				r1.hears("tor-1", tt.tor1)
				r2.fabric.block("inter-rack-1")
				synctest.Wait()
				if got := r1.hear("tor-1"); strings.Contains(got, "r2") {
					t.Errorf("a switch that went down is heard: %s", got)
				}
				r2.up("inter-rack-1")
				unplug()
				if got := r1.hear("tor-1"); strings.Contains(got, "r2") {
					t.Errorf("a rack that went away is heard: %s", got)
				}
			})
		})
	}
}

// A peer that is frozen, and keeps its connection, is forgotten after the time
// to live of its last announcement.
func TestASilentPeerIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r1 := newSide(t, pod("r1")).up("tor-1")
		x, y := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- r1.converse(t.Context(), newFramed(x), "r2", time.Second) }()
		f := newFramed(y)
		var got announcement
		if err := f.hear(&got); err != nil || got.TTL != 4000 {
			t.Errorf("%+v %v", got, err)
		}
		if err := f.say(announcement{TTL: 8000, Cables: []announced{{"inter-rack-1:7", "tor-1:49", true, false}}}); err != nil {
			t.Error(err)
		}
		if err := f.hear(&got); err != nil || len(got.Cables) != 1 || got.Cables[0] != (announced{"tor-1:49", "inter-rack-1:7", true, false}) {
			t.Errorf("its own cable comes back as %+v %v", got, err)
		}
		go func() { // it reads, but says nothing more
			for f.hear(&got) == nil {
			}
		}()
		time.Sleep(7 * time.Second)
		r1.hears("tor-1", "49<r2/inter-rack-1:7")
		time.Sleep(2 * time.Second)
		r1.hears("tor-1", "")
		if err := <-done; err == nil {
			t.Error("the conversation ended as if all were well")
		}
		y.Close()
	})
}

// What a peer says cannot name what this rack does not have, and is bounded.
func TestHostileAnnouncements(t *testing.T) {
	s := newSide(t, pod("r1", "tor-1:53 tor-2:53")).up("tor-1", "tor-2", "mgmt-1")
	p := &peer{rack: "r2", wake: make(chan struct{}, 1)}
	s.peers[p] = struct{}{}
	var a announcement
	for _, far := range []string{"tor-9:1", "tor-1", "", "tor-1:53", "mgmt-1:45", "mgmt-1:43", "mgmt-1:48", "tor-1:\x1b[2J", "tor-1:" + strings.Repeat("9", 200)} {
		a.Cables = append(a.Cables, announced{"inter-rack-1:7", far, true, true})
	}
	for _, near := range []string{"", "x", "x:\n", ":", strings.Repeat("x", 100) + ":1"} {
		a.Cables = append(a.Cables, announced{near, "tor-1:1", true, false})
	}
	if err := s.lldp.hears(p, a); err != nil {
		t.Error(err)
	}
	for _, d := range []string{"tor-1", "tor-2", "mgmt-1"} {
		if got := s.hear(d); strings.Contains(got, "r2") {
			t.Errorf("%s hears %q", d, got)
		}
	}
	if err := s.lldp.hears(p, announcement{Cables: make([]announced, maxCrossings+1)}); err == nil {
		t.Error("endlessly many cables")
	}
}

func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(`{"ttlMillis":1000,"cables":[{"near":"inter-rack-1:7","far":"tor-1:49","speaks":true}]}`))
	f.Add([]byte(`{"cables":[{"near":"a:1","far":"tor-1:49","moved":true,"speaks":true},{"near":"a:1","far":"tor-2:49"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSide(t, pod("r1", "tor-1:50 rack:r2/inter-rack-1:1")).up("tor-1", "tor-2")
		p := &peer{rack: "r2", wake: make(chan struct{}, 1)}
		s.peers[p] = struct{}{}
		var a announcement
		if json.Unmarshal(b, &a) != nil || s.lldp.hears(p, a) != nil {
			return
		}
		for _, n := range append(s.neighbours("tor-1"), s.neighbours("tor-2")...) {
			if n.Rack != "r2" || !named(n.Port) || !named(n.Device) || !named(n.RemotePort) {
				t.Errorf("%+v", n)
			}
		}
		if b, err := json.Marshal(s.says(p, time.Second)); err != nil || len(b) > maxFrame {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}

func TestParseSwap(t *testing.T) {
	r := pod("r2", "inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:8 rack:r1/tor-2:49", "tor-1:49 inter-rack-1:1")
	for text, says := range map[string]string{
		"inter-rack-1:7=inter-rack-1:8": "",
		"inter-rack-1:7":                "write PORT=PORT",
		"inter-rack-1:7=inter-rack-1:7": "write PORT=PORT",
		"inter-rack-1=inter-rack-2":     "write PORT=PORT",
		"inter-rack-1:7=tor-1:49":       "no link of rack r2 leads from tor-1:49 to another rack",
	} {
		s, err := ParseSwap(text)
		if err == nil && s.String() != text {
			t.Errorf("%q is read as %q", text, s)
		}
		if err == nil {
			err = CheckSwaps([]Swap{s}, r)
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	s, _ := ParseSwap("inter-rack-1:7=inter-rack-1:8")
	if err := CheckSwaps([]Swap{s, s}, r); err == nil || !strings.Contains(err.Error(), "swapped already") {
		t.Error(err)
	}
}

// powered is a served rack whose peers are sought.
func powered(t *testing.T, r *rack.Rack, path string, peers map[string]string) (s *Sim, stop func()) {
	t.Helper()
	s, err := New(Options{Rack: r, Platforms: testPlatforms(), Speed: testSpeed, Peers: peers})
	if err != nil {
		t.Fatal(err)
	}
	end := served(t, s, path)
	s.Start(t.Context())
	return s, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		end()
	}
}

// until waits for a switch to hear something.
func (s *Sim) until(t *testing.T, device, want string) {
	t.Helper()
	v := &side{s.lldp, t}
	deadline := time.Now().Add(patience)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for v.hear(device) != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s of %s hears %q, want %q", device, s.rack.Name, v.hear(device), want)
		}
		<-again.C
	}
}

// Over real sockets: the other rack comes later, goes, and comes back; a socket
// of a rack of another name is no neighbour.
func TestPeersComeAndGo(t *testing.T) {
	t.Parallel()
	path1, path2, path3 := socketPath(t), socketPath(t), socketPath(t)
	r2, stop2 := powered(t, pod("r2", "inter-rack-1:7 rack:r1/tor-1:49", "inter-rack-1:9 rack:r3/tor-1:49"), path2, map[string]string{"r1": path1, "r3": path1})
	r2.fabric.forward("inter-rack-1", nil)
	for range 2 {
		r1, stop1 := powered(t, pod("r1"), path1, nil)
		r1.fabric.forward("tor-1", nil)
		r1.until(t, "tor-1", "49<r2/inter-rack-1:7")
		r2.until(t, "inter-rack-1", "7<r1/tor-1:49")
		stop1()
		r2.until(t, "inter-rack-1", "")
	}
	// A rack whose file names no cable may look for the others, too.
	r1, stop1 := powered(t, pod("r1"), path3, map[string]string{"r2": path2})
	r1.fabric.forward("tor-1", nil)
	r1.until(t, "tor-1", "49<r2/inter-rack-1:7")
	stop2()
	r1.until(t, "tor-1", "")
	stop1()
}

// The device API says what an imaged and configured switch hears; a rack of the
// wrong name, or one that calls itself by ours, is refused.
func TestNeighboursAreAnswered(t *testing.T) {
	a, r, path := joined(t)
	defer a.die(r)
	a.imageSwitches()
	if code, text, err := a.api("tor-1", http.MethodGet, "neighbours", nil, patience); err != nil || code != http.StatusOK || text != "[]" {
		t.Errorf("%d %s %v", code, text, err)
	}
	r2, stop := powered(t, pod("r2", "inter-rack-1:7 rack:r1/tor-1:49"), socketPath(t), map[string]string{"r1": path})
	defer stop()
	r2.fabric.forward("inter-rack-1", nil)
	r2.until(t, "inter-rack-1", "7<r1/tor-1:49")
	a.sim.until(t, "tor-1", "49<r2/inter-rack-1:7")
	code, text, err := a.api("tor-1", http.MethodGet, "neighbours", nil, patience)
	if want := `[{"port":"49","rack":"r2","device":"inter-rack-1","remotePort":"7"}]`; err != nil || code != http.StatusOK || text != want {
		t.Errorf("%d %s %v", code, text, err)
	}
	for _, q := range []request{{Op: opPeer, From: "r2", To: "r9"}, {Op: opPeer, From: "r1", To: "r1"}, {Op: opPeer, From: "\n", To: "r1"}, {Op: opPeer}} {
		if _, _, err := (&Remote{path: path}).ask(t.Context(), q); err == nil {
			t.Errorf("%+v was not refused", q)
		}
	}
}
