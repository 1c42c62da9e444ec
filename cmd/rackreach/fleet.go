package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

func newFleet(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Stop and go on with the racks of a fleet file",
		Long: `A fleet is what rackreach apply FLEET-FILE asked a coordinator for: racks, how many
of them at once, and when to begin no more. rackreach status shows where it stands.`,
		Example: `  rackreach fleet halt --reason "cooling is out in row 4"
  rackreach fleet resume`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var reason string
	halt := fleetVerb(env, "halt", "Begin no further rack; those that are being imaged go on", func(ctx context.Context, c *api.Client) (*messages.Fleet, error) {
		a, err := c.Fleet.HaltFleet(ctx, connect.NewRequest(&messages.HaltFleetRequest{Reason: reason}))
		if err != nil {
			return nil, err
		}
		return a.Msg.GetFleet(), nil
	})
	halt.Flags().StringVar(&reason, "reason", "", "why, for those who come after you")
	cmd.AddCommand(halt, fleetVerb(env, "resume", "Begin racks again", func(ctx context.Context, c *api.Client) (*messages.Fleet, error) {
		a, err := c.Fleet.ResumeFleet(ctx, connect.NewRequest(&messages.ResumeFleetRequest{}))
		if err != nil {
			return nil, err
		}
		return a.Msg.GetFleet(), nil
	}))
	return cmd
}

func fleetVerb(env func(string) (string, bool), use, short string, do func(context.Context, *api.Client) (*messages.Fleet, error)) *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := theCoordinator(cmd.Context(), stateDir, env)
			if err != nil {
				return err
			}
			defer client.Close()
			f, err := do(cmd.Context(), client)
			if err != nil {
				return (&reached{Client: client}).explain(err)
			}
			return printFleet(cmd.OutOrStdout(), f)
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

// theCoordinator is the coordinator that is to be asked; there must be one.
func theCoordinator(ctx context.Context, stateDir string, env func(string) (string, bool)) (*api.Client, error) {
	client, _, err := findCoordinator(ctx, stateDir, env)
	if err == nil && client == nil {
		err = badInput(errors.New("no coordinator was found: start rackreach coordinator, name one with --server, or add one with rackreach context add"))
	}
	return client, err
}

// printFleet writes where every rack stands, in a line each.
func printFleet(w io.Writer, f *messages.Fleet) error {
	p := printer{w: w}
	ready, devices, connected := uint32(0), uint32(0), 0
	for _, r := range f.GetRacks() {
		ready, devices = ready+r.GetReady(), devices+r.GetDevices()
		if r.GetAgent().GetConnected() {
			connected++
		}
	}
	name := f.GetName()
	if name == "" {
		name = "no fleet was applied"
	} else {
		name = "fleet " + name + "  " + f.GetStatus()
	}
	p.line("%s  %d racks, %d agents connected  %d/%d devices ready", name, len(f.GetRacks()), connected, ready, devices)
	if f.GetCause() != "" {
		p.line("  why: %s", f.GetCause())
		p.line("  next: rackreach fleet resume")
	}
	p.line("")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := printer{w: tw}
	t.line("RACK\tSTATUS\tDONE\tREADY\tFAILED\tAGENT\tNOTE")
	for _, r := range f.GetRacks() {
		rackName, err := messages.ParseRack(r.GetName())
		if err != nil {
			return err
		}
		t.line("%s\t%s\t%.0f%%\t%d/%d\t%d\t%s\t%s", rackName, r.GetStatus(), 100*r.GetProgress(), r.GetReady(), r.GetDevices(), r.GetFailed(), agentWords(r.GetAgent()), fleetNote(r))
	}
	err := errors.Join(p.err, t.err, tw.Flush())
	if err != nil || len(f.GetBackplane()) == 0 {
		return err
	}
	p.line("")
	t.line("LINK\t\tSTATE\tNOTE")
	for _, l := range f.GetBackplane() {
		t.line("%s\t%s\t%s\t%s", l.GetA(), l.GetB(), l.GetState(), l.GetNote())
	}
	return errors.Join(p.err, t.err, tw.Flush())
}

// agentWords is how an agent is connected.
func agentWords(a *messages.AgentState) string {
	switch {
	case a.GetConnected():
		return "connected"
	case a.GetLastHeard() == nil:
		return "not heard of yet"
	}
	return "away since " + a.GetLastHeard().AsTime().Format("2006-01-02 15:04:05 UTC")
}

// fleetNote is the one thing that most needs to be said of a rack.
func fleetNote(r *messages.FleetRack) string {
	var out []string
	if r.GetCause() != "" {
		out = append(out, r.GetCause())
	}
	if r.GetSignedBy() == rack.Nobody {
		out = append(out, rack.BundleSentence(r.GetBundle(), rack.Nobody))
	}
	if n := r.GetOrders(); n > 0 {
		out = append(out, fmt.Sprintf("%d orders not answered", n))
	}
	if n := r.GetAgent().GetLag(); n > 0 {
		out = append(out, fmt.Sprintf("%d events behind", n))
	}
	return strings.Join(out, "; ")
}
