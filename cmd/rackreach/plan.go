package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/simulate"
	"github.com/rackreach/rackreach/internal/state"
)

func newPlan(env func(string) (string, bool)) *cobra.Command {
	var output, stateDir string
	var images bundling
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Show in which order a rack is imaged, and why",
		Long: `Show, for every device of a rack file, the wave in which it is imaged, the routes
that it waits for and the switches on them, what will be overwritten, and its
image with its digest. The hash names exactly this plan.`,
		Example: `  rackreach plan examples/rack-2.yaml
  rackreach plan examples/rack-2.yaml -o json
  rackreach plan rack.yaml --bundle images`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if output != "table" && output != "json" {
				return badInput(fmt.Errorf("-o %q is not an output: write -o table or -o json", output))
			}
			if err := images.check(); err != nil {
				return err
			}
			set, err := platformsOf(env)
			if err != nil {
				return err
			}
			known := set.Platforms()
			f, r, err := loadAny(given[0], known)
			if err != nil {
				return err
			}
			home, err := homeOf(stateDir, env)
			if err != nil && images.place != "" {
				return err
			}
			from, err := images.open(cmd.Context(), home, images.opener(env), nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, from.close()) }()
			if f != nil {
				return planFleet(cmd.OutOrStdout(), given[0], f, known, from, output)
			}
			if err := checkBundled(given[0], r, known, from); err != nil {
				return err
			}
			all, err := from.resolve(r, known)
			if err != nil {
				return err
			}
			if err := keepShown(stateDir, env, all); err != nil {
				// It is shown all the same; only a later apply knows less.
				if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "note: what changes later cannot be told: %v\n", err); err != nil {
					return err
				}
			}
			shown := shownPlan{Plan: all.Plan}
			shown.Bundle, shown.SignedBy = all.Bundle.Words()
			if shown.Forecast, err = forecastOf(cmd.Context(), all); err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(shown)
			}
			if err := noteUnmarked(cmd.ErrOrStderr(), r, known); err != nil {
				return err
			}
			return printPlan(cmd.OutOrStdout(), shown, given[0])
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	images.flags(cmd.Flags())
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

// keepShown keeps a plan that is shown, so that apply --plan can tell what
// changed since.
func keepShown(stateDir string, env func(string) (string, bool), p *state.Plan) error {
	home, err := homeOf(stateDir, env)
	if err != nil {
		return err
	}
	return home.KeepShown(p)
}

// shownPlan is a plan with what is foretold of it. The forecast is no part of
// the plan: the hash does not cover it.
type shownPlan struct {
	*rack.Plan
	Bundle   string   `json:"bundle,omitempty"`   // where the images come from; the hash covers their digests
	SignedBy string   `json:"signedBy,omitempty"` // who vouches for them
	Forecast forecast `json:"forecast"`
}

// forecast is how long the racks of a small simulation took, from a table of
// estimates.
type forecast struct {
	P50Seconds int64 `json:"p50Seconds"`
	P90Seconds int64 `json:"p90Seconds"`
	Estimated  bool  `json:"estimated"` // always: no rack was measured
}

func forecastOf(ctx context.Context, p *state.Plan) (forecast, error) {
	result, err := simulatedPlan(ctx, p.Rack, p.Platforms, p.Plan, simulate.Options{Racks: forecastRacks, Seed: forecastSeed, Faults: simulate.Realistic()})
	if err != nil {
		return forecast{}, fmt.Errorf("forecast: %w", err)
	}
	return forecast{result.Makespan.P50 / millisecondsIn, result.Makespan.P90 / millisecondsIn, true}, nil
}

// waveTitle says what a wave waits for, once for all of its devices.
func waveTitle(d rack.PlannedDevice) string {
	title := map[int]string{1: "wave 1, the management switch", 2: "wave 2, ToR and inter-rack switches, in parallel", 3: "wave 3, servers, in parallel"}[d.Wave]
	if len(d.WaitsFor) > 0 {
		title += ", after " + strings.Join(d.WaitsFor, ", ")
	}
	return title + "\n  why: " + d.Because
}

func printPlan(w io.Writer, p shownPlan, file string) error {
	if _, err := fmt.Fprintf(w, "plan %s of rack %s\n", p.Hash, p.Rack); err != nil {
		return err
	}
	if s := rack.BundleSentence(p.Bundle, p.SignedBy); s != "" {
		if _, err := fmt.Fprintln(w, s); err != nil {
			return err
		}
	}
	wave := 0
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range p.Devices {
		if d.Wave != wave {
			wave = d.Wave
			if err := tw.Flush(); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "\n%s\n", waveTitle(d)); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(tw, "  DEVICE\tADDRESS\tROUTES\tOVERWRITES\tIMAGE"); err != nil {
				return err
			}
		}
		overwrites := d.Overwrites
		if overwrites == "" {
			overwrites = "nothing: it is protected, and apply refuses the rack"
		}
		if _, err := fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s %.19s…\n", d.Name, d.Address, routes(d.Routes), overwrites, d.Image.Name, d.Image.Digest); err != nil {
			return err
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nForecast, from estimates: %s in half of all cases, %s in nine of ten\nNext: rackreach simulated-rack %s in another terminal, then: rackreach apply %s --simulate --plan %s\n",
		milliseconds(p.Forecast.P50Seconds*millisecondsIn), milliseconds(p.Forecast.P90Seconds*millisecondsIn), file, file, p.Hash)
	return err
}

// routes writes each way to a device as "network: switch > switch, port".
func routes(rs []rack.PlannedRoute) string {
	var out []string
	for _, r := range rs {
		way := r.Port
		if len(r.Switches) > 0 {
			way = strings.Join(r.Switches, " > ") + ", port " + r.Port[strings.LastIndexByte(r.Port, ':')+1:]
		}
		out = append(out, fmt.Sprintf("%s: %s", r.Network, way))
	}
	return strings.Join(out, "; ")
}
