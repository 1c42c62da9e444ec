package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

func newValidate(env func(string) (string, bool)) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a rack file or a fleet file and name every problem in it",
		Long: `Check a rack file, and the inventory that it names; or a fleet file, its rack files,
and whether they fit together. Every problem is printed at
once: file and line, what is wrong, and what to write instead. Nothing is touched.`,
		Example: `  rackreach validate examples/rack-1.yaml
  rackreach validate examples/fleet.yaml`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			set, err := platformsOf(env)
			if err != nil {
				return err
			}
			f, r, err := loadAny(given[0], set.Platforms())
			if err != nil {
				return err
			}
			if f != nil {
				return validFleet(cmd.OutOrStdout(), given[0], f)
			}
			if err := noteUnmarked(cmd.ErrOrStderr(), r, set.Platforms()); err != nil {
				return err
			}
			count := map[rack.Role]int{}
			for i := range r.Devices {
				count[r.Devices[i].Role]++
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: rack %s is valid: %d devices (%d management switch, %d ToR, %d inter-rack, %d servers)\nNext: rackreach plan %s\n",
				given[0], r.Name, len(r.Devices), count[rack.ManagementSwitch], count[rack.ToRSwitch], count[rack.InterRackSwitch], count[rack.Server], given[0])
			return err
		},
	}
}

// noteUnmarked tells of servers that would be held, because their switches do not say
// through which port they are heard.
func noteUnmarked(w io.Writer, r *rack.Rack, known map[string]rack.Platform) error {
	for _, s := range rack.Unmarked(r, known) {
		if _, err := fmt.Fprintf(w, "note: %s; configure it on these switches by hand (docs/platforms.md), or use a platform that does\n", s); err != nil {
			return err
		}
	}
	return nil
}

func validFleet(w io.Writer, path string, f *rackfile.Fleet) error {
	devices := 0
	for _, r := range f.Racks {
		devices += len(r.Devices)
	}
	_, err := fmt.Fprintf(w, "%s: fleet %s is valid: %d racks, %d devices\nNext: rackreach apply %s, with a coordinator\n", path, f.Spec.Name, len(f.Racks), devices, path)
	return err
}
