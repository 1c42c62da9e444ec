package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/rack"
)

// Saved is where a rack stood at a place of the log, so that a coordinator that is
// started need not read what the log holds before it. It is no more than that: what
// does not fit the log, the plan or this program is thrown away, and the log read.
type Saved struct {
	Rack     string
	Position uint64    // of the newest message of the rack that is in it
	Time     time.Time // when the log took that message
	Epoch    uint64
	Doubted  uint64 // what is older may be out of date: the agent was adopted, or its journal salvaged
	Followed uint64 // newest event that the messages hold
	Refused  string // id of the last order of a fleet that was refused

	PlanHash             string // of the plan that the run carries out, or will
	Status               rack.Status
	Started, Ended, Last time.Time // of the run; of its newest event

	Row *SavedRow      // what is told of the run in a line; nil: nothing is planned
	Run *rack.Snapshot `json:"-"` // it is read and written apart; nil with Row
}

// Known is what the log holds when the coordinator starts.
type Known struct{ Racks []KnownRack }

// KnownRack is what the log holds of a rack when the coordinator starts.
type KnownRack struct {
	Rack  string
	Due   uint64 // newest event
	Saved *Saved // where it stood, without its run; nil: that is not known
}

// SaveSome has those racks saved of which something is new, of one part of the
// fleet: not all racks at one moment.
type SaveSome struct{ Part uint32 }

// SaveParts is in how many parts a fleet is saved.
const SaveParts = 60

// saveAfter is how many events a rack may have that are not saved. A coordinator
// that is started reads them again.
const saveAfter = 512

// Messages of a RackProxy.
type (
	known struct {
		due   uint64
		saved *Saved
	}
	save  struct{}
	saved struct {
		position uint64
		err      error
	}
)

// asleep is a run that is not held: where it stands, and where it is.
type asleep struct {
	saved *Saved
	row   row
}

// told takes in what the log held of the rack when the coordinator started.
func (p *rackProxy) told(m *known) {
	p.isTold, p.due = true, m.due
	switch {
	case m.saved != nil && (m.saved.Status != rack.Idle || p.planned == "" || p.planned == m.saved.PlanHash):
		p.restore(m.saved)
	case p.planned != "" && p.due == 0:
		p.load()
	}
	p.give()
	p.tell()
}

// restore takes the rack up where it stood when it was saved. Its run is read only
// when somebody needs it.
func (p *rackProxy) restore(s *Saved) {
	p.restored, p.place, p.placed, p.kept = s.Position, s.Position, s.Time, s.Position
	p.raise(s.Epoch)
	p.doubt(s.Doubted)
	p.followed, p.head, p.refused = s.Followed, max(p.head, s.Followed), s.Refused
	if s.Row == nil {
		return
	}
	p.life = life{s.Started, s.Ended, s.Last}
	p.asleep, p.read = &asleep{s, s.Row.row(s)}, true
	if p.due > s.Followed || p.salvaged > s.Doubted || len(p.orders)+len(p.askers) > 0 {
		p.wake()
	}
}

// wake has the run read that is not held.
func (p *rackProxy) wake() {
	if p.asleep == nil || p.loading {
		return
	}
	s := p.asleep.saved
	p.loading, p.stale, p.behind, p.making = true, false, nil, s.PlanHash
	go func() {
		m := &loaded{made: s.PlanHash, life: life{s.Started, s.Ended, s.Last}, restored: true}
		m.err = unlessPanic(func() (err error) {
			m.run, err = p.runFrom(p.ctx, s)
			return err
		})
		p.root.Send(p.self, m)
	}()
}

// sleep lets go of a run that has ended, and that was saved: most racks of a
// coordinator have been imaged long ago.
func (p *rackProxy) sleep() {
	if p.run == nil || p.run.Status != rack.Completed && p.run.Status != rack.Halted || p.saving || p.place != p.kept || p.kept == 0 || p.run.Seq() > p.followed || len(p.orders) > 0 {
		return
	}
	s := p.standsNow()
	s.Run = nil
	p.asleep, p.run, p.tally = &asleep{s, *p.row()}, nil, tally{}
}

func (p *rackProxy) runFrom(ctx context.Context, s *Saved) (*rack.Run, error) {
	select {
	case p.o.loads <- struct{}{}:
		defer func() { <-p.o.loads }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	plan, err := p.o.Plan(ctx, s.Rack, s.PlanHash)
	if err != nil {
		return nil, err
	}
	snapshot, err := p.o.Saved(s)
	if err != nil {
		return nil, err
	}
	return rack.FollowerFrom(plan.Rack, plan.Platforms, snapshot)
}

// row is what is told of the run in the line of the rack; nil: there is none.
func (p *rackProxy) row() *row {
	switch {
	case p.asleep != nil:
		return &p.asleep.row
	case p.run != nil:
		return &row{status: p.run.Status, cause: p.run.Cause, planHash: p.run.PlanHash, bundle: p.run.Bundle, signedBy: p.run.SignedBy, sums: p.tally.of(p.run).sums}
	}
	return nil
}

// saved is where the rack stands, to be kept; nil: it is not known, or was kept.
func (p *rackProxy) saved() *Saved {
	if p.o.Save == nil || p.place == p.kept || p.loading || p.lost || p.unread() || p.asleep != nil || p.run == nil && p.head > 0 {
		return nil
	}
	s := p.standsNow()
	if p.run != nil {
		s.Run = p.run.Snapshot()
	}
	return s
}

// standsNow is where the rack stands, without its run.
func (p *rackProxy) standsNow() *Saved {
	s := &Saved{Rack: p.name, Position: p.place, Time: p.placed, Epoch: p.logEpoch, Doubted: p.salvaged, Followed: p.followed, Refused: p.refused, Status: rack.Idle}
	if p.run != nil {
		s.PlanHash, s.Status, s.Row = p.made, p.run.Status, savedRow(p.row())
		s.Started, s.Ended, s.Last = p.life.started, p.life.ended, p.life.last
	}
	return s
}

// save keeps where the rack stands, outside of the mailbox.
func (p *rackProxy) save() {
	if p.saving {
		return // the next time
	}
	s := p.saved()
	if s == nil {
		return
	}
	p.saving, p.unsaved = true, 0
	go func() {
		m := &saved{position: s.Position}
		select {
		case p.o.saves <- struct{}{}:
			m.err = p.o.Save(s)
			<-p.o.saves
		case <-p.ctx.Done():
			m.err = p.ctx.Err()
		}
		p.root.Send(p.self, m)
	}()
}

func (p *rackProxy) isSaved(m *saved) {
	p.saving = false
	if m.err == nil {
		p.kept = m.position
	}
}

// saveLast keeps where the rack stands when the coordinator ends. It is the one
// write that the mailbox waits for: nothing comes behind it.
func (p *rackProxy) saveLast() {
	if s := p.saved(); s != nil {
		_ = p.o.Save(s) // it says itself what fails; the log is read instead
	}
}

// told tells the racks what the log held when the coordinator started.
func (f *Fleet) told(c actor.Context, m *Known) {
	f.isTold = true
	told := map[string]bool{}
	for _, r := range m.Racks {
		told[r.Rack] = true
		if have := f.racks[r.Rack]; have != nil {
			c.Send(have.pid, &known{r.Due, r.Saved})
		} else {
			f.spawn(c, r.Rack, &known{r.Due, r.Saved})
		}
	}
	for name, r := range f.racks {
		if !told[name] {
			c.Send(r.pid, &known{})
		}
	}
}

// part is the part of the fleet that a rack is saved with.
func part(rackName string) uint32 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(rackName) {
		h = (h ^ uint32(rackName[i])) * 16777619
	}
	return h % SaveParts
}
