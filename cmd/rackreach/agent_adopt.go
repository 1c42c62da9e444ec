package main

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
)

// takeOver makes this machine the agent of the rack.
func (a *agent) takeOver(ctx context.Context, t terminal, home state.Home, d *door) error {
	got, err := a.adopted(ctx, home, d)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("rack %s is taken over: epoch %d, %d events", a.rack, got.Epoch, got.Last)}
	if got.Aside != "" {
		lines = append(lines, "  what stood here before lies in "+got.Aside)
	}
	if got.Last > 0 {
		lines = append(lines, "  devices that were not ready are uncertain: rackreach status names them, and what to do")
	}
	if a.json {
		return printLines(t.notes, lines)
	}
	return printLines(t.out, lines)
}

// adopted takes the rack over by the first coordinator that can be spoken with. What one
// that went away has done of it is done again by the next.
func (a *agent) adopted(ctx context.Context, home state.Home, d *door) (*rackagent.Adopted, error) {
	var away []error
	for range max(1, len(a.coordinators)) {
		got, err := rackagent.Adopt(ctx, rackagent.AdoptOptions{Home: home, Rack: a.rack, Client: d.Several, Force: a.force, Living: a.living})
		if err == nil {
			return got, nil
		}
		away = append(away, a.notTaken(ctx, d, err))
		var told *connect.Error
		if ctx.Err() != nil || !errors.As(err, &told) || connect.IsWireError(told) && told.Code() != connect.CodeUnavailable {
			break // another one says the same
		}
		d.Next()
	}
	return nil, errors.Join(away...)
}

// living says who is at work on the rack's own wires.
func (a *agent) living(ctx context.Context, lost rackagent.Lost) (string, error) {
	if !a.simulate {
		return rackagent.Living(ctx, lost, a.site.allow, a.site.hear)
	}
	rack, err := sim.Look(ctx, a.socket)
	if errors.Is(err, sim.ErrNobody) || err == nil && rack.Agent == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("another agent (process %d) is at work on it", rack.Agent), nil
}

// notTaken is why a rack was not taken over, and what to do.
func (a *agent) notTaken(ctx context.Context, d *door, err error) error {
	var told *connect.Error
	switch {
	case ctx.Err() != nil:
		return err
	case !errors.As(err, &told):
		return badInput(err)
	case connect.IsWireError(told) && told.Code() == connect.CodeUnavailable: // it runs, and cannot at this moment
		return err
	case connect.IsWireError(told):
		return badInput(fmt.Errorf("take over rack %s: %s", a.rack, told.Message()))
	}
	err = errors.New(told.Message())
	if d.who != nil {
		err = d.who.Explain(ctx, d.URL(), err)
	}
	return fmt.Errorf("take over rack %s: the coordinator at %s is not reached: %w\nNext: look whether it runs there, and at --coordinator; then do this again", a.rack, d.URL(), err)
}
