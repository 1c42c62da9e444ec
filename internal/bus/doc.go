// Package bus is the stream between the agent of a rack and a coordinator
// (proto/rackreach/v1/bus_service.proto): the Uplink is the agent's end, the Door
// the coordinator's.
//
// # What is promised
//
//   - Events go up in the order of the agent's journal, from the first that the log
//     does not hold, and are acknowledged when the log has made them durable. The
//     journal is the buffer: an agent that is cut off loses nothing.
//   - An order comes down until an event with its id goes up; that is its
//     acknowledgement. The Uplink hands on one id once while it is carried out; the
//     agent itself obeys one id once.
//   - Which rack speaks is what the certificate says. A message that names another
//     rack ends the stream.
//   - Both ends hold at most one batch of events, and end a stream on which nothing
//     was heard for silenceOf heartbeats.
//
// Heartbeats may be lost; nothing else is.
package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/rackreach/rackreach/messages"
)

// Bounds of the stream.
const (
	// MaxMessage bounds a message, which may carry the plan of a rack.
	MaxMessage     = 20 << 20  // bytes
	maxBatch       = 128       // events of one message
	maxBytes       = 32 << 10  // bytes of one message, but for an event that is larger by itself; each end keeps room for one
	maxHello       = 4 << 10   // bytes
	maxBeat        = 256 << 10 // bytes: a rack has some hundred devices
	enough         = 64        // events that wait for no further ones
	ordersInFlight = 64        // orders that wait for those before them
	silenceOf      = 3         // heartbeats that may be missing
	helloLimit     = 10 * time.Second
)

// HeartbeatEvery is the default time between two heartbeats.
const HeartbeatEvery = 5 * time.Second

// GatherFor is by default how long an event waits for others to go with. What happens
// in a rack happens in bursts, and a message costs the coordinator more than the
// events in it. Nothing of the rack waits for it, and no answer to an order.
const GatherFor = 200 * time.Millisecond

// orderedFor is how long after an order nothing waits for others to go with.
const orderedFor = 5 * time.Second

// Errors that a Log returns. They may be wrapped.
var (
	// ErrFenced says that another agent has taken the rack since.
	ErrFenced = errors.New("another agent has taken the rack")
	// ErrGap says that events before these are missing.
	ErrGap = errors.New("events are missing")
	// ErrDiverged says that the log holds other events under the same numbers.
	ErrDiverged = errors.New("the log holds another history of the rack")
)

// Superseded says that another agent owns the rack. The agent that is told so must
// not touch the rack any more.
type Superseded struct{ By *messages.Superseded }

// Error is one line for people.
func (s *Superseded) Error() string {
	return fmt.Sprintf("the rack belongs to another agent (epoch %d, journal %s)", s.By.GetEpoch(), s.By.GetJournal())
}

// Diverged says that the coordinator holds another history of the rack than the
// agent's journal: the journal, or the coordinator's log, came out of a backup.
type Diverged struct{ What string }

// Error is one line for people.
func (d *Diverged) Error() string {
	return "the coordinator holds another history of this rack than the agent's journal: " + d.What
}
