package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// events hands the events of the rack from a sequence on to fn, in batches.
// follow: until the run ends, else until now.
func (c *reached) events(ctx context.Context, from uint64, follow bool, fn func([]rack.Event) error) (err error) {
	stream, err := c.WatchEvents(ctx, connect.NewRequest(&messages.WatchEventsRequest{Name: messages.RackName(c.rack), FromSeq: from, Follow: follow}))
	if err != nil {
		return c.explain(err)
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	for stream.Receive() {
		var out []rack.Event
		for _, m := range stream.Msg().GetEvents() {
			e, err := messages.ToEvent(m)
			if err != nil {
				return err
			}
			out = append(out, e)
		}
		if err := fn(out); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil && ctx.Err() == nil {
		return c.explain(err)
	}
	return nil
}

// history is all that is known of a rack: its plan and its events until now.
type history struct {
	plan   *state.Plan
	events []rack.Event
}

// carriedOut is what the run of the rack carries out.
func (c *reached) carriedOut(ctx context.Context) (*state.Plan, error) {
	a, err := c.GetPlan(ctx, connect.NewRequest(&messages.GetPlanRequest{Name: messages.RackName(c.rack)}))
	if err != nil {
		return nil, c.explain(err)
	}
	if len(a.Msg.GetPlan()) == 0 {
		return nil, badInput(fmt.Errorf("the agent of rack %s has no plan yet: rackreach apply FILE, by the coordinator of its agent", c.rack))
	}
	return state.Decode(a.Msg.GetPlan())
}

// has refuses a device that the rack does not have.
func (c *reached) has(ctx context.Context, device string) error {
	p, err := c.carriedOut(ctx)
	if err != nil {
		return err
	}
	return checkDevice(p, device)
}

func (c *reached) history(ctx context.Context) (h history, err error) {
	if h.plan, err = c.carriedOut(ctx); err != nil {
		return history{}, err
	}
	err = c.events(ctx, 1, false, func(events []rack.Event) error {
		h.events = append(h.events, events...)
		return nil
	})
	return h, err
}

// check refuses a device that the rack does not have.
func (h history) check(device string) error { return checkDevice(h.plan, device) }

func checkDevice(p *state.Plan, device string) error {
	if _, ok := p.Rack.Device(device); !ok {
		return badInput(fmt.Errorf("rack %s has no device %s: rackreach status shows its devices", p.Rack.Name, device))
	}
	return nil
}

func newWhy(env func(string) (string, bool)) *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:   "why [RACK/]DEVICE",
		Short: "Say why a device is where it is",
		Long: `Say why a device is where it is: the closed link and the switch that keeps it closed,
the step and its last error, or the operator; and what to do next.`,
		Example: "  rackreach why server-03\n  rackreach why r1/tor-1",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			rackName, device := splitDevice(given[0])
			c, err := reach(cmd.Context(), stateDir, env, rackName)
			if err != nil {
				return err
			}
			h, err := c.history(cmd.Context())
			if err = errors.Join(err, c.close()); err != nil {
				return err
			}
			if err := h.check(device); err != nil {
				return err
			}
			reason, err := audit.Why(h.plan.Rack, h.plan.Platforms, h.events, device)
			if err != nil {
				return err
			}
			reason.Next = named(c.inRack(), reason.Next)
			return printLines(cmd.OutOrStdout(), reason.Lines())
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

func newVerify(env func(string) (string, bool)) *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use:   "verify [RACK]",
		Short: "Prove from the journal that the order held and every phase has evidence",
		Long: `Prove from the journal alone that every switch was ready before anything behind it was
touched, and that every phase of every device has evidence. The proof is printed per
device; a violation ends with exit code 1 and names the first event that breaks a
rule. The checksums of the journal are another question: rackreach journal verify.`,
		Example: "  rackreach verify\n  rackreach verify r1",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, err := reach(cmd.Context(), stateDir, env, append(given, "")[0])
			if err != nil {
				return err
			}
			h, err := c.history(cmd.Context())
			if err = errors.Join(err, c.close()); err != nil {
				return err
			}
			proof, err := audit.Prove(h.plan.Rack, h.plan.Platforms, h.events)
			if err != nil {
				return fmt.Errorf("%w\nThe journal does not prove that the order held. Next: rackreach timeline shows what led there", err)
			}
			return printLines(cmd.OutOrStdout(), proof.Lines())
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

func newTimeline(env func(string) (string, bool)) *cobra.Command {
	var stateDir, at string
	cmd := &cobra.Command{
		Use:   "timeline [RACK | [RACK/]DEVICE]",
		Short: "Show the state at a time, and what led there",
		Example: `  rackreach timeline
  rackreach timeline tor-1
  rackreach timeline r1/tor-1 --at 2026-11-25T03:50:00Z
  rackreach timeline tor-1 --at -10m`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			when, err := parseTime(at, time.Now())
			if err != nil {
				return badInput(fmt.Errorf("--at: %w", err))
			}
			c, device, err := reachEither(cmd.Context(), stateDir, env, append(given, "")[0])
			if err != nil {
				return err
			}
			h, err := c.history(cmd.Context())
			if err = errors.Join(err, c.close()); err != nil {
				return err
			}
			if device != "" {
				if err := h.check(device); err != nil {
					return err
				}
			}
			story, err := audit.Timeline(h.plan.Rack, h.plan.Platforms, h.events, device, when)
			if err != nil {
				return badInput(err)
			}
			return printLines(cmd.OutOrStdout(), story.Lines())
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringVar(&at, "at", "", "a time (RFC 3339), or how long ago, such as -10m (default: the end)")
	return cmd
}

// coordinated are the racks that a coordinator knows, where one is asked.
func coordinated(ctx context.Context, stateDir string, env func(string) (string, bool)) ([]string, error) {
	client, _, err := findCoordinator(ctx, stateDir, env)
	if err != nil || client == nil {
		return nil, err
	}
	defer client.Close()
	a, err := client.ListRacks(ctx, connect.NewRequest(&messages.ListRacksRequest{}))
	if err != nil {
		return nil, (&reached{Client: client}).explain(err)
	}
	var out []string
	for _, n := range a.Msg.GetNames() {
		name, err := messages.ParseRack(n)
		if err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

// reachEither finds a rack by its own name or by one of its devices.
func reachEither(ctx context.Context, stateDir string, env func(string) (string, bool), name string) (*reached, string, error) {
	home, err := homeOf(stateDir, env)
	if err != nil {
		return nil, "", err
	}
	racks, err := racksIn(home)
	if err != nil {
		return nil, "", err
	}
	rackName, device := splitDevice(name)
	if rackName == "" && device != "" {
		known, err := coordinated(ctx, stateDir, env)
		if err != nil {
			return nil, "", err
		}
		if slices.Contains(append(racks, known...), device) {
			rackName, device = device, ""
		}
	}
	c, err := reach(ctx, stateDir, env, rackName)
	return c, device, err
}

// parseTime reads a time, or a time ago. Empty is the zero time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%.40q is not a time: write 2026-11-25T03:50:00Z, or 10m for ten minutes ago", s)
	}
	return t, nil
}

// eventsFlags are what events shows.
type eventsFlags struct {
	state, since, device string
	follow, json         bool
}

func newEvents(env func(string) (string, bool)) *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use:   "events [RACK]",
		Short: "Print the events of a rack",
		Example: `  rackreach events
  rackreach events --device tor-1 --since 10m
  rackreach events --since 1200 --follow --json`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			t := terminal{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env}
			return f.run(cmd.Context(), t, append(given, "")[0])
		},
	}
	stateFlag(cmd.Flags(), &f.state)
	cmd.Flags().StringVar(&f.since, "since", "", "from this event number, time (RFC 3339), or time ago on")
	cmd.Flags().StringVar(&f.device, "device", "", "only the events of this device")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what happens, until the run ends")
	cmd.Flags().BoolVar(&f.json, "json", false, "print every event as one line of JSON")
	return cmd
}

func (f *eventsFlags) run(ctx context.Context, t terminal, name string) error {
	var from uint64
	var since time.Time
	if n, err := strconv.ParseUint(f.since, 10, 64); err == nil {
		from = n
	} else if since, err = parseTime(f.since, time.Now()); err != nil {
		return badInput(fmt.Errorf("--since: %w, or the number of an event", err))
	}
	device := f.device
	if rackName, d := splitDevice(f.device); rackName != "" && (name == "" || name == rackName) {
		name, device = rackName, d
	}
	c, err := reach(ctx, f.state, t.env, name)
	if err != nil {
		return err
	}
	if device != "" {
		if err := c.has(ctx, device); err != nil {
			return errors.Join(err, c.close())
		}
	}
	var v view = &eventLines{out: t.out}
	if f.json {
		v = &jsonView{out: t.out, notes: t.notes}
	}
	err = c.events(ctx, from, f.follow && c.driven(), func(events []rack.Event) error {
		var shown []rack.Event
		for _, e := range events {
			if (device == "" || e.Device == device) && !e.Time.Before(since) {
				shown = append(shown, e)
			}
		}
		return v.show(shown)
	})
	if f.follow && !c.driven() {
		err = errors.Join(err, printLines(t.notes, []string{"No agent drives rack " + c.rack + ": nothing more comes. Next: " + named(c.inRack(), "rackreach resume")}))
	}
	return errors.Join(err, c.close())
}

// eventLines prints every event as a plain line, with its number and time.
type eventLines struct {
	view
	out interface{ Write([]byte) (int, error) }
}

func (v *eventLines) show(events []rack.Event) error {
	for _, e := range events {
		who, text := e.Device, audit.Sentence(e)
		if who == "" {
			who = e.Rack
		}
		if text == "" {
			text = string(e.Kind)
			if e.Detail.Step != "" {
				text += " " + e.Detail.Step
			}
			if s := e.Detail.Seen; s != nil && s.Proves != "" {
				text += " " + string(s.Proves)
			}
			if e.Detail.Link != "" {
				text += " " + e.Detail.Link
			}
		}
		if _, err := fmt.Fprintf(v.out, "%6d  %s  %-14s %s\n", e.Seq, e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), who, text); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	return nil
}
