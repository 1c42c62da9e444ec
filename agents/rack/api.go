package rackagent

import (
	"context"
	"net/netip"
	"slices"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

var _ api.Backend = (*Agent)(nil)

// serveAPI serves the API until ctx ends, if a listener was given.
func (a *Agent) serveAPI(ctx context.Context) error {
	if a.o.API == nil {
		return nil
	}
	return api.New(a).Serve(ctx, a.o.API)
}

// NewRun implements api.Backend.
func (a *Agent) NewRun() *rack.Run {
	run := rack.NewRun(a.o.Rack, a.o.Platforms)
	run.Salvaged = a.o.Salvaged
	return run
}

// Log implements api.Backend.
func (a *Agent) Log() journal.Log { return a.o.Log }

// Plan implements api.Backend.
func (a *Agent) Plan() []byte { return a.o.PlanJSON }

// Driven implements api.Backend.
func (a *Agent) Driven() bool { return true }

// Speed implements api.Backend.
func (a *Agent) Speed() float64 { return max(a.o.Speed, 1) }

// ServerIDs implements Life.
func (a *Agent) ServerIDs() []netip.Addr {
	out := []netip.Addr{a.o.ServerID}
	for _, p := range a.o.Own {
		if x := p.Addr(); !slices.Contains(out, x) && (a.o.Rack.Management.Contains(x) || a.o.Rack.Data.Contains(x)) {
			out = append(out, x)
		}
	}
	return out
}

// Order implements api.Backend: it hands an operator's order to the run and
// returns the events that were journalled for it. Errors: a *rack.Refusal;
// actors.ErrEnding or actors.ErrGone when the run ends; the context's. One that
// comes before Run waits for it.
func (a *Agent) Order(ctx context.Context, o rack.Order) ([]rack.Event, error) {
	select {
	case <-a.up:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	obeyed, err := actors.Ask[actors.Obeyed](ctx, a.system, a.pid, &actors.Order{Order: o})
	return obeyed.Events, err
}
