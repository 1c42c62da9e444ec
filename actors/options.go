package actors

import (
	"log/slog"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

// Options are what an Agent is built from. All fields but Inject and Logger
// must be set.
type Options struct {
	Log       journal.Log
	Rack      *rack.Rack // validated
	Platforms map[string]rack.Platform
	Images    map[string]rack.Image // by slot, as the plan says
	PlanHash  string

	Executor Executor
	Scanner  Scanner
	DHCP     NewDHCPServer

	// Offer is told what may be served, before anybody hears of the event that
	// changed it. It is called on Agent's goroutine and must not block.
	Offer func(Offer)
	// Announce is told every event, in order, once, after it was applied. It is
	// called on Agent's goroutine and must not block for long.
	Announce func(rack.Event)
	// Ended is told once how the run ended: by rack-completed, by rack-halted,
	// or by an error of the agent itself.
	Ended func(error)

	DiscoveryLimit time.Duration // from a route becoming ready until its device must have been seen
	ScanEvery      time.Duration // between two rounds of probing BMCs and reading MAC tables

	Supervision Supervision
	// Inject is called inside a DeviceActor before it decides, with its phase;
	// it may panic. It is how a simulation puts a bug into the code that drives
	// a device.
	Inject func(device string, phase rack.Phase)
	Logger *slog.Logger
}

// Offer is what may be served at a moment: an immutable answer to "which slot
// is this packet's" and the open tickets.
type Offer struct {
	Binder  *rack.Binder
	Tickets []OpenTicket
}

// OpenTicket is the right of a device to its destructive job, journalled.
type OpenTicket struct {
	ID        string
	Device    string
	Image     rack.Image
	Delivered bool // its image went out: whoever asks for it again starts over
}
