package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// rackProxy stands for one rack in a coordinator: what the log says of it, whether
// its agent is connected, and the orders that its agent has not answered.
//
// Its run is loaded from the log when somebody needs it, and follows the log from
// then on. An order is given to the agent at each of its connections until an
// event with its id comes back through the log.
type rackProxy struct {
	o     *FleetOptions
	name  string
	fleet *actor.PID
	self  *actor.PID
	root  *actor.RootContext

	isTold   bool   // what the log held when the coordinator started was told
	whole    bool   // and so was all else that was there: orders, plans, agents
	due      uint64 // newest event that it held
	head     uint64 // newest event in the log
	epoch    uint64
	logEpoch uint64 // by the word of the log alone
	salvaged uint64 // what is older may be out of date: the agent was adopted, or its journal salvaged
	planned  string // hash of the plan that was handed in last
	followed uint64 // newest event that came by following the log
	read     bool   // the log was read to its end; run is nil when nothing is planned
	run      *rack.Run
	made     string // hash of the plan that the run carries out
	making   string // and of that with which it is being loaded; empty: it is not known yet
	life     life
	tally    tally
	asleep   *asleep // where the run stands, which is not held: somebody will need it, or nobody; nil: it is held, or there is none
	loading  bool
	stale    bool              // load once more when this load has ended
	behind   []*messages.Event // came while the run was loaded
	askers   []*actor.PID      // wait for the run
	lost     bool              // it could not be loaded
	again    *time.Timer       // loads once more what could not be loaded; nil: nothing

	place    uint64    // of the newest message of the log that was followed
	placed   time.Time // when the log took it
	restored uint64    // place of the last message that is in what was restored
	kept     uint64    // place of the last message that is in what was saved
	saving   bool
	unsaved  int // events since

	orders   []*pendingAnswer // not answered, in their order
	awaiting map[string][]*actor.PID
	recent   []recentAnswer // the newest answers: whoever orders may ask for one too late
	refused  string         // id of the last order of a fleet that was refused: such an order begins a run

	line      *Line  // of its agent; nil: it is not connected
	lineEpoch uint64 // that the agent on the line writes in
	hello     *messages.Hello
	heard     time.Time
	beat      *messages.Heartbeat
	sighted   Sighting  // what was told of it last
	seen      *Sighting // what others told of it; nil: nothing

	ctx    context.Context // of what it started; ends with it
	cancel context.CancelFunc
}

// life is when the run of a rack began and ended.
type life struct {
	started, ended time.Time
	last           time.Time // of its newest event
}

func (l *life) apply(e rack.Event) {
	l.last = e.Time
	switch e.Kind {
	case rack.RackStarted:
		l.started = e.Time
	case rack.RackResumed:
		l.ended = time.Time{}
	case rack.RackHalted, rack.RackCompleted:
		l.ended = e.Time
	}
}

// pendingAnswer is an order that its agent has not answered.
type pendingAnswer struct {
	order  *messages.Order
	given  *Line // that it was given to
	asking bool  // its plan is being fetched
}

// Messages of a RackProxy.
type (
	inLog struct {
		position uint64 // in the log; 0: not told
		at       time.Time
		epoch    uint64
		claim    bool
		events   []*messages.Event
	}
	load   struct{ whole bool } // somebody will need its run; whole: all that was there at the start was told
	loaded struct {
		run      *rack.Run
		made     string // hash of its plan
		life     life
		restored bool // from what was saved
		err      error
	}
	filled struct {
		id   string
		plan []byte
		err  error
	}
)

var _ actor.Actor = (*rackProxy)(nil)

// Receive implements actor.Actor.
func (p *rackProxy) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		p.fleet, p.self, p.root = c.Parent(), c.Self(), c.ActorSystem().Root
		p.ctx, p.cancel = context.WithCancel(context.Background())
		p.awaiting = map[string][]*actor.PID{}
	case *actor.Stopping:
		p.saveLast()
		p.cancel()
		if p.again != nil {
			p.again.Stop()
		}
		p.lose(errors.New("the coordinator ends"))
	case *inLog:
		p.logged(m)
	case *load:
		p.whole = p.whole || m.whole
		switch {
		case p.read:
			p.tell()
			if p.unsaved >= saveAfter {
				p.save()
			}
		case !p.loading:
			p.load()
		}
	case *loaded:
		p.loaded(m)
	case *known:
		p.told(m)
	case *save:
		p.save()
		p.sleep()
	case *saved:
		p.isSaved(m)
	case *Planned:
		p.replanned(m.Hash)
	case *AgentAttached:
		p.attached(m)
	case *AgentHeard:
		if m.Line == p.line {
			p.beat, p.heard = m.Heartbeat, p.o.Now()
			p.sight()
			p.give()
			p.tell()
		}
	case *Kick:
		p.lose(m.Why)
		p.tell()
	case *AgentDetached:
		if m.Line == p.line {
			p.line = nil
			p.sight()
			p.tell()
		}
	case *AgentSeen:
		p.isSeen(m)
	case *IsHere:
		c.Respond(p.line != nil)
	case *Ordered:
		p.ordered(m.Order)
	case *filled:
		p.filled(m)
	case *Await:
		p.await(c, m.ID)
	case *Forget:
		delete(p.awaiting, m.ID)
	case *GetRack:
		p.asked(c)
	}
}

// logged takes in what the log holds since.
func (p *rackProxy) logged(m *inLog) {
	if m.position > 0 && m.position <= p.restored {
		return // that is in what was restored
	}
	p.place, p.placed = m.position, m.at
	p.raise(m.epoch)
	if m.claim && m.epoch > 1 {
		p.doubt(p.followed) // the word of an agent that is lost
	}
	p.wake()
	if p.head == 0 && p.run == nil && !p.loading && len(m.events) > 0 && m.events[0].GetSeq() == 1 {
		p.follow(m.events)
	}
	for _, e := range m.events {
		if e.GetSeq() <= p.followed {
			continue
		}
		p.followed = e.GetSeq()
		p.head = max(p.head, p.followed)
		switch {
		case p.run != nil:
			p.take(e)
		case p.loading:
			p.keepBehind(e)
		}
		// Also of an event that the load has met: somebody waits for it.
		if id := e.GetDetail().GetOrder(); id != "" {
			p.answered(id, e)
		}
	}
	p.unsaved += len(m.events)
	if p.head < p.due {
		return // all of this was told before
	}
	p.give()
	p.answer()
	p.tell()
	if p.unsaved >= saveAfter || p.run != nil && p.life.ended.Equal(p.life.last) {
		p.save()
	}
}

// raise takes in the epoch that the log says.
func (p *rackProxy) raise(epoch uint64) {
	p.logEpoch = max(p.logEpoch, epoch)
	p.epoch = max(p.epoch, epoch)
	if p.line != nil && p.lineEpoch < p.epoch {
		p.lose(errReplaced) // it must be given no more orders: the rack is not its own
	}
}

// replanned takes in the hash of the plan that was put last.
func (p *rackProxy) replanned(hash string) {
	p.planned = hash
	switch {
	case !p.isTold, p.head < p.due && !p.lost: // its run is being read from the log
	case p.run != nil && (p.run.Status != rack.Idle || p.made == hash):
	case p.asleep != nil && (p.asleep.saved.Status != rack.Idle || p.asleep.saved.PlanHash == hash):
	case p.loading && p.making == hash:
	default:
		p.load()
	}
}

// unlessPanic turns a panic into an error: what one rack's agent wrote must not end
// the coordinator of all others.
func unlessPanic(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a bug in rackreach: %.300v", r)
		}
	}()
	return fn()
}

// maxBehind bounds the events that are held while a run is loaded.
const maxBehind = 2 * readBatch

// keepBehind holds an event until the run is loaded. When there are too many, the
// oldest go: the load reads them out of the log.
func (p *rackProxy) keepBehind(e *messages.Event) {
	if len(p.behind) == maxBehind {
		p.behind = slices.Delete(p.behind, 0, readBatch)
	}
	p.behind = append(p.behind, e)
}

// errReplaced is told to the connection of an agent that another one has replaced.
var errReplaced = errors.New("another agent has taken the rack")

// doubt says that what the log holds up to a sequence may be out of date.
func (p *rackProxy) doubt(seq uint64) {
	if seq > p.salvaged {
		p.salvaged = seq
		p.wake()
	}
	if p.run != nil {
		p.run.Salvaged = p.salvaged
	}
}

// take takes one event into the run of the rack.
func (p *rackProxy) take(m *messages.Event) {
	if e := p.apply(p.run, &p.life, m); e != nil {
		p.tally.saw(e)
	}
}

// apply takes one event into a run, and returns it; nil: it is not taken. A door lets
// in only events that can be read.
func (p *rackProxy) apply(run *rack.Run, l *life, m *messages.Event) *rack.Event {
	if m.GetSeq() <= run.Seq() {
		return nil
	}
	e, err := messages.ToEvent(m)
	if err != nil {
		p.o.Logger.Error("an event in the log cannot be read, and was left out", "rack", p.name, "seq", m.GetSeq(), "error", err)
		return nil
	}
	run.Apply(e)
	l.apply(e)
	return &e
}

// asked answers a question for the state of the rack.
func (p *rackProxy) asked(c actor.Context) {
	if p.unread() || p.asleep != nil {
		p.askers = append(p.askers, c.Sender())
		p.wake()
		if p.isTold && !p.loading && !p.read {
			p.load()
		}
		return
	}
	c.Respond(p.state())
}

// answer answers those who asked, once what the rack did is known.
func (p *rackProxy) answer() {
	if len(p.askers) == 0 || p.unread() || p.asleep != nil {
		return
	}
	for _, to := range p.askers {
		p.root.Send(to, p.state())
	}
	p.askers = nil
}

// unread reports whether what the rack did is not known: it must be loaded, or
// what the log held when the coordinator started is yet to come.
func (p *rackProxy) unread() bool {
	return !p.isTold || p.head < p.due || !p.read && (p.head > 0 || p.planned != "")
}

// attached takes a new connection of the agent for the old one.
func (p *rackProxy) attached(m *AgentAttached) {
	if m.Epoch < p.epoch {
		m.Line.kick(errReplaced) // while it connected
		return
	}
	p.lose(errors.New("the agent connected anew"))
	p.line, p.lineEpoch, p.hello, p.heard, p.beat = m.Line, m.Epoch, m.Hello, p.o.Now(), nil
	p.epoch = max(p.epoch, m.Epoch)
	p.doubt(m.Hello.GetSalvaged())
	p.sight()
	p.give()
	p.tell()
}

// lose ends the connection of the agent, if there is one.
func (p *rackProxy) lose(why error) {
	if p.line != nil {
		p.line.kick(why)
		p.line = nil
		p.sight()
	}
}
