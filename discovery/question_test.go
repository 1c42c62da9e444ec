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
