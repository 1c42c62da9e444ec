package rackagent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// ErrUnplugged is the end of a life whose wires are gone, not its rack's run: the
// next life waits for others. It is wrapped.
var ErrUnplugged = errors.New("the way to the rack is gone")

// Life is the actors of a rack from their start to their end: they carry a run to
// its end, and stay until they are told to stop. *Agent is one, with its wires.
type Life interface {
	// Run lasts until ctx ends, which is no error. Errors: ErrUnplugged, wrapped;
	// any other is the end of the process, which is started again.
	Run(ctx context.Context) error
	// Order is that of an Agent. One that comes before Run waits for it.
	Order(ctx context.Context, o rack.Order) ([]rack.Event, error)
	// Speed and Transferred are those of api.Backend.
	Speed() float64
	Transferred(device string) (sent, size int64)
	// ServerIDs are what devices may take for the address of their DHCP server.
	ServerIDs() []netip.Addr
}

// KeeperOptions are what a Keeper is built from. Kept and Open must be set.
type KeeperOptions struct {
	Kept *Kept // opened by OpenWaiting; whoever opened it closes it once Run has returned
	// Open makes the next life of a rack that carries out kept.Carried. It may wait
	// for the wires as long as ctx lasts.
	Open func(ctx context.Context, kept *Kept) (Life, error)
	// Check says what else is wrong with a plan that a coordinator gives; nil: nothing.
	Check func(*state.Plan) error
	// API is where the API of the rack is served; nil: nowhere. Run closes it.
	API net.Listener
	// Uplink talks to a coordinator until ctx ends. An error of it ends the Keeper;
	// a *Superseded for good. nil: there is no coordinator.
	Uplink func(ctx context.Context, k *Keeper) error
	// At is called at the points of the events that the keeper itself journals, as
	// that of actors.Options; nil: nothing.
	At     func(p actors.Point, seq uint64)
	Logger *slog.Logger // nil: discarded
}

// Keeper is the agent of a rack that lives on between its runs: it waits for a
// plan, drives the rack by one Life after the other, and takes orders at every
// moment, from its own machine and from a coordinator.
//
// While a run is under way, orders go to the living actors. When it has ended,
// the actors stay to answer devices, and an order that changes something is
// decided on the journal once they have been stopped: nothing of theirs can be
// journalled behind it. A new life takes up what the order left.
type Keeper struct {
	o       KeeperOptions
	kept    atomic.Pointer[Kept]
	living  atomic.Pointer[living]
	turn    chan struct{} // holds one: who may begin or stop a life, or decide without one
	giving  orders        // those with an id that are being answered
	planned chan struct{} // closed when a plan has come

	mu  sync.Mutex
	run *rack.Run // up to what was asked for last

	side sync.Mutex // guards what the uplink says
	link link

	siblings *Siblings
}

// living is a life that has begun.
type living struct {
	Life
	stop func()
	done chan struct{} // closed once Run has returned
	err  error         // of Run; after done
}

// trouble is the error of a life that has ended, unless the next one goes on.
func (l *living) trouble() error {
	if errors.Is(l.err, ErrUnplugged) {
		return nil
	}
	return l.err
}

var _ api.Backend = (*Keeper)(nil)

// NewKeeper makes a keeper. Errors: that of the epoch that is kept; *Superseded.
func NewKeeper(o KeeperOptions) (*Keeper, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Check == nil {
		o.Check = func(*state.Plan) error { return nil }
	}
	if o.At == nil {
		o.At = func(actors.Point, uint64) {}
	}
	k := &Keeper{o: o, turn: make(chan struct{}, 1), planned: make(chan struct{}), giving: orders{of: map[string]chan struct{}{}}}
	k.kept.Store(o.Kept)
	var err error
	if k.link.epoch, err = o.Kept.Dir.ReadEpoch(); err != nil {
		return nil, err
	}
	if s := k.link.epoch.Superseded; s != nil {
		return nil, &Superseded{Rack: k.Name(), Epoch: s.Epoch, Journal: s.Journal}
	}
	k.siblings = openSiblings(o.Kept.Dir, o.Logger)
	k.run = o.Kept.NewRun()
	if err := catchUp(k.run, o.Kept.Journal); err != nil {
		return nil, err
	}
	return k, nil
}

// Run keeps the rack until ctx ends, which is no error, or the journal, a life or
// the uplink does. Everything is shut down when it returns.
func (k *Keeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 3)
	var wg, serving sync.WaitGroup
	begin := func(wg *sync.WaitGroup, fn func() error) {
		wg.Go(func() {
			err := fn()
			if err != nil {
				cancel() // the life ends at once
			}
			errs <- err
		})
	}
	served, endServing := context.WithCancel(context.WithoutCancel(ctx))
	defer endServing()
	if k.o.API != nil {
		begin(&serving, func() error { return serve(served, k.o.API, k) })
	}
	begin(&wg, func() error { return k.live(ctx) })
	if k.o.Uplink != nil {
		begin(&wg, func() error { return k.supersede(k.o.Uplink(ctx, k)) })
	}
	wg.Wait()
	endServing()
	serving.Wait()
	close(errs)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// live drives the rack by one life after the other.
func (k *Keeper) live(ctx context.Context) error {
	for {
		// It does not idle, and its devices are known.
		if err := k.waitFor(ctx, func(run *rack.Run) bool { return run.Status != rack.Idle && len(run.Rack.Devices) > 0 }); err != nil {
			return unless(ctx, err)
		}
		life, err := k.o.Open(ctx, k.kept.Load())
		if err != nil {
			return unless(ctx, err)
		}
		l := k.begin(life)
		select {
		case <-l.done:
		case <-ctx.Done():
			l.stop()
			<-l.done
		}
		k.take()
		k.living.CompareAndSwap(l, nil)
		k.give()
		if err := l.trouble(); err != nil {
			return err
		}
		if l.err != nil {
			k.o.Logger.Warn("the rack cannot be reached any more; the agent waits for it", "error", l.err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// begin lets a life run. Nobody decides an order meanwhile.
func (k *Keeper) begin(life Life) *living {
	k.take()
	defer k.give()
	ctx, stop := context.WithCancel(context.Background())
	l := &living{Life: life, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer stop()
		if l.err = life.Run(ctx); l.err == nil && ctx.Err() == nil {
			l.err = fmt.Errorf("the life of the agent of rack %s ended by itself, which is a bug in rackreach", k.Name())
		}
	}()
	k.living.Store(l)
	return l
}

func (k *Keeper) take() { k.turn <- struct{}{} }
func (k *Keeper) give() { <-k.turn }

// unless is an error that did not come of the end of a context.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// look brings the keeper's copy of the run up to the end of the journal and lets
// fn read it.
func (k *Keeper) look(fn func(*rack.Run)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := catchUp(k.run, k.kept.Load().Journal); err != nil {
		return err
	}
	fn(k.run)
	return nil
}

// waitFor returns once the journal says that something is so. Errors: the
// context's, the journal's.
func (k *Keeper) waitFor(ctx context.Context, so func(*rack.Run) bool) error {
	for {
		met, next := false, uint64(0)
		if err := k.look(func(run *rack.Run) { met, next = so(run), run.Seq()+1 }); err != nil || met {
			return err
		}
		if err := k.kept.Load().Journal.Wait(ctx, next); err != nil {
			return err
		}
	}
}

// named is closed once a plan names the rack's devices; nil: one does already.
func (k *Keeper) named() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept.Load().Carried != nil {
		return nil
	}
	return k.planned
}

// carry begins a run that carries out a plan, which is durable. There was none.
func (k *Keeper) carry(p *state.Plan, begins rack.Event) ([]rack.Event, error) {
	k.mu.Lock() // nobody sees it begun by a rack without devices
	defer k.mu.Unlock()
	events, err := k.append(begins)
	if err != nil {
		return nil, err
	}
	kept := k.kept.Load().carrying(p)
	k.kept.Store(kept)
	k.run = kept.NewRun()
	close(k.planned)
	return events, nil
}

// append journals events of the keeper itself.
func (k *Keeper) append(events ...rack.Event) ([]rack.Event, error) {
	stored, err := k.Journal().Append(events...)
	if n := len(stored); n > 0 {
		k.o.At(actors.Appended, stored[n-1].Seq)
	}
	return stored, err
}

// Alive reports whether the keeper can say how its rack is within a time.
func (k *Keeper) Alive(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	seen := make(chan error, 1)
	go func() { seen <- k.look(func(*rack.Run) {}) }()
	select {
	case err := <-seen:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the state of rack %s was not told within %s", k.Name(), within)
	}
}

// Name is the name of the rack.
func (k *Keeper) Name() string { return k.Journal().Meta().Rack }

// Journal is the rack's journal.
func (k *Keeper) Journal() *journal.Store { return k.o.Kept.Journal }

// NewRun implements api.Backend.
func (k *Keeper) NewRun() *rack.Run { return k.kept.Load().NewRun() }

// Log implements api.Backend.
func (k *Keeper) Log() journal.Log { return k.Journal() }

// Plan implements api.Backend; nil: the agent waits for one.
func (k *Keeper) Plan() []byte { return k.kept.Load().Plan() }

// Driven implements api.Backend: actors live. They answer devices also when the
// run has ended.
func (k *Keeper) Driven() bool { return k.living.Load() != nil }

// Speed implements api.Backend.
func (k *Keeper) Speed() float64 {
	if l := k.living.Load(); l != nil {
		return l.Speed()
	}
	return 1
}

// Transferred implements api.Backend.
func (k *Keeper) Transferred(device string) (sent, size int64) {
	if l := k.living.Load(); l != nil {
		return l.Transferred(device)
	}
	return 0, 0
}
