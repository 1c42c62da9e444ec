package main

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// put gives a coordinator the plan of a rack and returns its hash.
func put(ctx context.Context, client *api.Client, p *state.Plan) (string, error) {
	p.Simulated, p.Bundle = nil, nil // how its agent reaches the rack and its images is the agent's own matter
	b, err := p.Encode()
	if err != nil {
		return "", err
	}
	a, err := client.Fleet.PutPlan(ctx, connect.NewRequest(&messages.PutPlanRequest{Name: messages.RackName(p.Rack.Name), Plan: b}))
	if err != nil {
		return "", (&reached{Client: client}).explain(err)
	}
	return a.Msg.GetPlanHash(), nil
}

// order asks a coordinator to let the rack's agent carry out a plan, and watches it.
func (a *apply) order(ctx context.Context, t terminal, client *api.Client, p *state.Plan) error {
	name := p.Rack.Name
	c := &reached{Client: client, rack: name, several: true}
	hash, err := put(ctx, client, p)
	if err != nil {
		return err
	}
	if _, err := client.Fleet.ApplyRack(ctx, connect.NewRequest(&messages.ApplyRackRequest{Name: messages.RackName(name), PlanHash: hash, Only: a.only})); err != nil {
		return c.explain(err)
	}
	if a.detach {
		return printLines(t.out, []string{fmt.Sprintf("%s: plan %s is ordered. Next: rackreach watch %s", name, hash, name)})
	}
	o, err := c.watch(ctx, t, a.json)
	if err != nil {
		return err
	}
	return o.exit(nil)
}

// orderFleet asks a coordinator to image the racks of a fleet file.
func (a *apply) orderFleet(ctx context.Context, t terminal, f *rackfile.Fleet, known map[string]rack.Platform, from *chosen) error {
	if a.plan != "" || len(a.only) > 0 || a.simulate {
		return badInput(fmt.Errorf("apply %s: --plan, --only and --simulate are for one rack; this file is of a fleet", a.file))
	}
	client, _, err := findCoordinator(ctx, a.state, a.env)
	if err != nil {
		return err
	}
	if client == nil {
		return badInput(fmt.Errorf("apply %s: a fleet is imaged by a coordinator, and none was found: start rackreach coordinator, or name one with --server", a.file))
	}
	defer client.Close()
	q := &messages.ApplyFleetRequest{Name: f.Spec.Name, AtOnce: uint32(f.Spec.AtOnce), HaltAfter: uint32(f.Spec.HaltAfter)}
	for _, r := range f.Racks {
		err := checkProtected(r)
		var p *state.Plan
		if err == nil {
			p, err = from.resolve(r, known)
		}
		if err != nil {
			return fmt.Errorf("rack %s: %w", r.Name, err)
		}
		hash, err := put(ctx, client, p)
		if err != nil {
			return err
		}
		q.Racks = append(q.Racks, &messages.ApplyRackRequest{Name: messages.RackName(r.Name), PlanHash: hash})
	}
	answer, err := client.Fleet.ApplyFleet(ctx, connect.NewRequest(q))
	if err != nil {
		return (&reached{Client: client}).explain(err)
	}
	err = printFleet(t.out, answer.Msg.GetFleet())
	return errors.Join(err, printLines(t.out, []string{"", "Next: rackreach status, or rackreach watch RACK"}))
}
