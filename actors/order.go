package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
)

// Order is what an operator orders, for an Agent that is imaging its rack. It is
// answered with Obeyed once it is journalled, or with an error: a *rack.Refusal,
// or ErrEnding.
type Order struct{ rack.Order }

// Obeyed answers an Order: the events that were journalled for it.
type Obeyed struct{ Events []rack.Event }

// ErrEnding refuses an order because the run ends at this moment.
var ErrEnding = errors.New("the run is ending at this moment: look at rackreach status, then order it again")

// ErrBusy refuses an order because too many wait before it.
var ErrBusy = fmt.Errorf("%d orders wait already: look at rackreach status, then order it again", ordersQueued)

// ordersQueued bounds the orders that wait for one before them.
const ordersQueued = 64

// pendingOrder is an order that waits until no actor drives its device.
type pendingOrder struct {
	order    rack.Order
	from     *actor.PID
	released bool // the RackSupervisor was asked to let no actor drive its device
}

// Messages between Agent and RackSupervisor about the device of an order.
type (
	release  struct{ device string } // to the RackSupervisor: let no actor drive it
	released struct{}                // its answer
	takeUp   struct {                // to the RackSupervisor: drive it again, once that event is applied
		device string
		after  uint64
	}
)

// ordered takes an order in. What a device is ordered to do is decided when no
// actor drives it: everything that the actor had to say is in the journal then,
// and nothing of it can come behind the order.
func (a *Agent) ordered(c actor.Context, m *Order) {
	if a.stopping {
		c.Respond(ErrEnding)
		return
	}
	p := &pendingOrder{order: m.Order, from: c.Sender()}
	if a.order != nil {
		if len(a.orders) == ordersQueued {
			c.Respond(ErrBusy)
			return
		}
		a.orders = append(a.orders, p)
		return
	}
	a.begin(c, p)
}

func (a *Agent) begin(c actor.Context, p *pendingOrder) {
	a.order = p
	o := p.order
	if a.run.Answered(o.ID) {
		a.answer(c, Obeyed{})
		return
	}
	// First on what is known here: an order that is refused disturbs nothing.
	if _, err := a.run.Obey(o); err != nil || a.closing || a.broken {
		if err == nil {
			err = ErrEnding
		}
		a.answer(c, a.said(o, nil, err))
		return
	}
	_, ofDevice := a.o.Rack.Device(o.Device)
	if a.supervisor == nil || !ofDevice || o.Verb == rack.Bind || o.Verb.OfLight() {
		a.obey(c)
		return
	}
	p.released = true
	c.Request(a.supervisor, &release{o.Device})
}

// obey decides the pending order on everything that is journalled by now.
func (a *Agent) obey(c actor.Context) {
	if a.order == nil {
		return
	}
	o := a.order.order
	run := a.o.newRun()
	if _, err := replay(a.o.Log, 1, func(e rack.Event) { run.Apply(e) }); err != nil {
		a.fail(fmt.Errorf("read the journal: %w", err))
		a.answer(c, ErrEnding)
		return
	}
	events, err := run.Obey(o)
	switch {
	case run.Answered(o.ID):
		events, err = nil, nil
	case err != nil:
	case a.closing || a.broken || run.Status == rack.Halted || run.Status == rack.Completed:
		err = ErrEnding
	case len(events) > 0:
		if o.Verb == rack.HaltNow {
			a.pool.drain()
		}
		if events = a.journal(events...); events == nil {
			err = ErrEnding
		} else {
			a.obeyed = events[len(events)-1].Seq
		}
	}
	if a.order.released && a.supervisor != nil {
		c.Send(a.supervisor, &takeUp{o.Device, a.obeyed})
	}
	if err == nil && o.Verb == rack.HaltNow && len(events) > 0 {
		a.armDrainLimit()
		if a.supervisor != nil {
			c.Stop(a.supervisor)
		}
	}
	if run.Answered(o.ID) {
		a.answer(c, Obeyed{})
		return
	}
	a.answer(c, a.said(o, events, err))
}

// said is the answer to an order. One that a coordinator gave, and that changes
// nothing, is answered by an event as well.
func (a *Agent) said(o rack.Order, events []rack.Event, err error) any {
	var no *rack.Refusal
	if o.ID != "" && !a.closing && !a.broken && (errors.As(err, &no) || err == nil && len(events) == 0) {
		if a.journal(a.run.Answer(o, err)) == nil {
			err = ErrEnding
		}
	}
	if err != nil {
		return err
	}
	return Obeyed{events}
}

// answer ends the pending order and begins the next one.
func (a *Agent) answer(c actor.Context, with any) {
	if a.order.from != nil {
		c.Send(a.order.from, with)
	}
	a.order = nil
	if len(a.orders) > 0 {
		next := a.orders[0]
		a.orders = a.orders[1:]
		a.begin(c, next)
	}
}

// refuseOrders answers every order that waits, and those still to come.
func (a *Agent) refuseOrders(c actor.Context) {
	a.stopping = true
	waiting := a.orders
	if a.order != nil {
		waiting = append([]*pendingOrder{a.order}, waiting...)
	}
	a.order, a.orders = nil, nil
	for _, p := range waiting {
		if p.from != nil {
			c.Send(p.from, ErrEnding)
		}
	}
}

// ofDevice reports whether a DeviceActor writes events of a kind.
func ofDevice(k rack.Kind) bool {
	switch k {
	case rack.DeviceDiscovered, rack.PhaseStarted, rack.PhaseCompleted, rack.StepStarted, rack.StepCompleted, rack.StepFailed, rack.StepWaiting,
		rack.TicketIssued, rack.DeviceHeld, rack.DeviceReleased, rack.DeviceReady:
		return true
	}
	return false
}

// newRun is the state of a run before its first event.
func (o *Options) newRun() *rack.Run {
	run := rack.NewRun(o.Rack, o.Platforms)
	run.Salvaged = o.Salvaged
	return run
}
