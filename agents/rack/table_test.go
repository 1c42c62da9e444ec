package rackagent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/simimage"
)

// What the boot table names follows the tickets: nothing without one, and no
// installer any more once it was delivered. A boot script stays: the installer
// that it starts is refused its image and reports that.
func TestTableFollowsTheTickets(t *testing.T) {
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	images, err := simimage.New(simimage.Specs())
	if err != nil {
		t.Fatal(err)
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tftp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		if err := tftp.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ipxe.efi"), []byte("loader"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaders, err := boot.LoadersIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	services, err := boot.New(boot.Options{HTTP: web, TFTP: tftp, BaseURL: "http://" + web.Addr().String(), Images: images, Loaders: loaders,
		Report: func(context.Context, boot.Report) error { return nil }, Fetched: func(boot.Ticket, rack.Evidence, rack.Source) {}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name            string
		open, delivered bool
		wantURL         bool
		wantBoot        bool
	}{{name: "no ticket"}, {"open", true, false, true, true}, {"delivered", true, true, false, true}} {
		t.Run(c.name, func(t *testing.T) {
			offer := actors.Offer{Binder: rack.NewBinder(r, platform.All())}
			var tickets []boot.Ticket
			for _, d := range []string{"tor-1", "server-01"} {
				if c.open {
					offer.Tickets = append(offer.Tickets, actors.Ticket{ID: d, Device: d, Delivered: c.delivered})
					tickets = append(tickets, boot.Ticket{ID: d, Device: d, Token: boot.Token([]byte("s"), d), Open: true})
				}
			}
			table := newTable(r, offer, netip.MustParseAddr("127.0.0.1"), nil, tickets, services)
			if got := table.provision["tor-1"]; got != (provision{}) {
				t.Errorf("tor-1, whose platform gives it nothing at its first boot, is told of %+v", got)
			}
			tor, _ := r.Device("tor-1")
			e, _, err := table.Lookup(rack.Keys{Via: tor.Management, Stage: rack.StageONIE, Model: "sim_tor48"})
			if err != nil || e.Address != tor.Address || (e.InstallerURL != "") != c.wantURL {
				t.Errorf("tor-1 in ONIE: %+v %v", e, err)
			}
			server, _ := r.Device("server-01")
			e, _, err = table.Lookup(rack.Keys{Via: server.Data[0], Stage: rack.StageIPXE})
			if err != nil || e.Address != server.Address || (e.BootFile != "") != c.wantBoot {
				t.Errorf("server-01 in iPXE: %+v %v", e, err)
			}
			script, loader := boot.Token([]byte("s"), "server-01")+"/boot.ipxe", boot.Token([]byte("s"), "server-01")+"/ipxe.efi"
			for _, x := range []struct {
				stage     rack.Stage
				arch      string
				file, url string
			}{
				{rack.StagePXE, "x86_64-uefi", loader, "http://" + web.Addr().String() + "/loader/" + loader},
				{rack.StagePXE, "x86-bios", script, ""}, // there is no loader for it
				{rack.StageIPXE, "x86_64-uefi", script, ""},
			} {
				e, _, err := table.Lookup(rack.Keys{Via: server.Data[0], Stage: x.stage, Arch: x.arch})
				if !c.wantBoot {
					x.file, x.url = "", ""
				}
				if err != nil || e.BootFile != x.file || e.BootURL != x.url || c.wantBoot && e.ScriptURL != "tftp://127.0.0.1/"+script {
					t.Errorf("server-01 in %s of %s: %+v %v", x.stage, x.arch, e, err)
				}
			}
			e, _, err = table.Lookup(rack.Keys{Via: server.Management, Stage: rack.StageBMC})
			if err != nil || e.Address != server.BMC.Address || e.BootFile != "" {
				t.Errorf("the BMC of server-01: %+v %v", e, err)
			}
		})
	}
}

// Who gets an address out of a pool, and of which: ends that have none of their
// own, and strangers only where the rack file lets them in.
func TestTableGivesPools(t *testing.T) {
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	r.ManagementPool = rack.Pool{First: ip("192.168.100.200"), Last: ip("192.168.100.210"), Strangers: true}
	r.DataPool = rack.Pool{First: ip("10.0.1.200"), Last: ip("10.0.1.210")}
	table := newTable(r, actors.Offer{Binder: rack.NewBinder(r, platform.All())}, ip("192.168.100.254"), nil, nil, nil)
	server, _ := r.Device("server-01")
	tor, _ := r.Device("tor-1")
	for _, c := range []struct {
		name      string
		keys      rack.Keys
		end, pool string
		stranger  bool
	}{
		{"a host on its own network", rack.Keys{Via: server.Data[0], Stage: rack.StageIPXE}, "data", "", false},
		{"a host on the other network", rack.Keys{Via: server.Management, Stage: rack.StageIPXE}, "management", "192.168.100.200", false},
		{"a switch on its own network", rack.Keys{Via: tor.Management, Stage: rack.StageONIE, Model: "sim_tor48"}, "management", "", false},
		{"a switch on the other network", rack.Keys{Via: tor.Data[0], Stage: rack.StageONIE, Model: "sim_tor48"}, "data", "10.0.1.200", false},
		{"a stranger on the agent's segment", rack.Keys{MAC: "02:00:00:00:00:01", Direct: true}, "", "192.168.100.200", true},
		{"a stranger whose relay speaks for the management network", rack.Keys{MAC: "02:00:00:00:00:01", Link: ip("192.168.100.9")}, "", "192.168.100.200", true},
		{"a stranger on a network without strangers", rack.Keys{MAC: "02:00:00:00:00:01", Link: ip("10.0.1.9")}, "", "", true},
		{"a stranger of another network", rack.Keys{MAC: "02:00:00:00:00:01", Link: ip("172.16.0.9")}, "", "", true},
		{"a stranger behind a port", rack.Keys{MAC: "02:00:00:00:00:01", Via: rack.Port{Device: "mgmt-1", Name: "40"}}, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, b, err := table.Lookup(c.keys)
			if c.stranger != errors.Is(err, rack.ErrUnknown) || (err == nil) == c.stranger {
				t.Fatalf("error %v", err)
			}
			pool := ""
			if e.Pool.IsValid() {
				pool = e.Pool.First.String()
			}
			if e.End != c.end || pool != c.pool || (pool != "" && !e.Prefix.Contains(e.Pool.First)) || (pool != "" && e.BootFile+e.InstallerURL != "") {
				t.Errorf("%+v %+v", e, b)
			}
		})
	}
}

// Everybody is told of the servers of the site, and of the router of the network that
// they are on.
func TestTableTellsOfTheSite(t *testing.T) {
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	r.ManagementRouter, r.DataRouter = ip("192.168.100.250"), ip("10.0.1.250")
	r.Services = rack.Services{DNS: []netip.Addr{ip("10.9.9.1"), ip("10.9.9.2")}, NTP: []netip.Addr{ip("10.9.9.3")}, Syslog: ip("10.9.9.4")}
	r.ManagementPool = rack.Pool{First: ip("192.168.100.200"), Last: ip("192.168.100.210"), Strangers: true}
	table := newTable(r, actors.Offer{Binder: rack.NewBinder(r, platform.All())}, ip("192.168.100.254"), nil, nil, nil)
	tor, _ := r.Device("tor-1")
	server, _ := r.Device("server-01")
	for name, c := range map[string]struct {
		keys   rack.Keys
		router string
	}{
		"switch": {rack.Keys{Via: tor.Management, Stage: rack.StageONIE, Model: "sim_tor48"}, "192.168.100.250"}, "server": {rack.Keys{Via: server.Data[0], Stage: rack.StageIPXE}, "10.0.1.250"},
		"BMC": {rack.Keys{Via: server.Management, Stage: rack.StageBMC}, "192.168.100.250"}, "stranger": {rack.Keys{MAC: "02:00:00:00:00:99", Link: ip("192.168.100.254")}, "192.168.100.250"},
	} {
		e, _, err := table.Lookup(c.keys)
		if err != nil && !errors.Is(err, rack.ErrUnknown) {
			t.Fatal(name, err)
		}
		if e.Router != ip(c.router) || e.DNS != (reply.Servers{ip("10.9.9.1"), ip("10.9.9.2")}) || e.NTP != (reply.Servers{ip("10.9.9.3")}) || e.Syslog != ip("10.9.9.4") {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// Whose firmware is to wait for its ticket is told to the DHCP engine, of no other device.
func TestTableLetsFirmwareWait(t *testing.T) {
	r, err := rackfile.Read(example, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(r, actors.Offer{Binder: rack.NewBinder(r, platform.All()), Pending: map[string]bool{"server-01": true}}, netip.MustParseAddr("192.168.100.254"), nil, nil, nil)
	for name, want := range map[string]bool{"server-01": true, "server-02": false} {
		d, _ := r.Device(name)
		e, _, err := table.Lookup(rack.Keys{Via: d.Data[0], Stage: rack.StageIPXE})
		if err != nil || e.BootPending != want {
			t.Errorf("%s: %v, %v", name, e.BootPending, err)
		}
	}
}
