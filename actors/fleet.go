package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// Fleet is the top of a coordinator's actors: it knows where every rack stands,
// spawns a RackProxy for each, and begins the next rack of a fleet when it may.
// What it knows comes out of the log, so that several coordinators on one log know
// the same. Whose turn it is they put on record first, on the condition that nobody
// else has changed it meanwhile: so several hold the bound and the order of one fleet.
// What they order then has the same ids, and is kept once.
type Fleet struct {
	o        FleetOptions
	racks    map[string]*member
	desired  *Desired // nil: no fleet was applied
	isTold   bool     // what the log held at the start was told
	caughtUp bool
	kept     map[string]bool // racks whose order of this fleet this coordinator has kept
	pending  map[string]bool // whose order is being kept
	askers   []*actor.PID    // wait until where every rack stands is known
	writing  bool            // that racks are begun, or the fleet halted, is being put on record
	failures int             // of keeping something, since the last success
	again    *time.Timer     // tries once more what could not be kept; nil: nothing
	ctx      context.Context
	cancel   context.CancelFunc
}

// member is a rack as the Fleet knows it.
type member struct {
	pid   *actor.PID
	stand *stands
}

// Desired is what a fleet is to become, as it was applied.
type Desired struct {
	ID     string              `json:"id"`
	Spec   fleet.Spec          `json:"spec"`
	By     string              `json:"by"`
	Plans  map[string]string   `json:"plans"` // hash by rack
	Only   map[string][]string `json:"only,omitempty"`
	Begun  []string            `json:"begun,omitempty"`  // racks whose turn has come
	Halted string              `json:"halted,omitempty"` // why no further rack is begun; empty: it goes on
	// Revision is of the record; a later one has a higher one. 0: there are no others.
	Revision uint64 `json:"-"`
}

// OrderID is the id of the order that begins a rack of this fleet.
func (d *Desired) OrderID(rackName string) string { return fleetOrder + d.ID + "-" + rackName }

// fleetOrder begins the ids of orders that begin a rack of a fleet, and of no others: the
// answer in the log says the id of an order, and not its verb.
const fleetOrder = "fleet-"

func ofFleet(orderID string) bool { return strings.HasPrefix(orderID, fleetOrder) }

// ErrReading says that where every rack stands is not known yet.
var ErrReading = errors.New("where every rack stands is not known yet: the coordinator was started and is reading the log")

// Messages of a Fleet.
type (
	// Logged is what the log holds since. Done, which may be nil, is called once it
	// was handed on.
	Logged struct {
		Entries []LogEntry
		Done    func()
	}
	// LogEntry is a part of the log that is of one rack.
	LogEntry struct {
		Rack     string
		Position uint64    // in the log; 0: not told
		Time     time.Time // when the log took it
		Epoch    uint64
		Claim    bool // an agent took the epoch; there are no events in it
		Events   []*messages.Event
	}
	// CaughtUp says that all that was there at the start was told: what the log held,
	// orders, plans, and what the fleet is to become.
	CaughtUp struct{}
	// Ordered is an order that was kept.
	Ordered struct{ Order *messages.Order }
	// Planned is a plan that was put.
	Planned struct{ Rack, Hash string }
	// Want is what the fleet is to become from now on.
	Want struct{ Desired *Desired }

	// AgentAttached is a new connection of an agent.
	AgentAttached struct {
		Rack  string
		Hello *messages.Hello
		Epoch uint64
		Line  *Line
	}
	// AgentHeard is a heartbeat of an agent.
	AgentHeard struct {
		Rack      string
		Line      *Line
		Heartbeat *messages.Heartbeat
	}
	// AgentDetached is the end of a connection.
	AgentDetached struct {
		Rack string
		Line *Line
	}
	// Kick ends the connection of a rack's agent.
	Kick struct {
		Rack string
		Why  error
	}

	// IsHere is answered with whether the agent of a rack is connected to this
	// coordinator, or an error.
	IsHere struct{ Rack string }
	// GetRack is answered with a *messages.Rack, or an error.
	GetRack struct{ Rack string }
	// GetFleet is answered with a *messages.Fleet: at once, or, with Whole, when
	// where every rack stands is known.
	GetFleet struct{ Whole bool }
	// GetStopped is answered with a *Stopped, or an error when where every rack stands
	// is not known yet.
	GetStopped struct{}
	// Stopped are the racks of a fleet that stopped, as fleet.Stopped tells them.
	Stopped struct {
		Fleet string // its id; empty: none was applied
		Racks map[string]time.Time
	}
	// GetCounts is answered with Counts.
	GetCounts struct{}
	// Await is answered with an *Answer or a *rack.Refusal once the order of that id
	// is answered. Whoever waits says so before the order is kept, and Forget when
	// it does not wait any more.
	Await struct{ Rack, ID string }
	// Forget ends the waiting for an order.
	Forget struct{ Rack, ID string }
	// Answer is the event that answers an order.
	Answer struct{ Event *messages.Event }

	orderKept struct {
		fleet, rack string
		err         error
	}
	onRecord struct {
		what string
		err  error
	}
	tryAgain struct{}
)

var (
	_ actor.Actor              = (*Fleet)(nil)
	_ actor.SupervisorStrategy = (*Fleet)(nil)
)

// NewFleet is a Fleet before it is spawned.
func NewFleet(o FleetOptions) *Fleet {
	o.loads, o.saves = make(chan struct{}, 2*runtime.GOMAXPROCS(0)), make(chan struct{}, 1)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Fleet{o: o, racks: map[string]*member{}, kept: map[string]bool{}, pending: map[string]bool{}}
}

// HandleFailure implements actor.SupervisorStrategy: a RackProxy that crashed is
// stopped, and what its rack does cannot be told until the coordinator is started
// again. The other racks go on.
func (f *Fleet) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	for name, r := range f.racks {
		if r.pid.Equal(child) {
			f.o.Logger.Error("the proxy of a rack crashed; nothing is told of the rack until the coordinator is started again", "rack", name, "reason", fmt.Sprintf("%.300v", reason))
			r.stand = &stands{rack: name, known: true, status: r.stand.status, message: &messages.FleetRack{Name: messages.RackName(name), Status: string(r.stand.status), Cause: "a bug in rackreach: see the coordinator's messages", Agent: &messages.AgentState{}}}
		}
	}
	supervisor.StopChildren(child)
}

// Receive implements actor.Actor.
func (f *Fleet) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		f.ctx, f.cancel = context.WithCancel(context.Background())
	case *actor.Stopping:
		f.cancel()
		if f.again != nil {
			f.again.Stop()
		}
	case *Logged:
		f.logged(c, m)
	case *CaughtUp:
		f.caughtUp = true
		for _, r := range f.racks {
			r.stand.known = false // until it has told where it stands by now
			c.Send(r.pid, &load{whole: true})
		}
		f.answer(c)
	case *Known:
		f.told(c, m)
	case *SaveSome:
		for name, r := range f.racks {
			if part(name) == m.Part%SaveParts {
				c.Send(r.pid, &save{})
			}
		}
	case *Ordered:
		c.Send(f.member(c, m.Order.GetRack()).pid, m)
	case *Planned:
		c.Send(f.member(c, m.Rack).pid, m)
	case *AgentAttached:
		c.Send(f.member(c, m.Rack).pid, m)
	case *AgentHeard:
		c.Send(f.member(c, m.Rack).pid, m)
	case *AgentDetached:
		c.Send(f.member(c, m.Rack).pid, m)
	case *AgentSeen:
		c.Send(f.member(c, m.Rack).pid, m)
	case *Kick:
		f.forward(c, m.Rack)
	case *IsHere:
		f.forward(c, m.Rack)
	case *GetRack:
		f.forward(c, m.Rack)
	case *Await:
		c.Forward(f.member(c, m.Rack).pid)
	case *Forget:
		f.forward(c, m.Rack)
	case *stands:
		before := f.racks[m.rack].stand
		f.racks[m.rack].stand = m
		if m.matters(before) {
			f.next(c)
		}
		f.answer(c)
	case *Want:
		f.want(c, m.Desired)
	case *orderKept:
		delete(f.pending, m.rack)
		if m.err != nil {
			f.o.Logger.Warn("a rack of the fleet could not be begun; it is tried again", "rack", m.rack, "error", m.err)
			f.rest(c)
			return
		}
		f.failures = 0
		if f.desired != nil && f.desired.ID == m.fleet {
			f.kept[m.rack] = true
		}
		f.next(c)
	case *onRecord:
		f.writing = false
		if m.err != nil {
			f.o.Logger.Warn("what becomes of the fleet could not be kept; it is tried again", "what", m.what, "error", m.err)
			f.rest(c)
			return
		}
		f.failures = 0
		f.next(c)
	case *tryAgain:
		f.again = nil
		f.next(c)
	case *GetFleet:
		if !m.Whole {
			c.Respond(f.state())
			return
		}
		f.askers = append(f.askers, c.Sender())
		f.answer(c)
	case *GetStopped:
		f.respondStopped(c)
	case *GetCounts:
		c.Respond(f.counts())
	}
}

// answer answers those who ask for the whole fleet, once where every rack stands is
// known.
func (f *Fleet) answer(c actor.Context) {
	if len(f.askers) == 0 || !f.caughtUp {
		return
	}
	for _, r := range f.racks {
		if !r.stand.known {
			return
		}
	}
	for _, to := range f.askers {
		c.Send(to, f.state())
	}
	f.askers = nil
}

// forward hands a question to the proxy of a rack, if there is one.
func (f *Fleet) forward(c actor.Context, name string) {
	r := f.racks[name]
	if r == nil {
		if c.Sender() != nil {
			c.Respond(fmt.Errorf("rack %.80q is not known to this coordinator", name))
		}
		return
	}
	c.Forward(r.pid)
}

// member is a rack; one that was not heard of so far is spawned.
func (f *Fleet) member(c actor.Context, name string) *member {
	if r := f.racks[name]; r != nil {
		return r
	}
	var k *known
	if f.isTold {
		k = &known{}
	}
	return f.spawn(c, name, k)
}

// spawn makes a rack known. k, which may be nil, is what the log held of it.
func (f *Fleet) spawn(c actor.Context, name string, k *known) *member {
	pid, err := c.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return &rackProxy{o: &f.o, name: name} }), "rack-"+name)
	if err != nil {
		panic(fmt.Sprintf("spawn the proxy of rack %s: %v", name, err)) // a name twice: a bug
	}
	r := &member{pid: pid, stand: &stands{rack: name, status: rack.Idle, message: &messages.FleetRack{Name: messages.RackName(name), Status: Reading, Agent: &messages.AgentState{}}}}
	f.racks[name] = r
	if k != nil {
		c.Send(pid, k)
	}
	if f.caughtUp {
		c.Send(pid, &load{whole: true})
	}
	return r
}

// logged hands on what the log holds, by rack. What a rack did before the claim of
// a later epoch may be out of date: it was the word of an agent that is lost.
func (f *Fleet) logged(c actor.Context, m *Logged) {
	for i := range m.Entries {
		e := &m.Entries[i]
		c.Send(f.member(c, e.Rack).pid, &inLog{position: e.Position, at: e.Time, epoch: e.Epoch, claim: e.Claim, events: e.Events})
	}
	if m.Done != nil {
		m.Done()
	}
}

// How long a Fleet leaves the log alone that could not keep something: longer with each
// failure.
const (
	beginAgainMin = time.Second
	beginAgainMax = time.Minute
)

// rest lets some time pass before anything is begun.
func (f *Fleet) rest(c actor.Context) {
	if f.again != nil {
		return // of several that failed at once
	}
	wait := min(beginAgainMin<<min(f.failures, 10), beginAgainMax)
	f.failures++
	system, self := c.ActorSystem(), c.Self()
	f.again = time.AfterFunc(wait, func() { system.Root.Send(self, &tryAgain{}) })
}

// want takes in what the fleet is to become. It may come twice, and out of its order:
// from whoever changed it, and from the table.
func (f *Fleet) want(c actor.Context, d *Desired) {
	if d != nil && f.desired != nil && d.Revision < f.desired.Revision {
		return
	}
	if f.desired == nil || d == nil || f.desired.ID != d.ID {
		clear(f.kept)
	}
	f.desired = d
	f.next(c)
}

// next orders the racks to begin whose turn has come, and puts on record whose turn
// comes next.
func (f *Fleet) next(c actor.Context) {
	if f.desired == nil || !f.caughtUp || f.desired.Halted != "" || f.again != nil {
		return
	}
	states := f.states()
	if states == nil {
		return
	}
	system, self, d := c.ActorSystem(), c.Self(), f.desired
	for _, name := range fleet.Unordered(states) {
		f.pending[name] = true
		o := &messages.Order{Id: d.OrderID(name), Verb: messages.VerbApply, Rack: name, By: d.By, PlanHash: d.Plans[name], Only: d.Only[name]}
		go func() { system.Root.Send(self, &orderKept{d.ID, name, f.o.Order(f.ctx, o)}) }()
	}
	if f.writing {
		return
	}
	begin, halt := fleet.Next(d.Spec, states)
	switch {
	case halt != "":
		f.writing = true
		go func() { system.Root.Send(self, &onRecord{halt, f.o.Halted(f.ctx, d, halt)}) }()
	case len(begin) > 0:
		f.writing = true
		go func() {
			system.Root.Send(self, &onRecord{"begin " + strings.Join(begin, ", "), f.o.Begin(f.ctx, d, begin)})
		}()
	}
}

// states is what the rules of a fleet need to know; nil when some of it is not
// known yet.
func (f *Fleet) states() []fleet.State {
	var out []fleet.State
	begun := map[string]bool{}
	for _, name := range f.desired.Begun {
		begun[name] = true
	}
	for _, name := range f.desired.Spec.Racks {
		r, ordered := f.racks[name], f.kept[name] || f.pending[name]
		if r == nil {
			out = append(out, fleet.State{Rack: name, Status: rack.Idle, Begun: begun[name], Ordered: ordered})
			continue
		}
		if !r.stand.known {
			return nil
		}
		id := f.desired.OrderID(name)
		var ended time.Time
		if at := r.stand.message.GetEnded(); at != nil {
			ended = at.AsTime()
		}
		out = append(out, fleet.State{Rack: name, Status: r.stand.status, Ended: ended, Connected: r.stand.message.GetAgent().GetConnected(),
			Refused: r.stand.refused == id, Begun: begun[name], Ordered: ordered || slices.Contains(r.stand.orders, id)})
	}
	return out
}

// respondStopped answers which racks of the fleet have stopped.
func (f *Fleet) respondStopped(c actor.Context) {
	if !f.caughtUp { // no fleet may mean that it was not told yet
		c.Respond(ErrReading)
		return
	}
	if f.desired == nil {
		c.Respond(&Stopped{})
		return
	}
	states := f.states()
	if states == nil {
		c.Respond(ErrReading)
		return
	}
	c.Respond(&Stopped{Fleet: f.desired.ID, Racks: fleet.Stopped(states)})
}

// names are the racks, sorted.
func (f *Fleet) names() []string {
	var out []string
	for name := range f.racks {
		out = append(out, name)
	}
	if f.desired != nil {
		for _, name := range f.desired.Spec.Racks {
			if f.racks[name] == nil {
				out = append(out, name)
			}
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
