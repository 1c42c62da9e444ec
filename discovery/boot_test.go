package discovery

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// bootWith answers one packet from an entry that was changed.
func bootWith(t *testing.T, p *packet, change func(*Entry)) (Result, *dhcpv4.DHCPv4) {
	t.Helper()
	table := testTable()
	e := table.mac["52:54:00:01:02:03"]
	change(&e)
	table.mac["52:54:00:01:02:03"] = e
	res := testServer(t, Options{Table: func() Table { return table }}).Handle(p.bytes(), sender)
	d, err := dhcpv4.FromBytes(res.Reply.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return res, d
}

func TestWhatAnAnswerProves(t *testing.T) {
	pick := func(p *packet) *packet { return p.addr(50, mine).addr(54, ours) }
	for _, tt := range []struct {
		name string
		p    *packet
		want rack.Evidence
	}{
		{"BMC", pick(asks().str(60, "iDRAC")), rack.DHCPBMC},
		{"PXE", pick(asks().str(60, "PXEClient:Arch:00007:UNDI:003000")), rack.DHCPPXE},
		{"iPXE", pick(asks().str(77, "iPXE")), rack.DHCPPXE},
		{"ONIE", pick(asks().str(60, "onie_vendor:x86_64-sim_tor48-r0")), rack.DHCPONIE},
		{"NOS", pick(asks().str(60, "cumulus-linux x86_64")), rack.DHCPNOS},
		{"OS", pick(asks().str(60, "udhcp 1.35.0")), rack.DHCPOS},
		{"OS, INFORM", message(dhcpv4.MessageTypeInform).is(mine).str(60, "udhcp 1.35.0"), rack.DHCPOS},
		{"unknown class", pick(asks()), rack.NoEvidence},
		{"asked for only", discover().str(60, "iDRAC"), rack.NoEvidence},
		{"asked for only, by PXE", discover().str(60, "PXEClient:Arch:00007:UNDI:003000"), rack.DHCPPXE},
		{"asked for only, by UEFI HTTP boot", discover().str(60, "HTTPClient:Arch:00016:UNDI:003000"), rack.DHCPPXE},
		{"asked for only, by iPXE", discover().str(77, "iPXE"), rack.NoEvidence},
		{"UEFI HTTP boot", pick(asks().str(60, "HTTPClient:Arch:00016:UNDI:003000")), rack.DHCPPXE},
		{"refused", asks().str(60, "iDRAC").addr(50, torAddr), rack.NoEvidence},
		{"another server's", asks().str(60, "iDRAC").addr(50, mine).addr(54, theirs), rack.NoEvidence},
		{"INFORM from elsewhere", message(dhcpv4.MessageTypeInform).is(torAddr).str(60, "udhcp 1.35.0"), rack.NoEvidence},
		{"declined", pick(message(dhcpv4.MessageTypeDecline)).str(56, "in use\n"), rack.DHCPDeclined},
		{"declined another", message(dhcpv4.MessageTypeDecline).addr(50, torAddr), rack.NoEvidence},
		{"released", message(dhcpv4.MessageTypeRelease).is(mine), rack.NoEvidence},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res, _ := answerTo(t, tt.p)
			o := res.Seen.Observation
			if o.Proves != tt.want {
				t.Errorf("proves %q, want %q", o.Proves, tt.want)
			}
			if (o.Address == mine) != (res.Outcome == Acknowledged || tt.want == rack.DHCPDeclined) {
				t.Errorf("address %q", o.Address)
			}
			if (res.Seen.Offered == mine) != (res.Outcome == Offered) {
				t.Errorf("offered %q", res.Seen.Offered)
			}
			if tt.name == "declined" && o.Message != `in use\x0a` {
				t.Errorf("message %q", o.Message)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	guid := []byte{0x44, 0x45, 0x4c, 0x4c, 0x42, 0, 0x10, 0x35, 0x80, 0x52, 0xb4, 0xc0, 0x4f, 0x4e, 0x31, 0x32}
	for _, tt := range []struct {
		name string
		p    *packet
		want rack.Keys
	}{
		{"direct", discover(), rack.Keys{Direct: true, Stage: rack.StageUnknown}},
		{"UUID", discover().opt(97, append([]byte{0}, guid...)...), rack.Keys{Direct: true, Stage: rack.StageUnknown, UUID: "44454c4c420010358052b4c04f4e3132"}},
		{"UUID of another type", discover().opt(97, append([]byte{1}, guid...)...), rack.Keys{Direct: true, Stage: rack.StageUnknown}},
		{"UUID of zeros", discover().opt(97, make([]byte, 17)...), rack.Keys{Direct: true, Stage: rack.StageUnknown}},
		{"relayed", discover().via(relayAddr, "mgmt-1", "45", 19, 0), rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: "45"}, Stage: rack.StageUnknown}},
		{"snooped by a switch, no giaddr", func() *packet { p := discover().via(relayAddr, "mgmt-1", "45"); p.giaddr = ""; return p }(),
			rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: "45"}, Stage: rack.StageUnknown}},
		{"hostile port name", discover().via(relayAddr, "mgmt-1", "4\n5"), rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: `4\x0a5`}, Stage: rack.StageUnknown}},
		{"endless port name", discover().via(relayAddr, "mgmt-1", strings.Repeat("4", 200)),
			rack.Keys{Via: rack.Port{Device: "mgmt-1", Name: strings.Repeat("4", 61) + "..."}, Stage: rack.StageUnknown}},
		{"36 a renewal is not direct", asks().is(mine), rack.Keys{Stage: rack.StageUnknown}},
		{"model", discover().str(60, "onie_vendor:x86_64-sim_tor48-r0"), rack.Keys{Direct: true, Stage: rack.StageONIE, Model: "sim_tor48", Arch: "x86_64"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.MAC = "52:54:00:01:02:03"
			if tt.p.giaddr != "" {
				tt.want.Link = netip.MustParseAddr(relayAddr)
			}
			res, _ := answerTo(t, tt.p)
			if res.Seen.Keys != tt.want {
				t.Errorf("got  %+v\nwant %+v", res.Seen.Keys, tt.want)
			}
			if o := res.Seen.Observation; o.MAC != tt.want.MAC || o.UUID != tt.want.UUID || o.Via != tt.want.Via || o.Stage != tt.want.Stage || o.Model != tt.want.Model || o.Source != rack.FromDHCP {
				t.Errorf("observation %+v", o)
			}
		})
	}
}

// The number of a machine is returned to it, as it was sent, whoever runs on it; but not
// with a refusal, which has nothing beyond what RFC 2131 table 3 allows.
func TestMachineIsReturned(t *testing.T) {
	number := append([]byte{0}, bytes.Repeat([]byte{0xa7}, 16)...)
	for _, x := range []struct {
		name string
		p    *packet
		want int // options 97 in the reply
	}{
		{"offer", discover().opt(97, number...), 1},
		{"acknowledgement", selecting(mine).opt(97, number...), 1},
		{"relayed, before 82", relayed(discover()).opt(97, number...), 1},
		{"refusal", selecting("10.9.9.9").opt(97, number...), 0},
		{"of none", discover(), 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			res, d := handled(t, testServer(t, Options{}), x.p)
			if d == nil {
				t.Fatalf("no reply: %s", res.Outcome)
			}
			if n := bytes.Count(res.Reply.Payload, append([]byte{97, 17}, number...)); n != x.want {
				t.Errorf("%d times in %s", n, d.Summary())
			}
			if o := d.Options.Get(dhcpv4.OptionRelayAgentInformation); x.p.giaddr != "" && len(o) == 0 {
				t.Error("82 is lost")
			}
		})
	}
}
