package fleetlog

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Errors of the log. They are wrapped.
var (
	// ErrFenced says that another agent has taken the rack since: its epoch is
	// newer. The error is a *Fenced as well.
	ErrFenced = errors.New("another agent has taken the rack")
	// ErrGap says that events before these are missing.
	ErrGap = errors.New("events are missing")
	// ErrDiverged says that the log holds other events under the same numbers.
	ErrDiverged = errors.New("the log holds another history of the rack")
	// ErrDamaged says that what the log held is not there, or cannot be read.
	ErrDamaged = errors.New("the log is damaged")
	// ErrClosed says that the log was closed meanwhile.
	ErrClosed = errors.New("the log is closed")
)

// Fenced says who has the rack. It is an ErrFenced.
type Fenced struct {
	Rack    string
	Epoch   uint64 // the newest; 0: no agent has claimed the rack
	Journal string // of the agent that claimed it
}

func (e *Fenced) Error() string {
	if e.Epoch == 0 {
		return fmt.Sprintf("rack %s: %v: it is in no epoch yet", e.Rack, ErrFenced)
	}
	return fmt.Sprintf("rack %s: %v: it is in epoch %d, of journal %.80q", e.Rack, ErrFenced, e.Epoch, e.Journal)
}

// Is makes every Fenced an ErrFenced.
func (e *Fenced) Is(target error) bool { return target == ErrFenced }

func fenced(rack string, h Head) error {
	return &Fenced{Rack: rack, Epoch: h.Epoch, Journal: h.Journal}
}

// Codes of the server's errors (nats-server, errors.json) that nats.go does not name.
const (
	codeBatchIncomplete = 10176 // the leader changed in mid-batch
	codeNoResources     = 10023
	codeNoStorage       = 10047
	codeStoreFailed     = 10077
)

// explained adds to an error of writing what can be done about it.
func explained(err error) error {
	var e *jetstream.APIError
	var next string
	switch {
	case errors.As(err, &e) && (e.ErrorCode == codeNoResources || e.ErrorCode == codeNoStorage || e.ErrorCode == codeStoreFailed), errors.Is(err, syscall.ENOSPC):
		next = "look whether the disk of the log is full"
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		next = "the log's server has stopped writing or has no leader: look at its messages, and whether its disk is full; when there is room, start it again"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		next = "no server acknowledged it: look whether most servers of the log run, and at their disks; it may be stored yet, and is tried again by the agent"
	case errors.Is(err, nats.ErrMaxPayload):
		next = "the servers of the log take smaller messages only: raise max_payload there"
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting):
		next = "no server of the log is connected; it is tried all the time"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, next)
}
