package rackagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// fakeLife is a life without actors: what it does is the test's own.
type fakeLife struct {
	run   func(ctx context.Context) error
	order func(o rack.Order) ([]rack.Event, error)

	serves []netip.Addr
}

func (f *fakeLife) Run(ctx context.Context) error {
	if f.run != nil {
		return f.run(ctx)
	}
	<-ctx.Done()
	return nil
}

func (f *fakeLife) Order(_ context.Context, o rack.Order) ([]rack.Event, error) { return f.order(o) }
func (f *fakeLife) Speed() float64                                              { return 7 }
func (f *fakeLife) ServerIDs() []netip.Addr                                     { return f.serves }
func (f *fakeLife) Transferred(d string) (sent, size int64)                     { return 1, 2 }

// stage is a keeper whose run was begun, with fake lives.
type stage struct {
	t     *testing.T
	dir   state.Dir
	k     *Keeper
	ended chan error
	end   context.CancelFunc
}

func newStage(t *testing.T, change func(*stage, *KeeperOptions)) *stage {
	t.Helper()
	s := &stage{t: t, dir: state.Home(t.TempDir()).Rack("r4"), ended: make(chan error, 1)}
	kept, err := OpenKept(s.dir, "r4", resolved(t, smallRack))
	if err == nil {
		_, err = kept.Journal.Append(rack.Event{Rack: "r4", Kind: rack.RackStarted, Detail: rack.Detail{PlanHash: kept.Carried.Plan.Hash}})
	}
	if err != nil {
		t.Fatal(err)
	}
	o := KeeperOptions{Kept: kept, Open: func(context.Context, *Kept) (Life, error) { return &fakeLife{}, nil }}
	change(s, &o)
	if s.k, err = NewKeeper(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	go func() { s.ended <- errors.Join(s.k.Run(ctx), kept.Close()) }()
	t.Cleanup(func() { cancel() })
	return s
}

// ends ends the keeper, or waits for its own end, and returns its error.
func (s *stage) ends(orderly bool) error {
	if orderly {
		s.end()
	}
	return <-s.ended
}

func (s *stage) append(e rack.Event) {
	e.Rack = "r4"
	if _, err := s.k.Journal().Append(e); err != nil {
		s.t.Error(err)
	}
}

// TestOrdersAreNotLost: whatever the actors say of their own end, an order of a
// coordinator gets its answer.
func TestOrdersAreNotLost(t *testing.T) {
	for name, says := range map[string]error{"ending": actors.ErrEnding, "gone": actors.ErrGone, "without an answer": nil, "refused without an answer": &rack.Refusal{What: "no", Next: "nothing"}} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan struct{})
			var once sync.Once
			s := newStage(t, func(s *stage, o *KeeperOptions) {
				o.Open = func(context.Context, *Kept) (Life, error) {
					return &fakeLife{order: func(rack.Order) ([]rack.Event, error) {
						once.Do(func() { close(asked) })
						return nil, says
					}}, nil
				}
			})
			s.lives()
			answered := make(chan error, 1)
			go func() {
				answered <- s.k.Obey(context.Background(), &messages.Order{Id: "o", Verb: "retry", Device: "tor-1", Rack: "r4"})
			}()
			<-asked
			s.append(rack.Event{Kind: rack.DeviceFailed, Device: "tor-1", Role: rack.ToRSwitch, Detail: rack.Detail{Error: "e"}})
			s.append(rack.Event{Kind: rack.RackDraining, Device: "tor-1"})
			s.append(rack.Event{Kind: rack.RackHalted, Device: "tor-1"})
			if err := <-answered; err != nil {
				t.Error(err)
			}
			events, err := s.k.Journal().Read(1, 100)
			if last := events[len(events)-1]; err != nil || last.Kind != rack.DeviceRetried || last.Detail.Order != "o" {
				t.Errorf("%+v %v", last, err)
			}
			if err := s.ends(true); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestALifeThatStaysIsStoppedFirst: what it still had to say stands before what
// is decided without it. An order that is refused leaves it alone.
func TestALifeThatStaysIsStoppedFirst(t *testing.T) {
	var lives atomic.Int32
	s := newStage(t, func(s *stage, o *KeeperOptions) {
		o.Open = func(context.Context, *Kept) (Life, error) {
			return &fakeLife{run: func(ctx context.Context) error {
				lives.Add(1)
				<-ctx.Done()
				s.append(rack.Event{Kind: rack.Observed, Device: "server-01", Role: rack.Server, Detail: rack.Detail{Seen: &rack.Observation{Source: rack.FromDHCP, Device: "server-01"}}})
				return nil
			}}, nil
		}
	})
	s.lives()
	s.append(rack.Event{Kind: rack.RackHalted})
	before := s.k.living.Load()
	if _, err := s.k.Order(t.Context(), rack.Order{Verb: rack.Retry, Device: "server-01"}); err == nil || s.k.living.Load() != before {
		t.Error("an order that is refused disturbed the life:", err)
	}
	events, err := s.k.Order(t.Context(), rack.Order{Verb: rack.Skip, Device: "server-01", Reason: "x"})
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	all, err := s.k.Journal().Read(events[0].Seq-1, 10)
	if err != nil || all[0].Kind != rack.Observed {
		t.Errorf("before the order: %+v %v", all[0], err)
	}
	s.lives() // the next one
	if err := s.ends(true); err != nil || lives.Load() != 2 {
		t.Errorf("%d lives, %v", lives.Load(), err)
	}
}

// lives waits until a life has begun.
func (s *stage) lives() {
	for s.k.living.Load() == nil {
		s.k.take()
		s.k.give()
	}
}

// TestABusyLifeIsAskedAgain until it takes the order.
func TestABusyLifeIsAskedAgain(t *testing.T) {
	asked := 0
	s := newStage(t, func(s *stage, o *KeeperOptions) {
		o.Open = func(context.Context, *Kept) (Life, error) {
			return &fakeLife{order: func(rack.Order) ([]rack.Event, error) {
				if asked++; asked < 3 {
					return nil, actors.ErrBusy
				}
				return []rack.Event{{Kind: rack.RackDraining}}, nil
			}}, nil
		}
	})
	s.lives()
	if events, err := s.k.Order(t.Context(), rack.Order{Verb: rack.HaltNow}); err != nil || len(events) != 1 || asked != 3 {
		t.Errorf("asked %d times: %v %v", asked, events, err)
	}
	if err := s.ends(true); err != nil {
		t.Error(err)
	}
}

// TestOrdersBeforeALife: one that waits for the wires takes orders as well.
func TestOrdersBeforeALife(t *testing.T) {
	s := newStage(t, func(_ *stage, o *KeeperOptions) {
		o.Open = func(ctx context.Context, _ *Kept) (Life, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	if e, err := s.k.Order(t.Context(), rack.Order{Verb: rack.Skip, Device: "server-01", Reason: "x"}); err != nil || len(e) != 1 {
		t.Error(e, err)
	}
	if e, err := s.k.Order(t.Context(), rack.Order{Verb: rack.HaltNow}); err != nil || len(e) != 1 || e[0].Kind != rack.RackDraining {
		t.Error(e, err)
	}
	if s.k.Driven() || s.k.Speed() != 1 {
		t.Error("it is driven")
	}
	if err := s.ends(true); err != nil {
		t.Error(err)
	}
}

// TestLivesThatEnd: without its rack the next one waits, any other trouble ends
// the process.
func TestLivesThatEnd(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"a crash":   {errors.New("a bug"), "a bug"},
		"by itself": {nil, "ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			lives := 0
			s := newStage(t, func(_ *stage, o *KeeperOptions) {
				o.Open = func(context.Context, *Kept) (Life, error) {
					if lives++; lives < 3 {
						return &fakeLife{run: func(context.Context) error { return fmt.Errorf("%w: it was switched off", ErrUnplugged) }}, nil
					}
					return &fakeLife{run: func(context.Context) error { return c.err }}, nil
				}
			})
			if err := s.ends(false); err == nil || !strings.Contains(err.Error(), c.says) || lives != 3 {
				t.Errorf("%d lives, %v", lives, err)
			}
		})
	}
}

// TestSuperseded: the life ends at once, and no other process of this agent
// begins one.
func TestSuperseded(t *testing.T) {
	over := make(chan struct{})
	ended := false
	s := newStage(t, func(_ *stage, o *KeeperOptions) {
		o.Open = func(context.Context, *Kept) (Life, error) {
			serves := []netip.Addr{netip.MustParseAddr("192.168.104.254"), netip.MustParseAddr("10.0.4.254")}
			return &fakeLife{serves: serves, run: func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil }}, nil
		}
		o.Uplink = func(_ context.Context, k *Keeper) error {
			if err := k.Welcomed(3); err != nil {
				return err
			}
			k.Linked(true, 1)
			<-over
			return fmt.Errorf("uplink: %w", &Superseded{Epoch: 4, Journal: "other"})
		}
	})
	s.lives()
	for connected := false; !connected; {
		connected, _ = s.k.Lag()
	}
	if e, h := s.k.Epoch(), s.k.Heartbeat(); e != 3 || !h.GetDriven() || h.GetSpeed() != 7 || len(h.GetTransfers()) != 4 || h.GetLastSeq() != 1 || strings.Join(h.GetServerIds(), " ") != "192.168.104.254 10.0.4.254" {
		t.Errorf("epoch %d, %v", e, h)
	}
	s.append(rack.Event{Kind: rack.OrderAnswered})
	for i, want := range []float64{1, 1} { // connected, and one event behind
		if got := testutil.ToFloat64(s.k.Metrics()[i]); got != want {
			t.Errorf("metric %d is %g, want %g", i, got, want)
		}
	}
	close(over)
	var other *Superseded
	if err := s.ends(false); !errors.As(err, &other) || !strings.Contains(err.Error(), "rackreach agent --rack r4 --adopt") || !ended {
		t.Errorf("%v, the life ended: %v", err, ended)
	}
	kept, err := OpenWaiting(s.dir, "r4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeeper(KeeperOptions{Kept: kept}); !errors.As(err, &other) || other.Epoch != 4 {
		t.Errorf("started again: %v", err)
	}
	if e, err := s.dir.ReadEpoch(); err != nil || e.Number != 3 {
		t.Errorf("%+v %v", e, err)
	}
	if err := kept.Close(); err != nil {
		t.Error(err)
	}
}
