package main

import (
	"fmt"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/simimage"
)

// load reads a rack file. Every problem in it is one bad input.
func load(path string) (*rack.Rack, error) {
	r, err := rackfile.Read(path, platform.All())
	if err != nil {
		return nil, badInput(fmt.Errorf("%w\nNothing was begun. Mend the file, then: rackreach validate %s", err, path))
	}
	return r, nil
}

// loadAny reads a rack file or a fleet file: one of the two is nil. Every problem
// in it, and in the rack files that it names, is one bad input.
func loadAny(path string) (*rack.Rack, *rackfile.Fleet, error) {
	r, f, err := rackfile.ReadAny(path, platform.All())
	if err != nil {
		return nil, nil, badInput(fmt.Errorf("%w\nNothing was begun. Mend what is named above, then: rackreach validate %s", err, path))
	}
	return r, f, nil
}

// planned plans a rack with the simulated images. The plan is that of the real
// platforms: how fast a simulation runs is no part of it.
func planned(r *rack.Rack) (*rack.Plan, *simimage.Store, error) {
	store, err := simimage.New(simimage.Specs())
	if err != nil {
		return nil, nil, err
	}
	plan, err := rack.NewPlan(r, platform.All(), store.Describe)
	if err != nil {
		return nil, nil, badInput(err)
	}
	return plan, store, nil
}
