package simulate

import (
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/platform"
)

func TestUsual(t *testing.T) {
	got, err := Usual(Options{Rack: example(t, "rack-1.yaml"), Platforms: platform.All(), Racks: 1, Seed: 1, Faults: None()})
	if err != nil {
		t.Fatal(err)
	}
	// The table says 3 to 8 minutes of installation and 1 to 3 of boot.
	if p90 := got["tor-1"]["install"]; p90 < 8*time.Minute || p90 > 11*time.Minute {
		t.Errorf("an installation by ONIE takes up to %s in nine of ten cases", p90)
	}
	if _, ok := got["tor-1"]["ticket"]; ok {
		t.Error("a ticket takes no time that could be unusual")
	}
}
