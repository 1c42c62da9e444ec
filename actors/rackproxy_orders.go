package actors

import (
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// Line is one connection of an agent, as the coordinator's actors see it. Orders
// go down it; Kicked ends when it must end.
type Line struct {
	orders chan *messages.Order
	kicked chan struct{}
	once   sync.Once
	why    error
}

// ordersOnLine bounds the orders that are given on one connection and not
// answered. The next is given when one of them is.
const ordersOnLine = 32

// NewLine is a connection that nothing was sent on.
func NewLine() *Line {
	return &Line{orders: make(chan *messages.Order, ordersOnLine), kicked: make(chan struct{})}
}

// Orders are what is to be sent to the agent.
func (l *Line) Orders() <-chan *messages.Order { return l.orders }

// Kicked is closed when the connection must end.
func (l *Line) Kicked() <-chan struct{} { return l.kicked }

// Why says why the connection must end, once Kicked is closed.
func (l *Line) Why() error { return l.why }

func (l *Line) kick(why error) {
	l.once.Do(func() { l.why = why; close(l.kicked) })
}

// ordered takes in an order that was kept.
func (p *rackProxy) ordered(o *messages.Order) {
	for _, x := range p.orders {
		if x.order.GetId() == o.GetId() {
			return
		}
	}
	p.orders = append(p.orders, &pendingAnswer{order: o})
	p.wake()
	if p.run != nil && p.run.Answered(o.GetId()) || p.wasAnswered(o.GetId()) {
		p.answered(o.GetId(), nil)
	}
	p.give()
	p.tell()
}

// give gives the agent the orders that it was not given on this connection. What
// it may have answered long ago is known only once the run is loaded.
func (p *rackProxy) give() {
	if p.line == nil || !p.isTold || p.head < p.due {
		return
	}
	if p.asleep != nil {
		if len(p.orders) > 0 {
			p.wake() // it knows which were answered
		}
		return
	}
	if !p.read && p.head > 0 {
		if len(p.orders) > 0 && !p.loading {
			p.load()
		}
		return
	}
	given := 0
	for _, x := range p.orders {
		if x.given == p.line {
			given++
			continue
		}
		if given >= ordersOnLine {
			return // the agent holds no more than a few
		}
		if x.order.GetVerb() == messages.VerbApply && len(x.order.GetPlan()) == 0 {
			p.fill(x)
			return // in their order
		}
		select {
		case p.line.orders <- x.order:
			x.given = p.line
			given++
		default:
			return
		}
	}
}

// fill fetches the plan of an order, outside of the mailbox.
func (p *rackProxy) fill(x *pendingAnswer) {
	if x.asking {
		return
	}
	x.asking = true
	id, hash := x.order.GetId(), x.order.GetPlanHash()
	go func() {
		m := &filled{id: id}
		plan, err := p.o.Plan(p.ctx, p.name, hash)
		if m.err = err; err == nil {
			m.plan = plan.JSON
		}
		p.root.Send(p.self, m)
	}()
}

func (p *rackProxy) filled(m *filled) {
	for _, x := range p.orders {
		if x.order.GetId() != m.id {
			continue
		}
		x.asking = false
		if m.err != nil {
			p.o.Logger.Warn("the plan of an order cannot be read; it is tried again with the next heartbeat", "rack", p.name, "order", m.id, "error", m.err)
			return
		}
		x.order = proto.Clone(x.order).(*messages.Order)
		x.order.Plan = m.plan
	}
	p.give()
}

// answered ends an order whose answer is in the log. e is nil when that was long
// ago.
func (p *rackProxy) answered(id string, e *messages.Event) {
	if e != nil {
		a := answerOf(e)
		for _, to := range p.awaiting[id] {
			p.root.Send(to, a)
		}
		delete(p.awaiting, id)
		if p.recent = append(p.recent, recentAnswer{id, a}); len(p.recent) > maxRecent {
			p.recent = p.recent[1:]
		}
		if _, no := a.(*rack.Refusal); no && ofFleet(id) {
			p.refused = id
		}
	}
	n := slices.IndexFunc(p.orders, func(x *pendingAnswer) bool { return x.order.GetId() == id })
	if n < 0 {
		return // it comes out of the queue later than its answer out of the log
	}
	p.orders = slices.Delete(p.orders, n, n+1)
	go func() {
		if err := p.o.Answered(p.ctx, p.name, id); err != nil && p.ctx.Err() == nil {
			p.o.Logger.Warn("an order that was answered stays in the queue until the next start", "rack", p.name, "order", id, "error", err)
		}
	}()
}

// recentAnswer is the answer to an order.
type recentAnswer struct {
	id     string
	answer any
}

// maxRecent bounds the answers that are remembered.
const maxRecent = 64

// wasAnswered reports whether an order is known to be answered without the run: an
// agent that has no plan answers too, and an order of a fleet may come twice.
func (p *rackProxy) wasAnswered(id string) bool {
	return id == p.refused || slices.ContainsFunc(p.recent, func(r recentAnswer) bool { return r.id == id })
}

// await answers whoever waits for the answer to an order, now or later.
func (p *rackProxy) await(c actor.Context, id string) {
	for _, r := range p.recent {
		if r.id == id {
			c.Respond(r.answer)
			return
		}
	}
	p.awaiting[id] = append(p.awaiting[id], c.Sender())
}

// answerOf is the answer to an order that an event says.
func answerOf(e *messages.Event) any {
	if d := e.GetDetail(); e.GetKind() == string(rack.OrderAnswered) && d.GetError() != "" {
		return &rack.Refusal{What: d.GetError(), Next: d.GetNext()}
	}
	return &Answer{Event: e}
}

// state is where the rack stands.
func (p *rackProxy) state() *messages.Rack {
	m := &messages.Rack{Name: messages.RackName(p.name), Status: string(rack.Idle)}
	if p.run != nil {
		transfers := map[string]*messages.Transfer{}
		for _, t := range p.beat.GetTransfers() {
			transfers[t.GetDevice()] = t
		}
		m = messages.FromRun(p.run, func(device string) (sent, size int64) {
			return transfers[device].GetSent(), transfers[device].GetSize()
		})
		if m.PlanHash == "" {
			m.PlanHash = p.planned
		}
	}
	m.LastSeq, m.Agent = p.head, p.agent()
	m.Driven, m.Speed = m.Agent.Driven, max(p.beat.GetSpeed(), 1)
	if !p.life.last.IsZero() {
		m.LastTime = timestamppb.New(p.life.last)
	}
	return m
}

// tell tells the Fleet where the rack stands.
func (p *rackProxy) tell() { p.root.Send(p.fleet, p.standing()) }
