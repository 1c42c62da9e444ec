package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
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
	// Snapshots is the directory where this coordinator, and no other, keeps where
	// racks stand. What a program with another Build has kept is of no use to it.
	// Either may be empty: then the log is read from its first event at each start.
	Snapshots, Build string
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
	o       Options
	log     *fleetlog.Log
	system  *actor.ActorSystem
	fleet   *actor.PID
	heads   *heads
	plans   *plans
	desired *desired
	servers *servers
	sights  *sightings
	keeper  *keeper
	saves   *snapshots
	depot   *depot.Depot // nil: none
	unread  atomic.Int32 // of what is read when it starts, how much is not read yet
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
	serverTable, err := o.Log.Table(ctx, "servers")
	if err != nil {
		return nil, err
	}
	agentTable, err := o.Log.Table(ctx, "agents")
	if err != nil {
		return nil, err
	}
	c := &Coordinator{o: o, log: o.Log, heads: newHeads(), plans: newPlans(planTable), servers: newServers(serverTable, o.Logger)}
	if c.keeper, err = newKeeper(ctx, o.Security, o.Log, o.Logger); err != nil {
		return nil, err
	}
	if o.Depot != "" {
		c.depot = depot.New(depot.Options{Dir: o.Depot, Who: agentOf, Allowed: c.keeper.still, Log: o.Logger})
	}
	c.saves = &snapshots{dir: o.Snapshots, build: o.Build, logger: o.Logger}
	c.sights = newSightings(agentTable, o.Log.Alone(), c.seen, o.Logger)
	c.desired = &desired{fleetTable, c.plans, c.want}
	c.system = actors.NewSystem()
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
	options := actors.FleetOptions{Read: c.log.Read, Plan: c.plans.get, Order: c.log.Order, Answered: c.log.Answered,
		Begin: c.desired.begin, Halted: c.desired.stop, Sight: c.sights.saw, Now: time.Now, Logger: c.o.Logger}
	if c.o.Snapshots != "" && c.o.Build != "" {
		options.Save, options.Saved = c.saves.save, c.saves.run
	}
	pid, err := root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return actors.NewFleet(options) }), "fleet")
	if err != nil {
		return fmt.Errorf("spawn the Fleet: %w", err)
	}
	c.fleet = pid
	c.keeper.closes(func(rack string) {
		c.servers.revoked(rack)
		c.sights.revoked(rack)
		c.kick(rack, errors.New("the certificate is revoked"))
	})
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
	c.unread.Store(5) // the log, its orders, the plans, what the fleet is to become, its agents
	g.Go(func() error { return unless(ctx, c.followLog(ctx)) })
	g.Go(func() error { return unless(ctx, c.followOrders(ctx)) })
	g.Go(func() error {
		return unless(ctx, c.plans.watch(ctx, func(rack, hash string) {
			c.heads.meet(rack)
			c.system.Root.Send(pid, &actors.Planned{Rack: rack, Hash: hash})
		}, c.isRead))
	})
	g.Go(func() error {
		return unless(ctx, c.desired.watch(ctx, c.want, c.isRead))
	})
	g.Go(func() error { return unless(ctx, c.sights.watch(ctx, c.isRead)) })
	g.Go(func() error { return c.sights.keep(ctx) })
	g.Go(func() error { return c.sights.present(ctx) })
	g.Go(func() error { return unless(ctx, c.servers.watch(ctx)) })
	g.Go(func() error { return c.servers.remove(ctx) })
	g.Go(func() error { return unless(ctx, c.log.AnswerConnected(ctx, c.connectedHere)) })
	g.Go(func() error { return unless(ctx, c.keeper.followTokens(ctx)) })
	g.Go(func() error { return unless(ctx, c.keeper.followGenerations(ctx)) })
	g.Go(func() error { return c.saveAtTimes(ctx) })
	g.Go(func() error { return c.serve(ctx) })
	err = g.Wait()
	if stopErr := c.system.Root.StopFuture(pid).Wait(); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop the actors: %w", stopErr))
	}
	c.saves.close()
	c.system.Shutdown()
	return errors.Join(err, c.keeper.close())
}

// connectedHere reports whether the agent of a rack is connected to this coordinator.
func (c *Coordinator) connectedHere(ctx context.Context, rack string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return actors.Ask[bool](ctx, c.system, c.fleet, &actors.IsHere{Rack: rack})
}

// seen tells the actors what other coordinators say of an agent.
func (c *Coordinator) seen(m *actors.AgentSeen) {
	c.heads.meet(m.Rack)
	c.system.Root.Send(c.fleet, m)
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
const entriesInFlight = 8

// followLog lets the actors know what the log holds.
func (c *Coordinator) followLog(ctx context.Context) error {
	known, from, err := c.saves.known(ctx, c.log)
	if err != nil {
		return err
	}
	for _, r := range known.Racks {
		c.heads.meet(r.Rack)
		c.heads.grew(r.Rack, r.Due)
	}
	c.system.Root.Send(c.fleet, known)
	credit := make(chan struct{}, entriesInFlight)
	return c.log.Follow(ctx, from, func(entries []fleetlog.Entry) error {
		m := &actors.Logged{Done: func() { <-credit }}
		for _, e := range entries {
			m.Entries = append(m.Entries, actors.LogEntry{Rack: e.Rack, Position: e.Position, Time: e.Time, Epoch: e.Epoch, Claim: e.Journal != "", Events: e.Events})
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
		return nil
	}, fleetlog.CaughtUp(c.isRead))
}

// isRead says that one part of what is read when the coordinator starts was read, and
// told to the actors.
func (c *Coordinator) isRead() {
	if c.unread.Add(-1) == 0 {
		c.system.Root.Send(c.fleet, &actors.CaughtUp{})
	}
}

// saveEvery is how often where every rack stands is saved, if something is new; a
// rack with much that is new is saved before.
const saveEvery = 5 * time.Minute

// saveAtTimes has racks saved, a part of them at a time.
func (c *Coordinator) saveAtTimes(ctx context.Context) error {
	ticker := time.NewTicker(saveEvery / actors.SaveParts)
	defer ticker.Stop()
	for part := uint32(0); ; part++ {
		select {
		case <-ticker.C:
			c.system.Root.Send(c.fleet, &actors.SaveSome{Part: part % actors.SaveParts})
		case <-ctx.Done():
			return nil
		}
	}
}

// followOrders lets the actors know what was ordered. Those that are kept come twice;
// an order counts once.
func (c *Coordinator) followOrders(ctx context.Context) error {
	ordered := func(o *messages.Order) error {
		c.heads.meet(o.GetRack())
		c.system.Root.Send(c.fleet, &actors.Ordered{Order: o})
		return nil
	}
	kept, err := c.log.Orders(ctx)
	if err != nil {
		return err
	}
	for _, o := range kept {
		_ = ordered(o)
	}
	c.isRead()
	return c.log.FollowOrders(ctx, ordered)
}
