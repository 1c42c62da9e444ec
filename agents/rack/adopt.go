package rackagent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// AdoptOptions say which rack is taken over, and from whom.
type AdoptOptions struct {
	Home   state.Home
	Rack   string
	Client messagesconnect.BusServiceClient
	// Force takes the rack over although an agent of it seems to be alive.
	Force bool
	// Living says who is at work on the rack's own wires; empty: nobody is, as far as can
	// be seen. It is not asked with Force.
	Living func(ctx context.Context, lost Lost) (who string, err error)
}

// Lost is what is known of the agent that is lost.
type Lost struct {
	Rack     *rack.Rack   // as its plan has it; nil: its run was never begun
	Servers  []netip.Addr // from where it answered DHCP, as it said; none: it never did
	Siblings []netip.Addr // from where the agents of other racks do
}

// Adopted is what became of taking a rack over.
type Adopted struct {
	Epoch uint64
	Last  uint64 // the newest event that the coordinator held; 0: none
	Aside string // where the state that stood here before lies now; empty: there was none
}

// Adopt makes this machine the agent of a rack whose agent is lost: it takes the
// next epoch, so that the lost one can write no more, and writes the rack's state
// anew from what the coordinator holds. Every device that was not ready by then is
// uncertain. The state gets its place once it is whole; after an error, or a crash,
// Adopt is done again from the beginning. Errors say what to do.
func Adopt(ctx context.Context, o AdoptOptions) (_ *Adopted, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("take over rack %s: %w", o.Rack, err)
		}
	}()
	if err := mayBeReplaced(o.Home.Rack(o.Rack)); err != nil {
		return nil, err
	}
	lost, err := lostOf(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := nobodyLives(ctx, o, lost, "Nothing was changed"); err != nil {
		return nil, err
	}
	dir, err := o.Home.Fresh(o.Rack)
	if err != nil {
		return nil, err
	}
	a, err := claim(ctx, o, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(string(dir)))
	}
	// It may have come to life, or lives on without its coordinator.
	if err := nobodyLives(ctx, o, lost, fmt.Sprintf("Epoch %d was taken, so that it can tell its coordinator no more, and it was left in peace", a.Epoch)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(string(dir)))
	}
	if err := mayBeReplaced(o.Home.Rack(o.Rack)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(string(dir)))
	}
	a.Aside, err = o.Home.Place(dir, o.Rack, time.Now())
	return a, err
}

// lostOf is what the coordinator knows of the agent that is lost; with Force nobody asks.
func lostOf(ctx context.Context, o AdoptOptions) (lost Lost, err error) {
	if o.Force {
		return lost, nil
	}
	known, err := bus.Look(ctx, o.Client, o.Rack, rand.Text())
	if err != nil {
		return lost, err
	}
	lost.Servers, lost.Siblings = known.Servers, known.Siblings
	if len(known.Plan) == 0 {
		return lost, nil
	}
	p, err := state.Decode(known.Plan)
	if err != nil {
		return lost, fmt.Errorf("read where its agent is cabled: %w", err)
	}
	lost.Rack = p.Rack
	return lost, nil
}

func nobodyLives(ctx context.Context, o AdoptOptions, lost Lost, so string) error {
	if o.Force {
		return nil
	}
	who, err := o.Living(ctx, lost)
	if err != nil {
		return fmt.Errorf("look for a living agent: %w. %s. Next: mend that, then do this again; or give --force, if you know that the lost agent is off", err, so)
	}
	if who == "" {
		return nil
	}
	return fmt.Errorf("%s. %s. Next: stop that one, then do this again; or give --force, if you know that it is not an agent of this rack", who, so)
}

// mayBeReplaced refuses a directory whose journal says what nobody else knows.
func mayBeReplaced(dir state.Dir) error {
	if _, err := os.Stat(filepath.Join(string(dir), "journal.db")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	log, err := journal.Open(string(dir), journal.Options{})
	if err != nil {
		return err
	}
	epoch, err := dir.ReadEpoch()
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	if log.Last() > 0 && epoch.Superseded == nil {
		return fmt.Errorf("this machine is its agent already: %s holds its journal, up to event %d. Nothing was changed. Next: the same command without --adopt", dir, log.Last())
	}
	return nil
}

// claim takes the next epoch and writes what the coordinator holds into a directory.
func claim(ctx context.Context, o AdoptOptions, dir state.Dir) (*Adopted, error) {
	c := &copied{options: o, journal: rand.Text()}
	meta := journal.Meta{Rack: o.Rack, Run: c.journal, Created: time.Now().UTC().Round(0), SalvagedFrom: "the copy of a coordinator"}
	last, err := journal.Seed(string(dir), meta, c.events(ctx))
	if err == nil {
		err = c.keepPlan(dir)
	}
	if err != nil {
		return nil, err
	}
	return &Adopted{Epoch: c.epoch, Last: last}, dir.WriteEpoch(state.Epoch{Number: c.epoch})
}

// copied is what a coordinator sends of a rack.
type copied struct {
	options AdoptOptions
	journal string // the name of the new one
	epoch   uint64
	plan    []byte
	begun   bool
}

// errNoMore is why nobody takes the rest of the events.
var errNoMore = errors.New("no more events are taken")

func (c *copied) events(ctx context.Context) iter.Seq2[rack.Event, error] {
	return func(yield func(rack.Event, error) bool) {
		err := bus.Adopt(ctx, c.options.Client, c.options.Rack, c.journal, c.options.Force, func(plan []byte, epoch, _ uint64, events []rack.Event) error {
			c.epoch = max(c.epoch, epoch) // the first part has it
			if len(plan) > 0 {
				c.plan = plan
			}
			for _, e := range events {
				c.begun = c.begun || e.Kind == rack.RackStarted
				if !yield(e, nil) {
					return errNoMore
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errNoMore) {
			yield(rack.Event{}, err)
		}
	}
}

// keepPlan keeps what the run carries out.
func (c *copied) keepPlan(dir state.Dir) error {
	if !c.begun {
		return nil // the agent waits for a plan
	}
	p, err := state.Decode(c.plan)
	if err != nil {
		return fmt.Errorf("its run was begun, and what it carries out the coordinator does not say: %w", err)
	}
	if p.Rack.Name != c.options.Rack {
		return fmt.Errorf("the plan that the coordinator holds is of rack %.80q", p.Rack.Name)
	}
	p.Simulated = nil // how the agent reaches its rack is the agent's own matter
	return dir.WritePlan(p)
}
