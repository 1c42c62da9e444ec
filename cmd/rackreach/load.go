package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/simimage"
)

// platformsOf is every platform that is known here: those that rackreach comes with, and
// on top of them those of the folder of --platforms, else of $RACKREACH_PLATFORMS, else
// of platforms beside the configuration file, where only the last may be missing.
func platformsOf(env func(string) (string, bool)) (*platform.Set, error) {
	dir, _ := env("RACKREACH_PLATFORMS")
	if dir == "" {
		config, err := configPath(env)
		if err != nil {
			return platform.Default(), nil // nobody has one
		}
		dir = filepath.Join(filepath.Dir(config), "platforms")
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return platform.Default(), nil
		}
	}
	set, err := platform.Load(dir)
	if err != nil {
		return nil, badInput(fmt.Errorf("%w\nNothing was begun. Mend the platforms, then: rackreach platform lint %s", err, dir))
	}
	return set, nil
}

// loadKnown reads a rack file, and the platforms that are known here.
func loadKnown(path string, env func(string) (string, bool)) (*rack.Rack, map[string]rack.Platform, error) {
	set, err := platformsOf(env)
	if err != nil {
		return nil, nil, err
	}
	known := set.Platforms()
	r, err := load(path, known)
	return r, known, err
}

// load reads a rack file. Every problem in it is one bad input.
func load(path string, known map[string]rack.Platform) (*rack.Rack, error) {
	if rackfile.IsFleet(path) {
		return nil, badInput(fmt.Errorf("%s: it is a fleet file, and this is done to one rack. Nothing was begun. Next: give one of the rack files that it names", path))
	}
	r, err := rackfile.Read(path, known)
	if err != nil {
		return nil, badInput(fmt.Errorf("%w\nNothing was begun. Mend the file, then: rackreach validate %s", err, path))
	}
	return r, nil
}

// loadAny reads a rack file or a fleet file; one of the two is nil.
func loadAny(path string, known map[string]rack.Platform) (*rackfile.Fleet, *rack.Rack, error) {
	if !rackfile.IsFleet(path) {
		r, err := load(path, known)
		return nil, r, err
	}
	f, err := rackfile.ReadFleet(path, known)
	if err != nil {
		return nil, nil, badInput(fmt.Errorf("%w\nNothing was begun. Mend the files, then: rackreach validate %s", err, path))
	}
	return f, nil, nil
}

// deviceNames are the devices that a rack has, for somebody who named another.
func deviceNames(r *rack.Rack) string {
	var names []string
	for i := range r.Devices {
		names = append(names, r.Devices[i].Name)
	}
	return strings.Join(names, ", ")
}

// planned plans a rack with the simulated images. The plan is that of the real
// platforms: how fast a simulation runs is no part of it.
func planned(r *rack.Rack, known map[string]rack.Platform) (*rack.Plan, *simimage.Store, error) {
	store, err := simimage.New(simimage.Specs())
	if err != nil {
		return nil, nil, err
	}
	plan, err := rack.NewPlan(r, known, store.Describe)
	if err != nil {
		return nil, nil, badInput(err)
	}
	return plan, store, nil
}
