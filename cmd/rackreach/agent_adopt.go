package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
)

// takeOver makes this machine the agent of the rack.
func (a *agent) takeOver(ctx context.Context, t terminal, home state.Home) error {
	client, err := a.dialCoordinator(home)
	if err != nil {
		return err
	}
	defer client.Close()
	got, err := rackagent.Adopt(ctx, rackagent.AdoptOptions{Home: home, Rack: a.rack, Client: client, Force: a.force, Living: a.living})
	var refused *connect.Error
	if errors.As(err, &refused) && refused.Code() == connect.CodeFailedPrecondition || ctx.Err() == nil && err != nil && refused == nil {
		return badInput(err)
	}
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

// living names an agent that is at work on the rack's own wires.
func (a *agent) living(ctx context.Context) (string, error) {
	if !a.simulate {
		return "", nil
	}
	rack, err := sim.Look(ctx, a.socket)
	if errors.Is(err, sim.ErrNobody) || err == nil && rack.Agent == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("another agent (process %d)", rack.Agent), nil
}

// dialCoordinator is the way to the coordinator that --coordinator names: a URL, or
// unix://PATH; without it, the socket in the state directory. Nothing is sent
// before the first call.
func (a *agent) dialCoordinator(home state.Home) (*bus.Client, error) {
	at := a.coordinator
	if at == "" {
		path, err := filepath.Abs(home.Coordinator())
		if err != nil {
			return nil, fmt.Errorf("find the coordinator's socket: %w", err)
		}
		at = "unix://" + path
	}
	client, err := bus.Dial(at, nil)
	if err != nil {
		return nil, badInput(fmt.Errorf("--coordinator: %w", err))
	}
	return client, nil
}

// localEvery is how often a coordinator on this machine is looked for that was
// not named.
const localEvery = 2 * time.Second

// uplink connects the agent to its coordinator until ctx ends. One that was not
// named may come at any time, or never: nothing is said until it is there.
func (a *agent) uplink(ctx context.Context, home state.Home, client *bus.Client, k *rackagent.Keeper, metrics string) error {
	for again := time.NewTicker(localEvery); a.coordinator == ""; {
		if _, err := os.Stat(home.Coordinator()); err == nil {
			again.Stop()
			break
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil
		}
	}
	return k.Connect(ctx, client, release(), metrics, agentServerID)
}

// release is which one this is, as the build says.
func release() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.Main.Version
	}
	return ""
}
