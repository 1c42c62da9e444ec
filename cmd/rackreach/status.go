package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

func newStatus(env func(string) (string, bool)) *cobra.Command {
	var stateDir, output string
	cmd := &cobra.Command{
		Use:   "status [RACK]",
		Short: "Show where racks and their devices stand",
		Long: `Show where racks and their devices stand. A coordinator is asked for all of its
racks; the name of one shows its devices.`,
		Example: "  rackreach status\n  rackreach status r1 -o json",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if output != "table" && output != "json" && output != "yaml" {
				return badInput(fmt.Errorf("-o %q is not an output: write -o table, -o json or -o yaml", output))
			}
			if len(given) == 0 {
				fleet, err := fleetOf(cmd.Context(), stateDir, env)
				if err != nil || fleet != nil {
					return errors.Join(err, printFleetAs(cmd.OutOrStdout(), fleet, output))
				}
			}
			racks, err := statusOf(cmd.Context(), stateDir, env, append(given, "")[0])
			if len(racks) == 0 && len(given) == 0 {
				return coordinatorAlone(cmd.Context(), stateDir, env, err)
			}
			if len(racks) == 0 {
				return err
			}
			return errors.Join(printStatus(cmd.OutOrStdout(), racks, output), err)
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}

// statusOf asks for one rack, or for all that were begun. One that cannot be read
// hides none of the others.
func statusOf(ctx context.Context, stateDir string, env func(string) (string, bool), name string) ([]standing, error) {
	home, err := homeOf(stateDir, env)
	if err != nil {
		return nil, err
	}
	names, err := racksIn(home)
	if err != nil {
		return nil, err
	}
	if name != "" || len(names) == 0 {
		names = []string{name}
	}
	var out []standing
	var errs []error
	for _, n := range names {
		r, err := statusOfRack(ctx, stateDir, env, n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}

// standing is where a rack stands.
type standing struct {
	*messages.Rack
	inRack string // what commands must call it; empty: there is only one
}

func statusOfRack(ctx context.Context, stateDir string, env func(string) (string, bool), name string) (s standing, err error) {
	c, err := reach(ctx, stateDir, env, name)
	if err != nil {
		return s, err
	}
	a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(c.rack)}))
	if err != nil {
		err = c.explain(err)
	}
	if err = errors.Join(err, c.close()); err != nil {
		return s, err
	}
	return standing{a.Msg.GetRack(), c.inRack()}, nil
}

func printStatus(w io.Writer, racks []standing, output string) error {
	if output == "table" {
		for i, r := range racks {
			if i > 0 {
				if _, err := fmt.Fprintln(w); err != nil {
					return err
				}
			}
			if err := printRack(w, r); err != nil {
				return err
			}
		}
		return nil
	}
	var list []any
	for _, r := range racks {
		v, err := plainValue(r.Rack)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	return encode(w, map[string]any{"racks": list}, output)
}

// plainValue is a message as encoders for JSON and YAML take it. protojson itself
// varies its spaces on purpose.
func plainValue(m proto.Message) (v any, err error) {
	b, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(m)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		return nil, fmt.Errorf("write the status: %w", err)
	}
	return v, nil
}

func encode(w io.Writer, v any, output string) error {
	if output == "yaml" {
		return yaml.NewEncoder(w).Encode(v)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// fleetOf asks a coordinator for all of its racks; nil: there is no coordinator.
func fleetOf(ctx context.Context, stateDir string, env func(string) (string, bool)) (*messages.Fleet, error) {
	client, named, err := findCoordinator(ctx, stateDir, env)
	if err != nil || client == nil {
		// Without a place for a state directory there is nothing else to show either.
		return nil, err
	}
	defer client.Close()
	a, err := client.Fleet.GetFleet(ctx, connect.NewRequest(&messages.GetFleetRequest{}))
	if err != nil {
		return nil, (&reached{Client: client}).explain(err)
	}
	f := a.Msg.GetFleet()
	if !named && len(f.GetRacks()) == 0 {
		return nil, nil // it knows of nothing; what is kept here may be of use
	}
	return f, nil
}

// coordinatorAlone is why nothing can be shown, where a coordinator of this machine
// runs and no agent has come to it.
func coordinatorAlone(ctx context.Context, stateDir string, env func(string) (string, bool), none error) error {
	client, _, err := findCoordinator(ctx, stateDir, env)
	if err != nil || client == nil {
		return none
	}
	client.Close()
	return badInput(fmt.Errorf("%w\nThe coordinator on this machine runs, and has no racks yet: rackreach agent --rack NAME, on the machine that is cabled to a rack, brings it one", none))
}

func printFleetAs(w io.Writer, f *messages.Fleet, output string) error {
	if f == nil {
		return nil
	}
	if output == "table" {
		return printFleet(w, f)
	}
	v, err := plainValue(f)
	if err != nil {
		return err
	}
	return encode(w, map[string]any{"fleet": v}, output)
}

func printRack(w io.Writer, r standing) error {
	ready, sum := 0, 0.0
	for _, d := range r.GetDevices() {
		if d.GetStatus() == "ready" {
			ready++
		}
		sum += d.GetProgress()
	}
	name, err := messages.ParseRack(r.GetName())
	if err != nil {
		return err
	}
	n := len(r.GetDevices())
	p := printer{w: w}
	if n == 0 {
		p.line("rack %s  waits for a plan  event %d", name, r.GetLastSeq())
		p.line("  next: rackreach apply FILE, by the coordinator of its agent")
		return p.err
	}
	line := fmt.Sprintf("rack %s  %s  %.0f%%  %d/%d ready  plan %s  event %d", name, r.GetStatus(), 100*sum/float64(max(n, 1)), ready, n, r.GetPlanHash(), r.GetLastSeq())
	if !r.GetDriven() {
		line += "  no agent"
	}
	p.line("%s", line)
	if len(r.GetOnly()) > 0 {
		p.line("  only: %s", strings.Join(r.GetOnly(), ", "))
	}
	if s := rack.BundleSentence(r.GetBundle(), r.GetSignedBy()); s != "" {
		p.line("  %s", s)
	}
	if r.GetCause() != "" {
		p.line("  why: %s", strings.TrimSpace(r.GetBlamed()+" "+r.GetCause()))
	}
	if next := nextFor(r.Rack); next != "" {
		p.line("  next: %s", named(r.inRack, next))
	}
	p.line("")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := printer{w: tw}
	t.line("DEVICE\tSTATUS\tDONE\tSTEP\tNOTE")
	for _, d := range r.GetDevices() {
		_, device, err := messages.ParseDevice(d.GetName())
		if err != nil {
			return err
		}
		step := d.GetStep()
		if s := d.GetStatus(); s == "ready" || s == "waiting" || s == "skipped" {
			step = ""
		} else if d.GetAttempt() > 1 {
			step += fmt.Sprintf(" (attempt %d)", d.GetAttempt())
		}
		t.line("%s\t%s\t%.0f%%\t%s\t%s", device, d.GetStatus(), 100*d.GetProgress(), step, note(d))
	}
	return errors.Join(p.err, t.err, tw.Flush())
}

// note is the one thing that most needs to be said of a device.
func note(d *messages.Device) string {
	switch {
	case d.GetHeld() != "":
		return "held: " + d.GetHeld()
	case d.GetStatus() == "failed", d.GetStatus() == "uncertain":
		return d.GetError()
	case d.GetStatus() == "skipped":
		return d.GetOrdered()
	case d.GetStatus() == "ready":
		return ""
	case d.GetError() != "":
		return "before: " + d.GetError()
	}
	return d.GetOrdered()
}

// nextFor is what an operator can do about a rack that does not go on by itself.
func nextFor(r *messages.Rack) string {
	for _, d := range r.GetDevices() {
		if d.GetStatus() == "failed" && d.GetRole() != "server" {
			return d.GetRemedy()
		}
		if _, device, err := messages.ParseDevice(d.GetName()); err == nil && d.GetStatus() == "uncertain" {
			return fmt.Sprintf("look at %s, then rackreach retry %s to go on where its journal ends, or rackreach reimage %s", device, device, device)
		}
	}
	if s := rack.Status(r.GetStatus()); r.GetDriven() && s != rack.Halted && s != rack.Completed {
		return ""
	}
	over := r.GetStatus() == string(rack.Completed)
	for _, d := range r.GetDevices() {
		switch rack.DeviceStatus(d.GetStatus()) {
		case rack.Ready, rack.Failed, rack.Skipped:
		default:
			over = false // it was ordered after the end
		}
	}
	if over {
		return ""
	}
	return "rackreach resume"
}
