package main

import (
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// homeOf is the state directory: the one that a flag names, or the default one.
func homeOf(flag string, env func(string) (string, bool)) (state.Home, error) {
	if flag != "" {
		return state.Home(flag), nil
	}
	home, err := state.Default(env)
	if err != nil {
		return "", badInput(err)
	}
	return home, nil
}

// resolved is everything that a run of a rack carries out.
func resolved(r *rack.Rack) (*state.Plan, error) {
	plan, _, err := planned(r)
	if err != nil {
		return nil, err
	}
	return carriedOut(r, plan), nil
}

// resolvedBy is the same with images that describe knows.
func resolvedBy(r *rack.Rack, describe func(name string) (rack.Image, error)) (*state.Plan, error) {
	plan, err := rack.NewPlan(r, platform.All(), describe)
	if err != nil {
		return nil, badInput(err)
	}
	return carriedOut(r, plan), nil
}

func carriedOut(r *rack.Rack, plan *rack.Plan) *state.Plan {
	p := &state.Plan{Rack: r, Plan: plan, Platforms: map[string]rack.Platform{}}
	all := platform.All()
	for i := range r.Devices {
		name := r.Devices[i].Platform
		p.Platforms[name] = all[name]
	}
	return p
}
