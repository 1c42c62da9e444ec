package discovery

import (
	"testing"

	"github.com/rackreach/rackreach/internal/rack"
)

// UEFI firmware that boots from the network is seen by its question: it requests nothing
// from a server that names nothing to boot. All others are seen when they have their address.
func TestFirmwareIsSeenByItsQuestion(t *testing.T) {
	for class, want := range map[string]rack.Evidence{
		"HTTPClient:Arch:00016:UNDI:003000": rack.DHCPPXE,
		"PXEClient:Arch:00007:UNDI:003000":  rack.DHCPPXE,
		"udhcp 1.35.0":                      rack.NoEvidence,
	} {
		res, d := handled(t, testServer(t, Options{}), discover().str(60, class))
		if d == nil || res.Outcome != Offered || res.Seen.Observation.Proves != want {
			t.Errorf("%s: %s, proves %q, want %q", class, res.Outcome, res.Seen.Observation.Proves, want)
		}
	}
	res, _ := handled(t, testServer(t, Options{}), selecting(mine).str(60, "HTTPClient:Arch:00016:UNDI:003000"))
	if res.Outcome != Acknowledged || res.Seen.Observation.Proves != rack.DHCPPXE {
		t.Errorf("with an address: %s, proves %q", res.Outcome, res.Seen.Observation.Proves)
	}
}

// Firmware whose ticket is on its way gets an offer at once, and its acknowledgement with
// the ticket; that it requests the address is what the ticket follows from: with an address and nothing to boot, iPXE in a ROM starts what the disk holds.
// Nobody else waits.
func TestFirmwareWaitsForItsTicket(t *testing.T) {
	table := testTable()
	for mac, e := range table.mac {
		e.BootPending = true
		table.mac[mac] = e
	}
	s := testServer(t, Options{Table: func() Table { return table }})
	for class, want := range map[string]Outcome{
		"PXEClient:Arch:00000:UNDI:002001":  IgnoredPending,
		"HTTPClient:Arch:00016:UNDI:003000": IgnoredPending,
		"udhcp 1.35.0":                      Acknowledged,
	} {
		if res, d := handled(t, s, discover().str(60, class)); d == nil || res.Outcome != Offered {
			t.Errorf("%s: its DISCOVER is %s", class, res.Outcome)
		}
		if res, d := handled(t, s, selecting(mine).str(60, class)); res.Outcome != want || (d == nil) != (want == IgnoredPending) || want == IgnoredPending && (res.Seen.Observation.Proves != rack.DHCPPXE || res.Seen.Observation.Address != "") {
			t.Errorf("%s: its REQUEST is %s, want %s, and proves %q", class, res.Outcome, want, res.Seen.Observation.Proves)
		}
	}
}
