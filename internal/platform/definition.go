package platform

import (
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Status is what was seen of a platform.
type Status string

// The statuses.
const (
	// Simulated: it is that of a simulated device, and installs nothing that is real.
	Simulated Status = "simulated"
	// Untested: it was never run on the product that it is for; Unseen says what of it
	// was run, and on what.
	Untested Status = "untested"
	// Tested: it was run on the product.
	Tested Status = "tested"
)

func statuses() []Status { return []Status{Simulated, Untested, Tested} }

// Definition is a platform and what is known of it.
type Definition struct {
	rack.Platform
	Status Status
	Unseen []string // what of an untested platform was not seen, a sentence each
	Like   string   // the platform that it takes after; empty: none
	File   string   // where it was read
	Own    bool     // it is the user's
}

// Scaled returns every platform of a table with its limits divided by speed, but none
// below floor (rack.Platform.Scaled).
func Scaled(table map[string]rack.Platform, speed float64, floor time.Duration) map[string]rack.Platform {
	out := make(map[string]rack.Platform, len(table))
	for n, p := range table {
		out[n] = p.Scaled(speed, floor)
	}
	return out
}
