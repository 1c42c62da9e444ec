package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/state"
)

// stateError tells kept state that somebody has to see to from what may be
// different the next time. The former is bad input: nothing was begun, and a service
// manager must not start the process again (RestartPreventExitStatus=2).
func stateError(err error) *exit {
	var (
		inUse      *journal.InUse
		damaged    *journal.Damaged
		unwritable *journal.Unwritable
		unfit      *state.Unfit
	)
	switch {
	case errors.As(err, &inUse):
		return &exit{exitError, fmt.Errorf("%w\nIt is driven by another rackreach: rackreach status shows it, rackreach halt ends it", err)}
	case errors.As(err, &damaged), errors.As(err, &unwritable), errors.As(err, &unfit), errors.Is(err, journal.ErrNewer), errors.Is(err, journal.ErrOtherRack),
		errors.Is(err, lease.ErrDamaged), errors.Is(err, fleetlog.ErrDamaged):
		return &exit{exitInput, err}
	}
	return &exit{exitError, err}
}

// notMine is bad input where a state directory may not be read or written: that stays
// so until somebody sees to it.
func notMine(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR) {
		return badInput(fmt.Errorf("%w: give a directory that may be written to with --state, or do this as who owns it", err))
	}
	return err
}
