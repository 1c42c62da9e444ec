package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

// deviceActor is the shell of one device's machine. It receives observations
// and gates from its RackSupervisor, results of its actions from the work pool
// and its own timers; it sends nothing but deviceUp. Everything else that it has
// to say is an event in the journal.
type deviceActor struct {
	log     journal.Log
	machine *rack.Machine
	device  string
	image   rack.Image
	unseen  string // spawned by the discovery deadline: where it was looked for
	pool    *pool
	inject  func(device string, phase rack.Phase)
	at      func(Point, uint64)

	replayed uint64 // observations up to here were applied at the start
	ready    bool   // the first gates have come
	ctx      context.Context
	cancel   context.CancelFunc
	timers   []*time.Timer
}

// Messages of a DeviceActor.
type (
	deviceUp struct{ device string } // to its parent: send the gates
	gates    struct {                // from its parent
		open    map[rack.Gate]bool
		against map[rack.Network]string // what speaks against its cables
	}
	applied struct{ event rack.Event } // from its parent: an observation was journalled
	input   struct{ in rack.Input }    // from a timer or the work pool
)

func (a *deviceActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		a.start(c)
	case *gates:
		a.machine.SetGates(m.open)
		a.machine.SetCabling(m.against)
		if !a.ready {
			a.ready = true
			a.begin(c)
			return
		}
		a.drive(c, rack.Input{Kind: rack.Woken})
	case *applied:
		if m.event.Seq > a.replayed {
			a.machine.Apply(m.event)
			a.drive(c, rack.Input{Kind: rack.Woken})
		}
	case *input:
		a.drive(c, m.in)
	case *actor.Stopping, *actor.Restarting:
		a.end()
	}
}

// start rebuilds the machine from the journal and asks for the gates.
func (a *deviceActor) start(c actor.Context) {
	a.ctx, a.cancel = context.WithCancel(context.Background())
	head, err := replay(a.log, 1, func(e rack.Event) {
		if e.Device == a.device {
			a.machine.Apply(e)
		}
	})
	if err != nil {
		panic(fmt.Errorf("read the journal: %w", err))
	}
	a.replayed = head
	c.Send(c.Parent(), &deviceUp{a.device})
}

// begin takes up the work where the journal says it was.
func (a *deviceActor) begin(c actor.Context) {
	if a.unseen != "" {
		a.drive(c, rack.Input{Kind: rack.NeverSeen, Error: a.unseen})
		return
	}
	a.drive(c, rack.Input{Kind: rack.Resumed})
	a.drive(c, rack.Input{Kind: rack.Woken})
}

// drive lets the machine decide until it has nothing more to say: decide,
// journal, apply, act.
func (a *deviceActor) drive(c actor.Context, in rack.Input) {
	if !a.ready {
		return
	}
	for {
		a.inject(a.device, a.machine.Phase())
		events, commands := a.machine.Step(in)
		var seq uint64 // of the last event that the commands follow from
		if len(events) > 0 {
			stored, err := a.log.Append(events...)
			if err != nil {
				panic(fmt.Errorf("write the journal: %w", err))
			}
			seq = stored[len(stored)-1].Seq
			a.at(Appended, seq)
			for _, e := range stored {
				a.machine.Apply(e)
			}
			a.at(Applied, seq)
		}
		acts := false
		for _, command := range commands {
			a.act(c, command, seq)
			acts = acts || command.Kind == rack.Do
		}
		if !acts {
			a.at(Acted, seq)
		}
		if len(events) == 0 {
			return
		}
		in = rack.Input{Kind: rack.Woken}
	}
}

// act carries out a command that followed from the event of that sequence; 0: it
// is taken up again after a restart.
func (a *deviceActor) act(c actor.Context, command rack.Command, seq uint64) {
	in := rack.Input{Step: command.Step.Name, Attempt: command.Attempt}
	switch command.Kind {
	case rack.Do:
		system, self := c.ActorSystem(), c.Self()
		ctx := a.ctx
		a.pool.run(ctx, Job{Device: a.device, Step: command.Step, Attempt: command.Attempt, Image: a.image, Overwrites: command.Overwrites, Repeat: command.Repeat}, func(err error) {
			a.at(Acted, seq)
			if ctx.Err() != nil || errors.Is(err, errDraining) {
				return // this incarnation is gone, or about to be; the next one repeats the action
			}
			in.Kind = rack.ActionDone
			if err != nil {
				in.Error, in.Final, in.Recovery = err.Error(), final(err), recovery(err)
			}
			system.Root.Send(self, &input{in})
		})
	case rack.ArmLimit:
		in.Kind = rack.LimitPassed
		a.after(c, command.After, in)
	case rack.ArmRetry:
		in.Kind = rack.RetryDue
		a.after(c, command.After, in)
	case rack.RaiseFault:
		raise(a.device, command.Error)
	}
}

// after sends an input to this actor later. Timers of steps that ended bring
// back an old attempt, which the machine drops.
func (a *deviceActor) after(c actor.Context, d time.Duration, in rack.Input) {
	system, self := c.ActorSystem(), c.Self()
	a.timers = append(a.timers, time.AfterFunc(d, func() { system.Root.Send(self, &input{in}) }))
}

func (a *deviceActor) end() {
	a.cancel()
	for _, t := range a.timers {
		t.Stop()
	}
	a.timers = nil
}

// replayBatch bounds how many events are held at once while replaying.
const replayBatch = 1024

// replay hands every event from a sequence on to fn and returns the last
// sequence read.
func replay(log journal.Log, from uint64, fn func(rack.Event)) (uint64, error) {
	for {
		events, err := log.Read(from, replayBatch)
		if err != nil {
			return from - 1, err
		}
		if len(events) == 0 {
			return from - 1, nil
		}
		for _, e := range events {
			fn(e)
		}
		from = events[len(events)-1].Seq + 1
	}
}
