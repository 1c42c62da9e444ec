package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// ErrTicketClosed answers a report under a ticket that is no longer open.
var ErrTicketClosed = errors.New("this ticket is closed: the job it stood for is over")

// Bounds of Agent's mailbox.
const (
	seenInFlight = 1024 // observations that were published but not handled yet; more are dropped and counted
	tailInFlight = 4    // batches of events on their way from the journal
)

// dhcpName is the name of the DHCPActor below its Agent.
const dhcpName = "dhcp"

// Agent drives one rack. It owns the journal's tail, the work pool, and through
// Options the services; it decides what belongs to the rack as a whole, and is
// the SupervisorStrategy of its children: it journals why a rack ends before
// the directive is applied.
type Agent struct {
	o        Options
	run      *rack.Run
	facts    facts
	words    words
	notes    notes
	lights   *lights
	pool     *pool
	stopPool context.CancelFunc

	system     *actor.ActorSystem
	self       *actor.PID
	supervisor *actor.PID            // nil once it is gone
	deadline   *time.Timer           // of draining
	waiting    map[uint64]*actor.PID // who is told once the event of that sequence is applied
	opening    map[rack.Port]bool    // links whose next event was journalled but not applied yet
	head       uint64                // last event applied
	born       uint64                // last event of the lives before this one
	scan       *scan                 // of the neighbours of switches, as long as the actor lives; nil until it began
	asks       bool                  // it asks interrupted devices, too: a life that began in a rack that drains, where nobody else does
	listening  map[rack.Port]string  // what ports hear that was journalled but not applied yet
	order      *pendingOrder         // the order that waits for its device's actor to end; nil: none
	orders     []*pendingOrder       // those behind it, at most ordersQueued
	obeyed     uint64                // last event journalled for an order
	closing    bool                  // rack-halted or rack-completed was journalled, or is as soon as leaving ends
	leaving    bool                  // the RackSupervisor ends, then the run is halted
	broken     bool                  // the journal failed: nothing is decided any more
	stopping   bool                  // orders are refused
	ended      bool                  // Ended was called

	tailCancel context.CancelFunc
	tailDone   chan struct{}
	credit     chan struct{}
	sub        *eventstream.Subscription
	inFlight   *atomic.Int64
	dropped    *atomic.Uint64
}

// Messages of an Agent.
type (
	tailed     struct{ events []rack.Event }
	tailEnded  struct{ err error }
	seen       struct{ message *messages.DeviceSeen }
	poolIdle   struct{}
	drainLimit struct{}
	// Report is a device's own word about its job, from the boot services. It
	// is answered with Reported once it is journalled and applied, or with
	// ErrTicketClosed.
	Report struct {
		Ticket      string
		Observation rack.Observation
	}
	// Reported answers a Report.
	Reported struct{}
)

var (
	_ actor.Actor              = (*Agent)(nil)
	_ actor.SupervisorStrategy = (*Agent)(nil)
)

// NewAgent is an Agent before it is spawned.
func NewAgent(o Options) *Agent {
	if o.Inject == nil {
		o.Inject = func(string, rack.Phase) {}
	}
	if o.At == nil {
		o.At = func(Point, uint64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Agent{o: o, run: o.newRun(), facts: facts{}, words: words{}, notes: newNotes(), lights: newLights(o.Lamp), waiting: map[uint64]*actor.PID{},
		opening: map[rack.Port]bool{}, listening: map[rack.Port]string{}, inFlight: &atomic.Int64{}, dropped: &atomic.Uint64{}}
}

// Dropped counts the observations that were dropped because Agent could not
// keep up. It may be called from any goroutine.
func (a *Agent) Dropped() uint64 { return a.dropped.Load() }

// Receive implements actor.Actor.
func (a *Agent) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		a.start(c)
	case *tailed:
		for _, e := range m.events {
			a.apply(c, e)
		}
		if a.supervisor != nil {
			c.Send(a.supervisor, &happened{m.events})
		}
		a.leave(c)
		<-a.credit
	case *tailEnded:
		a.fail(fmt.Errorf("read the journal: %w", m.err))
	case *seen:
		a.inFlight.Add(-1)
		a.observe(m.message)
	case *tableRead:
		a.inFlight.Add(-1)
		a.readTable(m)
	case *Report:
		a.report(c, m)
	case *Note:
		a.note(m)
	case *Order:
		a.ordered(c, m)
	case *released:
		a.obey(c)
	case *poolIdle:
		a.drained(false)
	case *scanDue:
		a.scan.start(c, a.round())
	case *scanEnded:
		a.scan.arm(c)
	case *heard:
		a.hear(m)
	case *drainLimit:
		a.drained(true)
	case *actor.Terminated:
		if a.supervisor != nil && m.Who.Equal(a.supervisor) {
			a.supervisor = nil
			a.obey(c) // an order that waited for a device of it waits in vain
			a.drained(false)
			if a.leaving {
				a.leaving = false
				a.conclude()
			}
		}
	case *actor.Stopping:
		a.stopServices(c)
	case *actor.Stopped:
		a.stopPool()
		a.pool.wg.Wait()
		a.lights.end()
	}
}

func (a *Agent) start(c actor.Context) {
	system, self := c.ActorSystem(), c.Self()
	a.system, a.self = system, self
	poolCtx, stopPool := context.WithCancel(context.Background())
	a.stopPool = stopPool
	a.pool = newPool(poolCtx, a.o.Executor, func() { system.Root.Send(self, &poolIdle{}) })

	a.sub = system.EventStream.Subscribe(func(event any) {
		switch m := event.(type) {
		case *messages.DeviceSeen:
			event = &seen{m}
		case *tableRead:
		default:
			return
		}
		if a.inFlight.Add(1) > seenInFlight {
			a.inFlight.Add(-1)
			a.dropped.Add(1)
			return
		}
		system.Root.Send(self, event)
	})

	// What an earlier life journalled: taken in at once, announced, not acted on.
	head, err := replay(a.o.Log, 1, func(e rack.Event) {
		a.run.Apply(e)
		a.facts.recall(e)
		a.words.apply(e)
		a.notes.recall(e)
		a.lights.recall(e)
		a.o.Announce(e)
	})
	if err != nil {
		a.end(fmt.Errorf("read the journal: %w", err))
		return
	}
	a.head, a.born = head, head
	a.offer()
	a.warn()
	a.scan = newScan(a.o.Scanner, a.o.ScanEvery, c)
	ended := a.run.Status == rack.Halted || a.run.Status == rack.Completed
	if ended {
		a.startTail(system, self) // what devices still have to say is taken in, and answered
		a.end(nil)
	}
	if ended && !a.o.Stay {
		return
	}
	a.rekindle()
	if _, err := c.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return &dhcpActor{open: a.o.DHCP} }), dhcpName); err != nil {
		a.end(fmt.Errorf("spawn the DHCPActor: %w", err))
		return
	}
	if !ended && a.goOn(c) {
		a.startTail(system, self)
	}
}

// goOn takes up the run where the journal says it was. A rack whose switch had
// failed when the last life ended before it could say so is halted now.
func (a *Agent) goOn(c actor.Context) bool {
	switch a.run.Status {
	case rack.Draining:
		a.pool.drain()
		a.armDrainLimit()
		a.asks = true
		a.drained(false)
		return true
	case rack.Imaging:
		if failed := a.run.FailedSwitch(); failed != "" {
			a.pool.drain()
			a.drain(failed, a.run.Device(failed).Error)
			return true
		}
	}
	rs, err := c.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return newRackSupervisor(&a.o, a.pool) }), "rack")
	if err != nil {
		a.end(fmt.Errorf("spawn the RackSupervisor: %w", err))
		return false
	}
	a.supervisor = rs
	if a.run.Status == rack.Idle {
		a.journal(a.event(rack.RackStarted, rack.Detail{PlanHash: a.o.PlanHash, Run: a.o.RunID, Only: a.o.Only, Bundle: a.o.Bundle, SignedBy: a.o.SignedBy}))
	}
	a.completed()
	a.leave(c)
	return true
}

// warn names the devices that nothing is done to until an operator says what.
func (a *Agent) warn() {
	var uncertain []string
	for i := range a.o.Rack.Devices {
		if name := a.o.Rack.Devices[i].Name; a.run.Uncertain(name) && a.run.Wanted(name) {
			uncertain = append(uncertain, name)
		}
	}
	if len(uncertain) > 0 {
		a.o.Logger.Warn("the journal was salvaged, and nobody knows what was done to these devices: they are left alone until each is ordered to be retried, reimaged or skipped",
			"devices", uncertain)
	}
}

// startTail lets the journal's events come back, in order, a few batches at a time.
func (a *Agent) startTail(system *actor.ActorSystem, self *actor.PID) {
	ctx, cancel := context.WithCancel(context.Background())
	a.tailCancel, a.tailDone, a.credit = cancel, make(chan struct{}), make(chan struct{}, tailInFlight)
	from := a.head + 1
	go func() {
		defer close(a.tailDone)
		err := journal.Tail(ctx, a.o.Log, from, func(events []rack.Event) error {
			select {
			case a.credit <- struct{}{}:
				system.Root.Send(self, &tailed{events})
			case <-ctx.Done():
			}
			return nil
		})
		if err != nil {
			system.Root.Send(self, &tailEnded{err})
		}
	}()
}

// stopServices ends what feeds this mailbox. The children stop after this.
func (a *Agent) stopServices(c actor.Context) {
	c.ActorSystem().EventStream.Unsubscribe(a.sub)
	if a.tailCancel != nil {
		a.tailCancel()
		<-a.tailDone
	}
	if a.deadline != nil {
		a.deadline.Stop()
	}
	if a.scan != nil {
		a.scan.end()
	}
	a.pool.drain()
	a.refuseOrders(c)
	a.end(errors.New("the agent was stopped"))
}

// apply takes in one journalled event and does what it asks of this actor.
func (a *Agent) apply(c actor.Context, e rack.Event) {
	before := a.run.Binder()
	a.run.Apply(e)
	a.facts.apply(e)
	a.words.apply(e)
	a.notes.apply(e)
	a.head = e.Seq
	own := !ofDevice(e.Kind)
	if own {
		a.o.At(Applied, e.Seq)
		defer a.o.At(Acted, e.Seq)
	}
	if changesOffer(e) || a.run.Binder() != before {
		a.offer()
	}
	if to := a.waiting[e.Seq]; to != nil {
		delete(a.waiting, e.Seq)
		c.Send(to, Reported{})
	}
	a.o.Announce(e)
	a.light(e)
	switch e.Kind {
	case rack.Observed:
		a.drained(false)
	case rack.LinkOpen, rack.LinkClosed:
		if p, err := rack.ParsePort(e.Detail.Link); err == nil {
			delete(a.opening, p)
		}
	case rack.NeighbourSeen:
		a.listened(e)
	case rack.RackDraining:
		a.drained(false)
	case rack.DeviceReady, rack.DeviceFailed, rack.DeviceSkipped, rack.DeviceRetried, rack.ReimageOrdered, rack.DeviceReplaced, rack.DeviceBound, rack.RackResumed:
		a.completed()
	case rack.RackHalted, rack.RackCompleted:
		a.end(nil)
	}
}

// completed ends the run once every device is ready, failed or skipped; one that
// was asked for a few devices only, once these are. What was ordered meanwhile
// must be known: it may have given a device something to do again.
func (a *Agent) completed() {
	if a.run.Status != rack.Imaging || !a.run.Settled() || a.closing || a.deadline != nil || a.head < a.obeyed {
		return
	}
	a.closing = true
	if len(a.run.Only) > 0 && a.supervisor != nil {
		a.leaving = true
		return
	}
	a.conclude()
}

// leave ends the RackSupervisor of a run that is to be halted once it has heard
// of everything: nobody writes behind rack-halted.
func (a *Agent) leave(c actor.Context) {
	if a.leaving && a.supervisor != nil {
		c.Poison(a.supervisor)
	}
}

// conclude journals the end of the run.
func (a *Agent) conclude() {
	ready, failed := a.run.Tally()
	kind, d := rack.RackCompleted, rack.Detail{Ready: ready, Failed: failed}
	if len(a.run.Only) > 0 {
		kind, d.Reason = rack.RackHalted, "only "+strings.Join(a.run.Only, ", ")+" was asked for"
	}
	a.journal(a.event(kind, d))
}

// journal appends events of this actor. A journal that cannot be written ends
// the agent: nothing more may be decided.
func (a *Agent) journal(events ...rack.Event) []rack.Event {
	stored, err := a.o.Log.Append(events...)
	if err != nil {
		a.fail(fmt.Errorf("write the journal: %w", err))
		return nil
	}
	if n := len(stored); n > 0 {
		a.o.At(Appended, stored[n-1].Seq)
	}
	return stored
}

// fail ends the agent because of its journal, also when it stays behind the end
// of its run.
func (a *Agent) fail(err error) {
	if a.ended && a.o.Stay && !a.broken {
		a.o.Ended(err)
	}
	a.broken = true
	a.end(err)
}

// end tells once how the run ended.
func (a *Agent) end(err error) {
	if !a.ended {
		a.ended = true
		a.o.Ended(err)
	}
}

func (a *Agent) event(k rack.Kind, d rack.Detail) rack.Event {
	return rack.Event{Rack: a.o.Rack.Name, Kind: k, Detail: d}
}
