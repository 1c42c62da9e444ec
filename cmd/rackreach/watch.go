package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// pollEvery is how often watch asks how many bytes were sent.
const pollEvery = 500 * time.Millisecond

// errSeen ends a stream whose run has ended.
var errSeen = errors.New("the run has ended")

func newWatch(env func(string) (string, bool)) *cobra.Command {
	var stateDir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [RACK]",
		Short: "Watch a rack being imaged, with a forecast",
		Long: `Watch a rack being imaged until its run ends: a live table in a terminal, plain lines
in a pipe. The forecast, and what is slower than usual, come from a table of
estimates; rackreach simulate shows more of it.

It ends with the exit code of the run: 0 all devices ready, 3 completed with failed or
skipped servers, 4 halted by a switch; and with 1 where somebody ends it before.`,
		Example: "  rackreach watch\n  rackreach watch r1 --json",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			t := terminal{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env}
			c, err := reach(cmd.Context(), stateDir, env, append(given, "")[0])
			if err != nil {
				return err
			}
			o, err := c.watch(cmd.Context(), t, asJSON)
			if err = errors.Join(err, c.close()); err != nil {
				return err
			}
			return o.exit(nil)
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print every event as one line of JSON")
	return cmd
}

// watch shows a rack until its run ends, or until the watcher has seen enough, and
// says how it stands then: a run that has not ended is no success.
func (c *reached) watch(ctx context.Context, t terminal, asJSON bool) (o outcome, err error) {
	h, err := c.history(ctx)
	if err != nil {
		return o, err
	}
	a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)}))
	if err != nil {
		return o, c.explain(err)
	}
	last := a.Msg.GetRack().GetLastSeq() // what is behind it happens while somebody watches
	f, err := newForecaster(h.plan.Rack, h.plan.Platforms, h.plan.Plan, a.Msg.GetRack().GetSpeed())
	if err != nil {
		return o, err
	}
	sent := &sentBytes{of: map[string][2]int64{}}
	v := newView(asJSON, t, h.plan.Rack, h.plan.Platforms, sent.get, 0)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.onQuit(cancel)
	preamble := []string{fmt.Sprintf("rack %s, %d devices, plan %s", c.rack, len(h.plan.Rack.Devices), h.plan.Plan.Hash)}
	if away := c.agentAway(a.Msg.GetRack().GetAgent()); away != "" {
		preamble = append(preamble, away)
	}
	if err := v.begin(append(preamble, "")); err != nil {
		return o, err
	}
	var wg sync.WaitGroup
	if c.driven() {
		wg.Go(func() { f.loop(ctx, c.foretold(v, t)) })
		wg.Go(func() { sent.poll(ctx, c) })
	}
	end := rack.NewRun(h.plan.Rack, h.plan.Platforms)
	err = c.events(ctx, 1, c.driven(), func(events []rack.Event) error {
		for _, e := range events {
			end.Apply(e)
		}
		f.take(events)
		if err := v.show(events); err != nil {
			return err
		}
		// An agent that keeps the rack goes on behind the end of a run.
		if ended := end.Status == rack.Halted || end.Status == rack.Completed; ended && end.Seq() >= last {
			return errSeen
		}
		return nil
	})
	seen := errors.Is(err, errSeen)
	if seen {
		err = nil
	}
	cancel()
	wg.Wait()
	o = c.seen(h, end, seen)
	return o, errors.Join(err, v.end(o))
}

// seen is how a run stands that was watched; ended: to its end.
func (c *reached) seen(h history, run *rack.Run, ended bool) outcome {
	o := outcome{code: exitError, run: run, status: run.Status}
	if ended = ended || !c.driven() && (run.Status == rack.Halted || run.Status == rack.Completed); ended {
		o.tell(h.plan.Rack, applyAdvice.in(c.inRack()), nil)
	}
	ready, failed := run.Tally()
	line := fmt.Sprintf("%s: %s, %d of %d devices are ready, %d failed", c.rack, run.Status, ready, len(h.plan.Rack.Devices), failed)
	if !c.driven() {
		line += "; no agent drives it"
	}
	switch {
	case len(o.last) > 0:
		o.last[0] = line // the same in the words of a watcher
	case c.driven() && run.Status == rack.Idle:
		o.last = []string{line, "  next: rackreach watch " + c.rack + ": it was not begun yet"}
	case c.driven():
		o.last = []string{line, "  next: rackreach watch " + c.rack + ": it goes on, whoever watches"}
	default:
		o.last = []string{line, "  next: " + named(c.inRack(), "rackreach resume")}
	}
	return o
}

// agentAway says that nobody is there who could go on; empty: somebody is, or it is
// no coordinator that is asked.
func (c *reached) agentAway(a *messages.AgentState) string {
	if a == nil || a.GetConnected() {
		return ""
	}
	return fmt.Sprintf("no agent of rack %s is connected (%s): what is ordered is kept, and given to it once it is. Next: rackreach agent --rack %s, on the machine that is cabled to the rack", c.rack, agentWords(a), c.rack)
}

// foretold is how an outlook is shown: in the table, or as a line when it says
// something new.
func (c *reached) foretold(v view, t terminal) func(outlook) {
	switch x := v.(type) {
	case *tableView:
		return x.foretell
	case *jsonView:
		return func(outlook) {}
	}
	said, began := map[string]string{}, false
	return func(o outlook) {
		var lines []string
		if left := o.String(); left != "" && !began {
			began = true
			lines = append(lines, "  forecast: "+left)
		}
		for device, step := range o.slow {
			if said[device] != step {
				lines = append(lines, fmt.Sprintf("  %s is slower than usual in step %s", device, step))
			}
			said[device] = step
		}
		if err := printLines(t.notes, lines); err != nil {
			return // whoever reads this has gone; the events will notice
		}
	}
}

// sentBytes is how much of its image each device was sent, as last heard.
type sentBytes struct {
	mu sync.Mutex
	of map[string][2]int64
}

func (s *sentBytes) get(device string) (sent, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[device][0], s.of[device][1]
}

func (s *sentBytes) poll(ctx context.Context, c *reached) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		if a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)})); err == nil {
			s.mu.Lock()
			for _, d := range a.Msg.GetRack().GetDevices() {
				if _, device, err := messages.ParseDevice(d.GetName()); err == nil {
					s.of[device] = [2]int64{d.GetSent(), d.GetSize()}
				}
			}
			s.mu.Unlock()
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
