package actors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// follow takes the run in as the log tells it from its first event on: only its plan
// is read besides.
func (p *rackProxy) follow(events []*messages.Event) {
	n := slices.IndexFunc(events, func(e *messages.Event) bool { return e.GetKind() == string(rack.RackStarted) })
	if n < 0 {
		return // it is loaded later
	}
	name, planned := p.name, events[n].GetDetail().GetPlanHash()
	p.loading, p.stale, p.behind, p.making = true, false, nil, planned
	go func() {
		m := &loaded{made: planned}
		var plan *FleetPlan
		m.err = unlessPanic(func() (err error) {
			if plan, err = p.o.Plan(p.ctx, name, planned); err == nil {
				m.run = rack.NewFollower(plan.Rack, plan.Platforms)
			}
			return err
		})
		p.root.Send(p.self, m)
	}()
}

// load rebuilds the run from the log, outside of the mailbox.
func (p *rackProxy) load() {
	if p.loading {
		p.stale = true
		return
	}
	if p.again != nil {
		p.again.Stop()
	}
	p.loading, p.stale, p.read, p.run, p.asleep, p.behind, p.making = true, false, false, nil, nil, nil, ""
	name, planned := p.name, p.planned
	go func() {
		m := &loaded{}
		m.err = unlessPanic(func() (err error) {
			m.run, m.made, err = p.replayed(p.ctx, name, planned, &m.life)
			return err
		})
		p.root.Send(p.self, m)
	}()
}

// loadRest reads what is missing between a loaded run and what is held.
func (p *rackProxy) loadRest(m *loaded) {
	p.loading = true
	name := p.name
	go func() {
		m.err = unlessPanic(func() error { return p.replay(p.ctx, name, m.run, &m.life) })
		p.root.Send(p.self, m)
	}()
}

// replayed is the run of a rack as the log says, and the hash of its plan; nil when
// nothing is planned.
func (p *rackProxy) replayed(ctx context.Context, name, planned string, l *life) (*rack.Run, string, error) {
	select {
	case p.o.loads <- struct{}{}:
		defer func() { <-p.o.loads }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	events, err := p.o.Read(ctx, name, 1, readBatch)
	if err != nil {
		return nil, "", err
	}
	for _, e := range events {
		if e.GetKind() == string(rack.RackStarted) {
			planned = e.GetDetail().GetPlanHash()
		}
	}
	if planned == "" {
		return nil, "", nil
	}
	plan, err := p.o.Plan(ctx, name, planned)
	if err != nil {
		return nil, "", err
	}
	run := rack.NewFollower(plan.Rack, plan.Platforms)
	return run, planned, p.replay(ctx, name, run, l)
}

// replay lets a run take in what the log holds behind it.
func (p *rackProxy) replay(ctx context.Context, name string, run *rack.Run, l *life) error {
	for next := run.Seq() + 1; ; {
		events, err := p.o.Read(ctx, name, next, readBatch)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			p.apply(run, l, e)
		}
		next = events[len(events)-1].GetSeq() + 1
	}
}

// loadAgain is how long a run that could not be loaded is left alone.
const loadAgain = 30 * time.Second

// readBatch is how many events are read from the log at once.
const readBatch = 512

func (p *rackProxy) loaded(m *loaded) {
	p.loading, p.asleep = false, nil
	if p.stale && m.err == nil {
		p.load()
		return
	}
	if m.err != nil && m.restored {
		if p.ctx.Err() == nil {
			p.o.Logger.Warn("where a rack stood was saved, but does not fit; its log is read instead", "rack", p.name, "error", m.err)
		}
		p.load()
		return
	}
	if m.err != nil {
		p.o.Logger.Warn("what a rack did cannot be told", "rack", p.name, "error", m.err)
		for _, to := range p.askers {
			p.root.Send(to, fmt.Errorf("rack %s: %w", p.name, m.err))
		}
		p.askers, p.behind, p.lost = nil, nil, true
		p.tell()
		p.again = time.AfterFunc(loadAgain, func() { p.root.Send(p.self, &load{}) })
		return
	}
	if m.run != nil && len(p.behind) > 0 && p.behind[0].GetSeq() > m.run.Seq()+1 {
		p.loadRest(m)
		return
	}
	p.read, p.lost = true, false
	if p.run, p.made, p.life = m.run, m.made, m.life; p.run != nil {
		p.run.Salvaged = p.salvaged
		for _, e := range p.behind {
			p.take(e) // one that the load has met is left out
		}
		p.head = max(p.head, p.run.Seq())
	}
	p.behind = nil
	p.answer()
	for _, x := range slices.Clone(p.orders) {
		if p.run != nil && p.run.Answered(x.order.GetId()) {
			p.answered(x.order.GetId(), nil)
		}
	}
	p.give()
	p.tell()
}
