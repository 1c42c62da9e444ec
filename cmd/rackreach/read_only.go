package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// readOnly is the state of a rack in a directory that cannot be written to, a
// copy or somebody else's: it can be looked at, and nothing else.
type readOnly struct {
	dir  state.Dir
	plan *state.Plan
	meta journal.Meta
	log  *journal.Memory
}

var _ api.Backend = (*readOnly)(nil)

// unwritable reports whether a state directory could not be opened because it
// cannot be written to.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// openReadOnly reads the whole journal, with all of its checks.
func openReadOnly(dir state.Dir) (*readOnly, error) {
	r, events, err := journal.Events(string(dir))
	if err != nil {
		return nil, err
	}
	plan, err := dir.ReadPlan()
	if err != nil {
		return nil, state.Unread(err, "what the run in %s carries out cannot be read: restore plan.json from a backup", dir)
	}
	return &readOnly{dir: dir, plan: plan, meta: r.Meta, log: journal.Loaded(events)}, nil
}

// NewRun implements api.Backend.
func (r *readOnly) NewRun() *rack.Run {
	run := rack.NewRun(r.plan.Rack, r.plan.Platforms)
	run.Salvaged = r.meta.Salvaged
	return run
}

// Log implements api.Backend.
func (r *readOnly) Log() journal.Log { return r.log }

// Plan implements api.Backend.
func (r *readOnly) Plan() []byte {
	b, err := r.plan.Encode()
	if err != nil {
		return nil // it was read from JSON
	}
	return b
}

// Driven implements api.Backend: nobody can drive it here.
func (r *readOnly) Driven() bool { return false }

// Speed implements api.Backend.
func (r *readOnly) Speed() float64 { return 1 }

// Transferred implements api.Backend: nothing is served.
func (r *readOnly) Transferred(string) (sent, size int64) { return 0, 0 }

// Order implements api.Backend: nothing can be journalled.
func (r *readOnly) Order(_ context.Context, o rack.Order) ([]rack.Event, error) {
	return nil, &rack.Refusal{What: fmt.Sprintf("%s: %s cannot be written to", o.Verb, r.dir), Next: "order it as who owns that directory, or where it is not read-only"}
}
