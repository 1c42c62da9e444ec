package discovery

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// A proxy beside the site's own DHCP: an offer without address on port 67, the boot
// file again on port 4011, nothing for anybody else.
func TestProxyDHCP(t *testing.T) {
	pxe := func(p *packet) *packet {
		return p.str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7).opt(97, append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)...)
	}
	const client4011 = mine + ":40001" // the port that the packet came from
	for _, x := range []struct {
		mode Mode
		exchange
	}{
		{Proxy, exchange{"PXE", pxe(discover()), offer, Offered, everybody, false}},
		{Proxy, exchange{"PXE through a relay", relayed(pxe(discover())), offer, Offered, relayAddr + ":67", false}},
		{Proxy, exchange{"UEFI HTTP boot", discover().str(60, "HTTPClient:Arch:00016:UNDI:003000"), offer, Offered, everybody, false}},
		{Proxy, exchange{"iPXE", discover().str(77, "iPXE"), offer, Offered, everybody, false}},
		{Proxy, exchange{"a REQUEST is for the site's server", pxe(selecting(mine)), none, IgnoredNotBoot, "", false}},
		{Proxy, exchange{"ONIE", discover().str(60, "onie_vendor:x86_64-sim_tor48-r0"), none, IgnoredNotBoot, "", false}},
		{Proxy, exchange{"an operating system", discover().str(60, "udhcp 1.35.0"), none, IgnoredNotBoot, "", false}},
		{Proxy, exchange{"unknown", pxe(discover()).from("52:54:00:09:09:09"), none, IgnoredUnknown, "", false}},
		{BootServer, exchange{"4011", pxe(asks().is(mine)), ack, Acknowledged, client4011, false}},
		{BootServer, exchange{"4011, an address of the site's", pxe(asks().is("172.16.0.9")), ack, Acknowledged, "172.16.0.9:40001", false}},
		{BootServer, exchange{"4011, 54 is ours", pxe(asks().is(mine)).addr(54, ours), ack, Acknowledged, client4011, false}},
		{BootServer, exchange{"4011, another boot server", pxe(asks().is(mine)).addr(54, theirs), none, IgnoredOtherServer, "", false}},
		{BootServer, exchange{"4011 without address", pxe(asks()), none, IgnoredNotBoot, "", false}},
		{BootServer, exchange{"DISCOVER on 4011", pxe(discover()), none, IgnoredNotBoot, "", false}},
		{BootServer, exchange{"a DECLINE is for the site's server", pxe(message(dhcpv4.MessageTypeDecline)).addr(50, mine), none, IgnoredNotBoot, "", false}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := testServer(t, Options{Mode: x.mode})
			res, d := handled(t, s, x.p)
			x.check(t, res, d)
			if s.leases.Changed() || res.leased {
				t.Error("a lease of an address that is another server's")
			}
			if x.mode == BootServer && (res.Seen.Observation.Proves != rack.NoEvidence || res.Seen.Observation.Address != "") {
				t.Errorf("proves %s", res.Seen.Observation.Proves)
			}
			if d == nil {
				return
			}
			if !d.YourIPAddr.IsUnspecified() || d.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || d.Options.Has(dhcpv4.OptionSubnetMask) || d.BootFileName == "" || d.ServerIdentifier().String() != ours {
				t.Errorf("%s", d.Summary())
			}
			if (x.mode == BootServer) != (d.ClientIPAddr.String() == x.p.ciaddr) {
				t.Errorf("ciaddr %s", d.ClientIPAddr)
			}
			if machine, _, _ := rawOption(x.p.options, optionMachine); !bytes.Contains(res.Reply.Payload, machine) {
				t.Error("97 is not returned")
			}
		})
	}
	// The item of a boot menu that it chose is returned (43.71).
	res, _ := handled(t, testServer(t, Options{Mode: BootServer}), pxe(asks().is(mine)).opt(43, 71, 4, 0, 1, 0, 0, 255))
	if !bytes.Contains(res.Reply.Payload, []byte{43, 10, 6, 1, 8, 71, 4, 0, 1, 0, 0, 255}) {
		t.Errorf("43.71: % x", res.Reply.Payload[headerSize:])
	}
	for _, bad := range [][]byte{{71, 4, 0, 1, 0}, {71, 3, 0, 1, 0}, {71}, {0, 0, 71}, {255, 71, 4, 0, 1, 0, 0}} {
		if item := bootItem(bad); item != nil {
			t.Errorf("% x: item % x", bad, item)
		}
	}
}

// What devices ask of the site's server tells where they stand, once; and where the site
// gives another address than the rack file says, somebody is told what to do.
func TestProxyOverhears(t *testing.T) {
	pxe := func(p *packet) *packet { return p.str(60, "PXEClient:Arch:00007:UNDI:003000") }
	for _, x := range []struct {
		name   string
		mode   Mode
		p      *packet
		proves rack.Evidence
		alarm  string
	}{
		{"PXE is there", Proxy, pxe(discover()), rack.DHCPPXE, ""},
		{"iPXE only asks", Proxy, discover().str(77, "iPXE"), rack.NoEvidence, ""},
		{"PXE takes its address", Proxy, pxe(asks().addr(50, mine)).addr(54, theirs), rack.DHCPPXE, ""},
		{"its system takes its address", Proxy, asks().addr(50, mine).addr(54, theirs).str(60, "udhcp 1.35.0"), rack.DHCPOS, ""},
		{"it goes on with its address", Proxy, asks().is(mine).str(60, "udhcp 1.35.0"), rack.DHCPOS, ""},
		{"another address of the network", Proxy, pxe(asks().addr(50, torAddr)).addr(54, theirs), rack.NoEvidence,
			"the DHCP server of the site gives mgmt-1 the address " + torAddr + ", and the rack file says " + mine + ": reserve " + mine + " for MAC"},
		{"another address, which it had before (INIT-REBOOT)", Proxy, asks().addr(50, torAddr).str(60, "udhcp 1.35.0"), rack.NoEvidence, ""},
		{"another address, which it has (RENEWING)", Proxy, asks().is(torAddr).str(60, "udhcp 1.35.0"), rack.NoEvidence, ""},
		{"an address that it had elsewhere", Proxy, asks().addr(50, "172.16.0.9").str(60, "udhcp 1.35.0"), rack.NoEvidence, ""},
		{"a release", Proxy, message(dhcpv4.MessageTypeRelease).is(mine).addr(54, theirs), rack.NoEvidence, ""},
		{"unknown", Proxy, pxe(asks().addr(50, mine)).addr(54, theirs).from("52:54:00:09:09:09"), rack.NoEvidence, ""},
		{"on port 4011", BootServer, pxe(asks().is(mine)), rack.NoEvidence, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := testServer(t, Options{Mode: x.mode})
			res, _ := handled(t, s, x.p)
			if got := res.Seen.Observation.Proves; got != x.proves || (got != "" && res.Message == "REQUEST") != (res.Seen.Observation.Address == mine) {
				t.Errorf("proves %q, address %q", got, res.Seen.Observation.Address)
			}
			if got := res.Seen.Alarm; (got == "") != (x.alarm == "") || !strings.HasPrefix(got, x.alarm) {
				t.Errorf("alarm %q", got)
			}
			if res.Message == "REQUEST" {
				if again, _ := handled(t, s, x.p); again.Seen.Observation.Proves != rack.NoEvidence {
					t.Error("a repetition proves something")
				}
			}
		})
	}
}

// Firmware that asks before its ticket is sent to port 4011, which is silent until there
// is one: without any offer it would start what its disk holds.
func TestProxyWaitsForTheTicket(t *testing.T) {
	table := testTable()
	for mac, e := range table.mac {
		e.BootPending, e.BootFile, e.BootURL, e.ScriptURL = true, "", "", ""
		table.mac[mac] = e
	}
	pending := Options{Table: func() Table { return table }}
	for _, x := range []struct {
		name string
		who  func(*packet) *packet
		want Outcome
	}{
		{"PXE", func(p *packet) *packet { return p.str(60, "PXEClient:Arch:00007:UNDI:003000") }, Offered},
		{"iPXE", func(p *packet) *packet { return p.str(60, "PXEClient:Arch:00007:UNDI:003000").str(77, "iPXE") }, Offered},
		{"UEFI HTTP boot", func(p *packet) *packet { return p.str(60, "HTTPClient:Arch:00016:UNDI:003000") }, IgnoredNotBoot},
		{"an operating system", func(p *packet) *packet { return p.str(60, "udhcp 1.35.0") }, IgnoredNotBoot},
	} {
		t.Run(x.name, func(t *testing.T) {
			pending.Mode = Proxy
			res, d := handled(t, testServer(t, pending), x.who(discover()))
			if res.Outcome != x.want || (d != nil) != (x.want == Offered) {
				t.Fatalf("its DISCOVER is %s", res.Outcome)
			}
			if d != nil && (d.BootFileName != "" || d.Options.Has(dhcpv4.OptionVendorSpecificInformation) || d.ClassIdentifier() != "PXEClient" || d.ServerIdentifier().String() != ours || d.ServerIPAddr.String() != ours) {
				t.Errorf("%s", d.Summary())
			}
			pending.Mode = BootServer
			if res, d := handled(t, testServer(t, pending), x.who(asks().is(mine))); d != nil || (res.Outcome == IgnoredPending) != (x.want == Offered) {
				t.Errorf("on port 4011: %s", res.Outcome)
			}
			if x.want == Offered { // its ticket has come
				if res, d := handled(t, testServer(t, Options{Mode: BootServer}), x.who(asks().is(mine))); d == nil || d.BootFileName == "" {
					t.Errorf("on port 4011: %s", res.Outcome)
				}
			}
		})
	}
}
