package main

import (
	"context"
	"errors"
	"slices"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// resume goes on with a rack that was stopped.
type resume struct {
	state   string
	only    []string
	all     bool
	json    bool
	metrics string
	images  network
	site    lineFlags
}

func newResume(env func(string) (string, bool)) *cobra.Command {
	var r resume
	cmd := &cobra.Command{
		Use:   "resume [RACK]",
		Short: "Go on with a rack that was halted, interrupted, or has work left",
		Long: `Go on with a rack where its journal says it was, and image it to its end. What was
evidenced is not done again. A rack that a switch halted goes on once its failure is
forgotten: rackreach retry DEVICE.

A run that was limited by --only, of apply or of an earlier resume, stays limited to
these devices; --only names others instead, and --all images all of them.`,
		Example: `  rackreach resume
  rackreach resume r1 --only server-03
  rackreach resume r1 --all`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			t := terminal{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env}
			return r.run(cmd.Context(), t, append(given, "")[0])
		},
	}
	f := cmd.Flags()
	stateFlag(f, &r.state)
	f.StringArrayVar(&r.only, "only", nil, "image this device only; may be given more than once (default: what the run was limited to, else all)")
	f.BoolVar(&r.all, "all", false, "image all devices, whatever the run was limited to")
	r.images.flags(f)
	r.site.flags(f)
	driveFlags(f, &r.json, &r.metrics)
	return cmd
}

func (r *resume) run(ctx context.Context, t terminal, name string) error {
	if len(r.only) > 0 && r.all {
		return badInput(errors.New("--only and --all: give one of them"))
	}
	if err := errors.Join(checkMetricsListen(r.metrics), r.site.check()); err != nil {
		return err
	}
	c, err := reach(ctx, r.state, t.env, name)
	if err != nil {
		return err
	}
	a, err := c.ResumeRack(ctx, connect.NewRequest(&messages.ResumeRackRequest{Name: messages.RackName(c.rack), Only: r.only, All: r.all}))
	if err != nil {
		return errors.Join(c.explain(err), c.close())
	}
	if c.kept == nil { // an agent drives it, and goes on by itself
		if !slices.ContainsFunc(a.Msg.GetEvents(), func(e *messages.Event) bool { return e.GetKind() == string(rack.RackResumed) }) {
			return errors.Join(c.soAlready(ctx, t), c.close())
		}
		return errors.Join(printLines(t.out, []string{c.rack + ": it is being imaged. Next: " + named(c.inRack(), "rackreach watch")}), c.close())
	}
	k := c.kept
	if err := c.letGo(); err != nil {
		return errors.Join(err, k.Close())
	}
	run, err := k.Replay()
	if err != nil {
		return errors.Join(err, k.Close())
	}
	k.Run = run
	return errors.Join(drive(ctx, k, t, driving{rack: c.inRack(), only: r.only, json: r.json, metrics: r.metrics, open: r.images.opener(t.env), site: &r.site}), k.Close())
}

// soAlready says where a rack stands that has nothing to resume.
func (c *reached) soAlready(ctx context.Context, t terminal) error {
	a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)}))
	if err != nil {
		return c.explain(err)
	}
	what := "it is being imaged. Next: " + named(c.inRack(), "rackreach watch")
	if s := a.Msg.GetRack().GetStatus(); s == string(rack.Completed) {
		what = "it is completed, and nothing is left to do"
	}
	return printLines(t.out, []string{c.rack + ": " + what})
}
