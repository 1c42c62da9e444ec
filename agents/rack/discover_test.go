package rackagent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/adjacency"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

// discoverer is one without an interface, and what it told.
func discoverer(t *testing.T) (*Discoverer, *[]Notice) {
	t.Helper()
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	var told []Notice
	own := netip.MustParsePrefix("192.168.100.254/24")
	line := &Line{rack: r, link: &wire.Link{Name: "rr9", Addresses: []netip.Prefix{own}}, own: own.Addr(),
		tell: newTeller(r.Name, func(n Notice) { told = append(told, n) }), metrics: newLineMetrics(r.Name)}
	d := &Discoverer{Line: line, o: DiscoverOptions{Rack: r, Platforms: platform.All()}, metrics: newDiscoverMetrics(r.Name), binder: rack.NewBinder(r, platform.All()), running: map[string]bool{}}
	d.swap()
	return d, &told
}

func texts(told []Notice) (out []string) {
	for _, n := range told {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s: %s", n.Kind, n.Device, n.Text)))
	}
	return out
}

// Each thing is told once.
func TestDiscovererTells(t *testing.T) {
	d, told := discoverer(t)
	see := func(o rack.Observation, s discovery.Seen) { s.Observation, s.Keys.MAC = o, o.MAC; d.seen(s) }
	mac := "02:00:00:00:00:01"
	pxe := rack.Observation{Device: "server-01", MAC: mac, Stage: rack.StagePXE, Via: rack.Port{Device: "tor-1", Name: "1"}}
	for range 2 {
		see(pxe, discovery.Seen{Binding: rack.Binding{Device: "server-01", How: rack.ByPort}})
		see(pxe, discovery.Seen{Binding: rack.Binding{Device: "server-01", How: rack.ByPort}, Address: "10.0.1.11"})
	}
	declined := pxe
	declined.Proves, declined.Address = rack.DHCPDeclined, "10.0.1.11"
	for range 2 {
		see(declined, discovery.Seen{Binding: rack.Binding{Device: "server-01", How: rack.ByPort}})
	}
	stranger := rack.Observation{MAC: "02:00:00:00:00:09", Stage: rack.StageUnknown, Vendor: "Quanta"}
	see(stranger, discovery.Seen{Err: fmt.Errorf("%w: because", rack.ErrUnknown)})
	see(stranger, discovery.Seen{Err: fmt.Errorf("%w: because", rack.ErrUnknown), Address: "10.0.1.200", Alarm: "the pool is nearly empty"})
	offered := rack.Observation{MAC: "02:00:00:00:00:0a"}
	see(offered, discovery.Seen{Err: fmt.Errorf("%w: because", rack.ErrUnknown), Offered: "10.0.1.201"})
	see(stranger, discovery.Seen{Err: fmt.Errorf("%w: it could be two", rack.ErrAmbiguous)})
	const declines = "declined server-01: 02:00:00:00:00:01 refuses its address 10.0.1.11: somebody else has it: find that with: arping -I rr9 10.0.1.11"
	want := []string{
		"seen server-01: 02:00:00:00:00:01 is pxe (through tor-1:1), by its port",
		"address server-01: 02:00:00:00:00:01 has the address 10.0.1.11",
		declines,
		"stranger : 02:00:00:00:00:09, of an unknown kind (Quanta), is not answered: no slot of this rack fits: because",
		"alarm : 02:00:00:00:00:09: the pool is nearly empty",
		"stranger : 02:00:00:00:00:09, of an unknown kind (Quanta), has the address 10.0.1.200 for strangers: no slot of this rack fits: because",
		"stranger : 02:00:00:00:00:0a, of an unknown kind, is offered the address 10.0.1.201 for strangers: no slot of this rack fits: because",
		"ambiguous : 02:00:00:00:00:09, of an unknown kind (Quanta), is not answered: ambiguous component: it could be two",
	}
	if got := texts(*told); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// What was learnt stands in the next table.
	if _, b, err := d.table.Load().Lookup(rack.Keys{MAC: mac, Stage: rack.StageOS, Direct: true}); err != nil || b.Device != "server-01" || b.How != rack.ByMAC {
		t.Errorf("%+v %v", b, err)
	}
}

// Strangers without end fill neither memory nor screen.
func TestTellerIsBounded(t *testing.T) {
	told := map[NoticeKind]int{}
	x := newTeller("r1", func(n Notice) { told[n.Kind]++ })
	for i := range 20_000 {
		x.say(Notice{Kind: NoticeStranger, MAC: fmt.Sprint(i)})
	}
	if told[NoticeStranger] != noticesStrangers || told[NoticeStrangers] != 1 || len(x.told) > maxNotices {
		t.Errorf("%v, %d kept", told, len(x.told))
	}
	x.say(Notice{Kind: NoticeSeen, MAC: "a"})
	x.say(Notice{Kind: NoticeSeen, MAC: "a"})
	for i := range 20_000 {
		x.say(Notice{Kind: NoticeInUse, MAC: fmt.Sprint(i)})
	}
	if told[NoticeSeen] != 1 || told[NoticeInUse] != 20_000 || len(x.told) > maxNotices {
		t.Errorf("%v, %d kept", told, len(x.told))
	}
}

func TestForeignServers(t *testing.T) {
	found := []foreign.Server{{Address: netip.MustParseAddr("10.0.0.9"), MAC: "02:00:00:00:00:09"}, {Address: netip.MustParseAddr("10.0.0.8"), MAC: "02:00:00:00:00:08"}}
	for _, c := range []struct {
		allow []string
		want  int
	}{{nil, 2}, {[]string{"10.0.0.9"}, 1}, {[]string{"10.0.0.9", "10.0.0.8"}, 0}, {[]string{"eth1"}, 0}, {[]string{"eth0"}, 2}} {
		n := 0
		if err := Foreign(found, "eth1", c.allow); err != nil {
			n = len(strings.Split(err.Error(), "\n"))
		}
		if n != c.want {
			t.Errorf("--allow %v refuses %d servers, want %d", c.allow, n, c.want)
		}
	}
}

// The management switch says at which port it has a BMC, once its system runs.
func TestPortsOfBMCs(t *testing.T) {
	d, _ := discoverer(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := w.Write([]byte(`[{"port":"3","mac":"02:00:00:00:00:03"}]`)); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	asked := ""
	asker, err := newAsker(&Options{Rack: d.o.Rack, Platforms: d.o.Platforms, Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
		asked = to
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, s.Listener.Addr().String())
	}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bmcs{d: d, macs: asker}
	if got := b.ports(t.Context()); len(got) != 0 || asked != "" {
		t.Errorf("%v, and %q was asked, which nobody saw running", got, asked)
	}
	d.learn(&rack.Observation{Device: "mgmt-1", Stage: rack.StageNOS})
	got := b.ports(t.Context())
	if fmt.Sprint(got) != "map[02:00:00:00:00:03:mgmt-1:3]" || asked != "192.168.100.1:80" {
		t.Errorf("%v, asked %s", got, asked)
	}
	bound, err := d.bindBMC(rack.Keys{Via: got["02:00:00:00:00:03"], UUID: "4c4c4544004235108052b4c04f4e3132"}, netip.MustParseAddr("192.168.100.77"), false)
	if err != nil || bound.Device != "server-03" {
		t.Errorf("%+v %v", bound, err)
	}
	// Its GUID, in another order, is its host's.
	if _, b, err := d.table.Load().Lookup(rack.Keys{UUID: "44454c4c420010358052b4c04f4e3132", Stage: rack.StagePXE, Direct: true}); err != nil || b.Device != "server-03" {
		t.Errorf("%+v %v", b, err)
	}
	// Who merely took an address teaches nothing, unless it let us in.
	for _, in := range []bool{false, true} {
		if _, err := d.bindBMC(rack.Keys{MAC: "02:00:00:00:00:66"}, netip.MustParseAddr("192.168.100.104"), in); err != nil {
			t.Error(err)
		}
		_, bound, err := d.table.Load().Lookup(rack.Keys{MAC: "02:00:00:00:00:66", Stage: rack.StageBMC, Direct: true})
		if learnt := err == nil && bound.Device == "server-04" && bound.How == rack.ByMAC; learnt != in {
			t.Errorf("let in: %v, but %+v %v", in, bound, err)
		}
	}
}

// A real management switch is asked as its platform says, at the same time and to the same
// end; one that does not answer is told of once, and one whose platform does not say how is
// not asked at all.
func TestPortsOfBMCsOnARealSwitch(t *testing.T) {
	answer := `[{"mac":"02:00:00:00:00:03","ifname":"swp3","flags":[],"master":"br0","state":""}]`
	dialled := 0
	c := &console{password: "secret", answer: func(command string) (string, bool) { return answer, command == "bridge -j fdb show" }}
	dial := c.dial(t)
	d, told := discoverer(t)
	known := map[string]rack.Platform{"acme": {MACs: &rack.Ask{Run: "bridge -j fdb show", Format: string(adjacency.Bridge)}}, "mute": {}}
	for i := range d.o.Rack.Devices {
		if x := &d.o.Rack.Devices[i]; x.Name == "mgmt-1" {
			x.Platform, x.Access = "acme", &rack.Access{Credentials: "env:X"}
		}
	}
	mgmt, _ := d.o.Rack.Device("mgmt-1")
	asker, err := newAsker(&Options{Rack: d.o.Rack, Platforms: known, Credentials: func(string) (string, string, error) { return "admin", "secret", nil }, Dial: func(ctx context.Context, network, to string) (net.Conn, error) {
		dialled++
		return dial(ctx, network, to)
	}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bmcs{d: d, macs: asker}
	if got := b.ports(t.Context()); len(got) != 0 || dialled != 0 {
		t.Errorf("%v, and it was asked, which nobody saw running", got)
	}
	d.learn(&rack.Observation{Device: "mgmt-1", Stage: rack.StageNOS})
	if got := b.ports(t.Context()); fmt.Sprint(got) != "map[02:00:00:00:00:03:mgmt-1:3]" || len(*told) != 0 {
		t.Errorf("%v, told %q", got, texts(*told))
	}
	answer = "{"
	for range 2 {
		if got := b.ports(t.Context()); len(got) != 0 {
			t.Errorf("%v", got)
		}
	}
	if got := texts(*told); len(got) != 1 || !strings.HasPrefix(got[0], "trouble mgmt-1: its MAC table, by which BMCs are tied to their ports, cannot be read: mgmt-1: ") {
		t.Errorf("%q", got)
	}
	mgmt.Platform, dialled = "mute", 0
	if got := b.ports(t.Context()); len(got) != 0 || dialled != 0 || len(*told) != 1 {
		t.Errorf("%v, dialled %d times", got, dialled)
	}
}

// A stranger is never logged in to, and nobody with another slot's credentials.
func TestWhoseLogin(t *testing.T) {
	d, _ := discoverer(t)
	asked := 0
	d.o.Credentials = func(string) (string, string, error) { asked++; return "admin", "secret", nil }
	b := &bmcs{d: d}
	if x, login := b.target(netip.MustParseAddr("192.168.100.77")); login || x.User != "" || x.Password != "" || asked != 0 {
		t.Errorf("a stranger: %+v %v", x, login)
	}
	if x, login := b.target(netip.MustParseAddr("192.168.100.104")); !login || x.Device != "server-04" || x.Password != "secret" {
		t.Errorf("%+v %v", x, login)
	}
}

// BenchmarkSeen is what a packet of a stranger costs that was told before.
func BenchmarkSeen(b *testing.B) {
	d := &Discoverer{Line: &Line{tell: newTeller("r1", func(Notice) {})}}
	s := discovery.Seen{Observation: rack.Observation{MAC: "02:00:00:00:00:09", Stage: rack.StageUnknown, Vendor: "Quanta"}, Err: rack.ErrUnknown, Evidence: "none"}
	b.ReportAllocs()
	for b.Loop() {
		d.seen(s)
	}
}
