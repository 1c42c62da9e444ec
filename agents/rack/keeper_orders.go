package rackagent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// busyPause is how long an order waits when too many wait before it.
const busyPause = 200 * time.Millisecond

// orders are those that are being answered, each by one goroutine.
type orders struct {
	mu sync.Mutex
	of map[string]chan struct{} // by id; closed once it was answered, or given up
}

// enter lets one caller at a time answer the order of an id.
func (s *orders) enter(ctx context.Context, id string) (leave func(), err error) {
	for {
		s.mu.Lock()
		before := s.of[id]
		if before == nil {
			mine := make(chan struct{})
			s.of[id] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.of, id)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Obey carries out an order of a coordinator. It returns nil once an event that
// carries the order's id is durable, whatever that says. After an error nobody
// knows: the order is to be given again, and is not obeyed twice. Errors: the
// context's, the journal's, the end of a life.
func (k *Keeper) Obey(ctx context.Context, m *messages.Order) error {
	o := messages.ToOrder(m)
	var err error
	if o.ID == "" || m.GetRack() != k.Name() {
		return errors.New("an order without an id, or for another rack")
	}
	if m.GetVerb() == messages.VerbApply {
		err = k.applied(ctx, o, m.GetPlan())
	} else {
		_, err = k.Order(ctx, o)
	}
	var no *rack.Refusal
	if errors.As(err, &no) {
		return nil // it is answered by an event that says so
	}
	return err
}

// Order implements api.Backend: it carries out an order at any moment. No events
// and no error: it is so already. Errors: a *rack.Refusal; the context's, the
// journal's, the end of a life.
func (k *Keeper) Order(ctx context.Context, o rack.Order) ([]rack.Event, error) {
	if o.ID != "" {
		leave, err := k.giving.enter(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	for {
		events, final, err := k.offer(ctx, o)
		if final {
			return events, err
		}
	}
}

// offer gives an order to the living actors, or decides it where there is
// nothing under way. Without final it must be offered again: the run ended, or a
// life did, while it was given.
func (k *Keeper) offer(ctx context.Context, o rack.Order) (events []rack.Event, final bool, err error) {
	if k.answered(o.ID) {
		return nil, true, nil
	}
	k.take()
	l, under := k.living.Load(), false
	if err := k.look(func(run *rack.Run) { under = run.Status == rack.Imaging || run.Status == rack.Draining }); err != nil {
		k.give()
		return nil, true, err
	}
	if l == nil || !under {
		defer k.give()
		events, err := k.decide(l, o)
		return events, true, err
	}
	k.give()
	events, err = l.Order(ctx, o)
	var no *rack.Refusal
	switch {
	case errors.Is(err, actors.ErrBusy):
		return nil, false, pause(ctx, busyPause)
	case errors.Is(err, actors.ErrEnding) || errors.Is(err, actors.ErrGone),
		o.ID != "" && (err == nil || errors.As(err, &no)) && !k.answered(o.ID): // it ended before it could say so
		err := k.outlive(ctx, l)
		return nil, err != nil, err
	}
	return events, true, err
}

// answered reports whether the journal holds the answer to an order.
func (k *Keeper) answered(id string) (yes bool) {
	if err := k.look(func(run *rack.Run) { yes = run.Answered(id) }); err != nil {
		return false // who goes on meets the same error
	}
	return yes
}

// outlive waits until nothing is under way any more in a life that takes no more
// orders, or the life has ended.
func (k *Keeper) outlive(ctx context.Context, l *living) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-l.done:
			stop()
		case <-waiting.Done():
		}
	}()
	err := k.waitFor(waiting, func(run *rack.Run) bool { return run.Status != rack.Imaging && run.Status != rack.Draining })
	select {
	case <-l.done: // what comes next decides
		k.living.CompareAndSwap(l, nil)
		return errors.Join(ctx.Err(), l.trouble())
	default:
		return err
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// decide carries out an order while nothing is under way, or while no life has
// begun. It is the caller's turn. An order that changes nothing disturbs nobody;
// for any other the life that stays is stopped first.
func (k *Keeper) decide(l *living, o rack.Order) ([]rack.Event, error) {
	kept := k.kept.Load()
	what := kept.decide
	if l == nil {
		what = k.foresee
	}
	if kept.Carried == nil {
		return k.answer(o, nil, &rack.Refusal{What: string(o.Verb) + ": the agent of rack " + k.Name() + " has no plan yet", Next: "rackreach apply FILE, by the coordinator that the agent is connected to"})
	}
	if events, err := what(o); err != nil || len(events) == 0 {
		return k.answer(o, nil, err)
	}
	if l != nil {
		l.stop()
		<-l.done
		k.living.CompareAndSwap(l, nil)
		if err := l.trouble(); err != nil {
			return nil, err
		}
	}
	events, err := what(o) // on all that it had to say
	if err == nil && len(events) > 0 {
		return k.append(events...)
	}
	return k.answer(o, nil, err)
}

// foresee is what follows from an order before the next life has begun. Other
// than a rack that nobody keeps, this one will be halted: by that life.
func (k *Keeper) foresee(o rack.Order) (events []rack.Event, err error) {
	if o.Verb != rack.HaltNow {
		return k.kept.Load().decide(o)
	}
	if e := k.look(func(run *rack.Run) { events, err = run.Obey(o) }); e != nil {
		return nil, e
	}
	return events, err
}

// answer journals the answer to an order of a coordinator that changes nothing.
// Its error is that of the order.
func (k *Keeper) answer(o rack.Order, events []rack.Event, err error) ([]rack.Event, error) {
	var no *rack.Refusal
	if o.ID == "" || err != nil && !errors.As(err, &no) {
		return events, err
	}
	var says rack.Event
	if e := k.look(func(run *rack.Run) { says = run.Answer(o, err) }); e != nil {
		return nil, e
	}
	if _, e := k.append(says); e != nil {
		return nil, e
	}
	return events, err
}
