package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/simulate"
)

// Bounds of what simulate shows and reads.
const (
	shownFailures  = 12      // rows of each list in the table
	shownSteps     = 12      // of the critical path
	maxFaultsFile  = 1 << 20 // bytes
	forecastRacks  = 100     // samples of a plan's forecast
	forecastSeed   = 1       // the same plan has the same forecast
	millisecondsIn = int64(time.Second / time.Millisecond)
)

type simulateFlags struct {
	racks  int
	seed   uint64
	faults string
	output string
}

func newSimulate(env func(string) (string, bool)) *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate FILE",
		Short: "Image many racks in virtual time: how long it takes, and what goes wrong",
		Long: `Run the same decisions as on a real rack in virtual time, with durations and
failures drawn from a table of estimates. The same seed gives the same bytes.

--faults is realistic (the table's own rates), none, or a file of your own.`,
		Example: `  rackreach simulate examples/rack-2.yaml
  rackreach simulate examples/rack-42u.yaml --racks 1000 --seed 7 -o json`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if !cmd.Flags().Changed("seed") {
				f.seed = rand.Uint64()
			}
			return f.run(cmd.Context(), cmd.OutOrStdout(), given[0], env)
		},
	}
	cmd.Flags().IntVar(&f.racks, "racks", 100, fmt.Sprintf("how many racks, 1 to %d", simulate.MaxRacks))
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "seed of durations and failures (default: a new one, printed)")
	cmd.Flags().StringVar(&f.faults, "faults", "realistic", "realistic, none, or a file")
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "table or json")
	return cmd
}

func (f *simulateFlags) run(ctx context.Context, out io.Writer, file string, env func(string) (string, bool)) error {
	if f.output != "table" && f.output != "json" {
		return badInput(fmt.Errorf("-o %q is not an output: write -o table or -o json", f.output))
	}
	if f.racks < 1 || f.racks > simulate.MaxRacks {
		return badInput(fmt.Errorf("--racks %d is out of range: write a number from 1 to %d", f.racks, simulate.MaxRacks))
	}
	r, known, err := loadKnown(file, env)
	if err != nil {
		return err
	}
	faults, err := readFaults(f.faults)
	if err != nil {
		return badInput(err)
	}
	result, err := simulated(ctx, r, known, simulate.Options{Racks: f.racks, Seed: f.seed, Faults: faults})
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("stopped: %w", context.Cause(ctx))
		}
		return badInput(err)
	}
	if f.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	return printSimulation(out, result)
}

// simulated fills in what every simulation of a rack file needs.
func simulated(ctx context.Context, r *rack.Rack, known map[string]rack.Platform, o simulate.Options) (*simulate.Result, error) {
	plan, _, err := planned(r, known)
	if err != nil {
		return nil, err
	}
	return simulatedPlan(ctx, r, known, plan, o)
}

// simulatedPlan fills in what every simulation of a plan needs.
func simulatedPlan(ctx context.Context, r *rack.Rack, known map[string]rack.Platform, plan *rack.Plan, o simulate.Options) (*simulate.Result, error) {
	o.Rack, o.Platforms, o.Images = r, known, map[string]rack.Image{}
	for _, d := range plan.Devices {
		o.Images[d.Name] = rack.Image(d.Image)
	}
	return simulate.Run(ctx, o)
}

func readFaults(name string) (simulate.Faults, error) {
	switch name {
	case "realistic":
		return simulate.Realistic(), nil
	case "none":
		return simulate.None(), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return simulate.Faults{}, fmt.Errorf("--faults: %w: write realistic, none, or the name of a file", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFaultsFile+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return simulate.Faults{}, fmt.Errorf("--faults %s: %w", name, err)
	}
	if len(data) > maxFaultsFile {
		return simulate.Faults{}, fmt.Errorf("--faults %s: more than %d bytes: split it, or name another file", name, maxFaultsFile)
	}
	faults, err := simulate.ParseFaults(data)
	if err != nil {
		return simulate.Faults{}, fmt.Errorf("--faults %s: %w", name, err)
	}
	faults.Name = name
	return faults, nil
}

func printSimulation(out io.Writer, r *simulate.Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	p := printer{w: w}
	p.line("rack %s, %d racks in virtual time, seed %d, faults %s (durations and rates are estimates)", r.Rack, r.Racks, r.Seed, r.Faults)
	p.line("")
	p.line("all devices ready\t%d racks", r.AllReady)
	p.line("with failed servers\t%d racks", r.WithFailed)
	p.line("halted by a switch\t%d racks", r.Halted)
	if r.Unfinished > 0 {
		p.line("came to no end\t%d racks", r.Unfinished)
	}
	p.line("time to completion\tp50 %s, p90 %s", milliseconds(r.Makespan.P50), milliseconds(r.Makespan.P90))
	if len(r.Failures) > 0 {
		p.line("")
		p.line("FAILURE\tROLE\tSTEP\tATTEMPTS\tDEVICES\tHALTED RACKS")
		for _, f := range r.Failures[:min(len(r.Failures), shownFailures)] {
			p.line("%s\t%s\t%s\t%d\t%d\t%d", f.Reason, f.Role, f.Step, f.Attempts, f.Devices, f.Halts)
		}
	}
	if len(r.CriticalPath) > 0 {
		p.line("")
		p.line("CRITICAL PATH\tSTEP\tON IT\tMEAN")
		longest := slices.Clone(r.CriticalPath)
		slices.SortStableFunc(longest, func(a, b simulate.Critical) int { return cmp.Compare(b.Mean, a.Mean) })
		for _, c := range longest[:min(len(longest), shownSteps)] {
			p.line("%s\t%s\t%d%%\t%s", c.Role, c.Step, c.Share/10, milliseconds(c.Mean))
		}
	}
	return errors.Join(p.err, w.Flush())
}

// printer keeps the first error of writing lines.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", a...)
	}
}

func milliseconds(ms int64) time.Duration {
	return (time.Duration(ms/millisecondsIn) * time.Second).Round(time.Second)
}
