package actors

import (
	"log/slog"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

// Options are what an Agent is built from. All fields but the last ones must be
// set.
type Options struct {
	Log       journal.Log
	Rack      *rack.Rack // validated
	Platforms map[string]rack.Platform
	Images    map[string]rack.Image // by slot, as the plan says
	PlanHash  string
	Bundle    string // where the images come from; SignedBy: who vouches for them (rack.Detail)
	SignedBy  string
	RunID     string // of a run that starts; one that goes on has its own

	Executor Executor
	Scanner  Scanner
	DHCP     NewDHCPServer
	// Lamp switches the identify lights of devices that have a BMC; nil: nobody does.
	Lamp Lamp

	// Offer is told what may be served, before anybody hears of the event that
	// changed it. It is called on Agent's goroutine and must not block.
	Offer func(Offer)
	// Announce is told every event, in order, once, after it was applied. It is
	// called on Agent's goroutine and must not block for long.
	Announce func(rack.Event)
	// Ended is told once how the run ended: by rack-completed, by rack-halted,
	// or by an error of the agent itself; with Stay also of such an error behind
	// the end.
	Ended func(error)

	DiscoveryLimit time.Duration // from a route becoming ready until its device must have been seen
	ScanEvery      time.Duration // between two rounds of probing BMCs and reading MAC tables

	Supervision Supervision

	// Only are the devices that a run which starts is to image; empty: all.
	Only []string
	// Salvaged is the last sequence that came from a damaged journal; 0: none.
	Salvaged uint64
	// Stay lets an Agent go on answering devices once the run has ended, until it is
	// stopped.
	Stay bool
	// Inject is called inside a DeviceActor before it decides, with its phase;
	// it may panic. It is how a simulation puts a bug into the code that drives
	// a device.
	Inject func(device string, phase rack.Phase)
	// At is called at every Point of every event; it may end the process. It is
	// how crash tests hit the moment between any two lines.
	At     func(p Point, seq uint64)
	Logger *slog.Logger
}

// Point is a moment in the life of an event.
type Point string

// The points, in their order.
const (
	Appended Point = "appended" // it is durable, and nobody has heard of it
	Applied  Point = "applied"  // its writer's state contains it, and nothing was done about it
	Acted    Point = "acted"    // what it asks for was done, and the result is not journalled
)

// Offer is what may be served at a moment: an immutable answer to "which slot
// is this packet's" and the last ticket of each device.
type Offer struct {
	Run     string // id of the run
	Binder  *rack.Binder
	Tickets []Ticket
	Pending map[string]bool // devices whose firmware is to wait for its ticket (rack.Run.BootPending)
}

// Ticket is the right of a device to its destructive job, journalled.
type Ticket struct {
	ID         string
	Device     string
	Image      rack.Image
	Open       bool   // what it stands for is served now
	Delivered  bool   // its image went out: whoever asks for it again starts over
	Overwrites string // what the device holds that may be overwritten
}
