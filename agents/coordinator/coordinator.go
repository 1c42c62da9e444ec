package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/depot"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/messages"
)

// Options are what a coordinator is built from.
type Options struct {
	Log     *fleetlog.Log // Run does not close it
	Version string        // of this program, for the metrics
	// Unix is for people and agents on this machine. Network is for all others; it
	// must be on loopback when Security has no certificates. Run closes both; each
	// may be nil.
	Unix, Network net.Listener
	Security      Security
	Depot         string // directory of the bundle that agents fetch images from; it may come to be later. Empty: none
	Registry      *prometheus.Registry
	Logger        *slog.Logger // nil: discarded
	// Ready is called once the API is served.
	Ready func()
}

// Coordinator is one coordinator, built and not yet running, or running.
type Coordinator struct {
	o        Options
	log      *fleetlog.Log
	system   *actor.ActorSystem
	fleet    *actor.PID
	heads    *heads
	plans    *plans
	desired  *desired
	keeper   *keeper
	depot    *depot.Depot // nil: none
	position position
}

// New builds a coordinator; nothing is served yet.
func New(ctx context.Context, o Options) (*Coordinator, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil {
		o.Ready = func() {}
	}
	planTable, err := o.Log.Table(ctx, "plans")
	if err != nil {
		return nil, err
	}
	fleetTable, err := o.Log.Table(ctx, "fleet")
	if err != nil {
		return nil, err
	}
	c := &Coordinator{o: o, log: o.Log, heads: newHeads(), plans: newPlans(planTable)}
	if c.keeper, err = newKeeper(ctx, o.Security, o.Log, o.Logger); err != nil {
		return nil, err
	}
	if o.Depot != "" {
		c.depot = depot.New(depot.Options{Dir: o.Depot, Who: agentOf, Allowed: c.keeper.still, Log: o.Logger})
	}
	c.desired = &desired{fleetTable, c.plans, c.want}
	c.system = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.NewTextHandler(io.Discard, nil)) // what matters of it our own actors log
	}))
	if err := o.Registry.Register(&metrics{c: c}); err != nil {
		return nil, errors.Join(fmt.Errorf("register the metrics: %w", err), c.keeper.close())
	}
	return c, nil
}

// Run serves until ctx ends, which is no error, or until the log or a listener
// fails.
func (c *Coordinator) Run(ctx context.Context) error {
	crashed := make(chan error, 1)
	root := c.system.Root.Copy().WithGuardian(&guardian{crashed})
	pid, err := root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor {
		return actors.NewFleet(actors.FleetOptions{Read: c.log.Read, Plan: c.plans.get, Order: c.log.Order, Answered: c.log.Answered,
			Halted: c.desired.halt, Now: time.Now, Logger: c.o.Logger})
	}), "fleet")
	if err != nil {
		return fmt.Errorf("spawn the Fleet: %w", err)
	}
	c.fleet = pid
	c.keeper.closes(func(rack string) { c.kick(rack, errors.New("the certificate is revoked")) })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case err := <-crashed:
			return err
		case err := <-c.log.Failed():
			return fmt.Errorf("%w. This coordinator ends, for it can only go on when it is started again; agents keep their events until then. Next: make room, or mend the disk", err)
		case <-ctx.Done():
			return nil
		}
	})
	g.Go(func() error { return unless(ctx, c.followLog(ctx)) })
	g.Go(func() error { return unless(ctx, c.followOrders(ctx)) })
	g.Go(func() error {
		return unless(ctx, c.plans.watch(ctx, func(rack, hash string) {
			c.heads.meet(rack)
			c.system.Root.Send(pid, &actors.Planned{Rack: rack, Hash: hash})
		}))
	})
	g.Go(func() error {
		return unless(ctx, c.desired.watch(ctx, c.want))
	})
	g.Go(func() error { return unless(ctx, c.keeper.followTokens(ctx)) })
	g.Go(func() error { return unless(ctx, c.keeper.followGenerations(ctx)) })
	g.Go(func() error { return c.serve(ctx) })
	err = g.Wait()
	if stopErr := c.system.Root.StopFuture(pid).Wait(); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop the actors: %w", stopErr))
	}
	c.system.Shutdown()
	return errors.Join(err, c.keeper.close())
}

// want tells the actors what the fleet is to become.
func (c *Coordinator) want(d *actors.Desired) { c.system.Root.Send(c.fleet, &actors.Want{Desired: d}) }

// unless is an error that the end of a context does not explain.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// guardian ends the coordinator when its Fleet crashes: the service manager starts
// it again, and it rebuilds itself from the log.
type guardian struct{ crashed chan<- error }

// HandleFailure implements actor.SupervisorStrategy.
func (g *guardian) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	select {
	case g.crashed <- fmt.Errorf("the fleet's actor crashed: %.300v", reason):
	default:
	}
	supervisor.StopChildren(child)
}

// entriesInFlight bounds what is on its way from the log to the actors.
const entriesInFlight = 64

// follow calls fn with what the log holds behind a place, in order.
func (c *Coordinator) follow(ctx context.Context, after uint64, fn func(e actors.LogEntry, position uint64) error) error {
	return c.log.Follow(ctx, after, func(entries []fleetlog.Entry) error {
		for _, e := range entries {
			if err := fn(actors.LogEntry{Rack: e.Rack, Epoch: e.Epoch, Claim: e.Journal != "", Events: e.Events}, e.Position); err != nil {
				return err
			}
		}
		return nil
	})
}

// followLog lets the actors know what the log holds.
func (c *Coordinator) followLog(ctx context.Context) error {
	end, err := c.log.Last(ctx)
	if err != nil {
		return err
	}
	caughtUp := func(position uint64) {
		if c.position.reached(position, end) {
			c.system.Root.Send(c.fleet, &actors.CaughtUp{})
		}
	}
	caughtUp(0)
	credit := make(chan struct{}, entriesInFlight)
	return c.log.Follow(ctx, 0, func(entries []fleetlog.Entry) error {
		m := &actors.Logged{Done: func() { <-credit }}
		for _, e := range entries {
			m.Entries = append(m.Entries, actors.LogEntry{Rack: e.Rack, Epoch: e.Epoch, Claim: e.Journal != "", Events: e.Events})
			c.heads.meet(e.Rack)
		}
		select {
		case credit <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.system.Root.Send(c.fleet, m)
		for _, e := range entries {
			if n := len(e.Events); n > 0 {
				c.heads.grew(e.Rack, e.Events[n-1].GetSeq())
			}
		}
		if n := len(entries); n > 0 {
			caughtUp(entries[n-1].Position)
		}
		return nil
	})
}

func (c *Coordinator) followOrders(ctx context.Context) error {
	return c.log.FollowOrders(ctx, func(o *messages.Order) error {
		c.heads.meet(o.GetRack())
		c.system.Root.Send(c.fleet, &actors.Ordered{Order: o})
		return nil
	})
}
