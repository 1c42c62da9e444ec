package actors

import (
	"context"
	"log/slog"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// FleetPlan is what the run of a rack carries out.
type FleetPlan struct {
	Rack      *rack.Rack
	Platforms map[string]rack.Platform
	JSON      []byte // as the agent takes it
}

// FleetOptions are what a Fleet is built from. All fields without a word of
// their being nil must be set.
type FleetOptions struct {
	// Read is at most limit events of a rack in the log, from a sequence on.
	Read func(ctx context.Context, rackName string, from uint64, limit int) ([]*messages.Event, error)
	// Plan is the plan of a rack with that hash.
	Plan func(ctx context.Context, rackName, hash string) (*FleetPlan, error)
	// Order keeps an order for the agent of its rack. One with the same id is kept once.
	Order func(ctx context.Context, o *messages.Order) error
	// Answered drops an order that was answered.
	Answered func(ctx context.Context, rackName, id string) error
	// Begin puts on record that the turn of racks of a fleet has come, and Halted that
	// the fleet was halted, and why: each only if what the fleet is to become is still
	// of that revision. If it is another one by now, nothing is kept, which is no error.
	// Either way the Fleet is told (Want) what it is to become, before they return.
	Begin  func(ctx context.Context, d *Desired, racks []string) error
	Halted func(ctx context.Context, d *Desired, cause string) error
	// Sight tells the other coordinators, and the next life of this one, of the agent of
	// a rack. It does not block. It may be nil.
	Sight func(rackName string, s Sighting)
	// Save keeps where a rack stands, for the next coordinator; Saved is the run of
	// what was saved. Both may be nil: then nothing is saved.
	Save   func(s *Saved) error
	Saved  func(s *Saved) (*rack.Snapshot, error)
	Now    func() time.Time
	Logger *slog.Logger

	loads chan struct{} // bounds how many racks are loaded at once
	saves chan struct{} // and how many are saved at once
}
