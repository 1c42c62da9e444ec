package discovery

import (
	"bytes"
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// A client that is started anew and names no boot stage is told from firmware, from
// installers, and from one that goes on.
func TestUnnamedClients(t *testing.T) {
	// What dhclient, systemd-networkd and NetworkManager ask for, and UEFI's own stack.
	dhclient, networkd, manager, uefi := []byte{1, 28, 2, 3, 15, 6, 119, 12}, []byte{1, 3, 6, 12, 15, 33, 42, 119, 121}, []byte{1, 2, 3, 6, 12, 15, 26, 28, 33, 42}, []byte{1, 3, 6}
	for _, x := range []struct {
		name string
		from *packet
		want rack.Evidence
	}{
		{"dhclient", selecting(mine).opt(55, dhclient...), rack.DHCPUnnamed},
		{"systemd-networkd", selecting(mine).opt(55, networkd...).str(61, "\xff\x00\x00\x00\x01\x00\x02\x00\x00\xab\x11abcdefgh"), rack.DHCPUnnamed},
		{"NetworkManager", selecting(mine).opt(55, manager...), rack.DHCPUnnamed},
		{"a class that nobody knows", selecting(mine).opt(55, dhclient...).str(60, "acme-linux"), rack.DHCPUnnamed},
		{"one with the lease of an earlier boot", asks().addr(50, mine).opt(55, dhclient...), rack.DHCPUnnamed},
		{"a renewal", asks().is(mine).opt(55, dhclient...), rack.NoEvidence},
		{"a question", discover().opt(55, dhclient...), rack.NoEvidence},
		{"one that asks for nothing", selecting(mine), rack.NoEvidence},
		{"UEFI's own stack", selecting(mine).opt(55, uefi...), rack.NoEvidence},
		{"PXE", selecting(mine).opt(55, dhclient...).str(60, "PXEClient:Arch:00007:UNDI:003000"), rack.DHCPPXE},
		{"PXE without its class", selecting(mine).opt(55, dhclient...).opt(93, 0, 7), rack.DHCPPXE},
		{"firmware with a number of its machine", selecting(mine).opt(55, dhclient...).opt(97, append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)...), rack.NoEvidence},
		{"iPXE", selecting(mine).opt(55, dhclient...).opt(175, 1, 1, 1), rack.DHCPPXE},
		{"a user class", selecting(mine).opt(55, dhclient...).str(77, "acme-boot"), rack.NoEvidence},
		{"a board controller", selecting(mine).opt(55, dhclient...).str(60, "iDRAC"), rack.DHCPBMC},
		{"an access point", selecting(mine).opt(55, dhclient...).str(60, "ArubaInstantAP"), rack.NoEvidence},
		{"our installer", selecting(mine).opt(55, dhclient...).str(60, "rackreach-installer"), rack.NoEvidence},
		{"Debian's installer", selecting(mine).opt(55, dhclient...).str(60, "d-i"), rack.NoEvidence},
		{"Anaconda", selecting(mine).opt(55, dhclient...).str(60, "anaconda-Linux 6.1 x86_64"), rack.NoEvidence},
		{"a live system's initramfs", selecting(mine).opt(55, dhclient...).str(60, "Linux ipconfig"), rack.NoEvidence},
	} {
		if res, _ := answerTo(t, x.from); res.Seen == nil || res.Seen.Observation.Proves != x.want {
			t.Errorf("%s: %s, proves %+v, want %q", x.name, res.Outcome, res.Seen, x.want)
		}
	}
}

// What real clients said. dhcpcd's DISCOVER is known by option 80, which its REQUEST has not.
func TestUnnamedClientsThatWereRecorded(t *testing.T) {
	for name, want := range map[string]rack.Evidence{
		"dhclient": rack.DHCPUnnamed, "dhclient-nak": rack.DHCPUnnamed, "dhcpcd": rack.DHCPUnnamed, "udhcpc": rack.DHCPOS,
		"bios": rack.DHCPPXE, "uefi-pxe": rack.DHCPPXE, "uefi-http": rack.DHCPPXE,
	} {
		t.Run(name, func(t *testing.T) {
			proofs := map[rack.Evidence]int{}
			s := testServer(t, Options{})
			recorded(t, name, func(payload []byte) {
				r := &request{}
				if err := r.parse(payload, s.options.Rules, s.options.Ports); err != nil {
					t.Fatal(err)
				}
				e := proof(r.class.Stage)
				if r.unnamed() {
					e = rack.DHCPUnnamed
				}
				if r.kind.String() == "REQUEST" && !r.ciaddr.IsValid() {
					proofs[e]++
				}
			})
			if len(proofs) != 1 || proofs[want] == 0 {
				t.Errorf("their requests prove %v, want %q", proofs, want)
			}
		})
	}
}
