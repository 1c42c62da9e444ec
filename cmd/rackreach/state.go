package main

import (
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
func resolved(r *rack.Rack, known map[string]rack.Platform) (*state.Plan, error) {
	plan, _, err := planned(r, known)
	if err != nil {
		return nil, err
	}
	return carriedOut(r, known, plan), nil
}

// resolvedBy is the same with images that describe knows.
func resolvedBy(r *rack.Rack, known map[string]rack.Platform, describe func(name string) (rack.Image, error)) (*state.Plan, error) {
	plan, err := rack.NewPlan(r, known, describe)
	if err != nil {
		return nil, badInput(err)
	}
	return carriedOut(r, known, plan), nil
}

func carriedOut(r *rack.Rack, known map[string]rack.Platform, plan *rack.Plan) *state.Plan {
	p := &state.Plan{Rack: r, Plan: plan, Platforms: map[string]rack.Platform{}}
	for i := range r.Devices {
		name := r.Devices[i].Platform
		p.Platforms[name] = known[name]
	}
	return p
}
