package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
)

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a rack file or a fleet file and name every problem in it",
		Long: `Check a rack file, and the inventory that it names; or a fleet file, every rack
file that it names, and what these must not contradict each other in. Every
problem is printed at once: file and line, what is wrong, and what to write
instead. Nothing is touched.`,
		Example: `  rackreach validate examples/rack-1.yaml
  rackreach validate examples/fleet.yaml`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			r, f, err := loadAny(given[0])
			if err != nil {
				return err
			}
			p := printer{w: cmd.OutOrStdout()}
			if f != nil {
				sayFleet(&p, given[0], f)
			} else {
				p.line("%s: rack %s is valid: %s", given[0], r.Name, inventory(r))
			}
			p.line("Next: rackreach plan %s", given[0])
			return p.err
		},
	}
}

// sayFleet says what a valid fleet file holds.
func sayFleet(p *printer, path string, f *rackfile.Fleet) {
	devices := 0
	for _, r := range f.Racks {
		devices += len(r.Devices)
	}
	p.line("%s: fleet %s is valid: %s, %s, %s between racks", path, f.Spec.Name, counted(len(f.Racks), "rack"), counted(devices, "device"), counted(len(fleet.Links(f.Racks)), "cable"))
	for i, r := range f.Racks {
		p.line("  %s: rack %s: %s", f.Files[i], r.Name, inventory(r))
	}
}

// inventory counts the devices of a rack by role.
func inventory(r *rack.Rack) string {
	count := map[rack.Role]int{}
	for i := range r.Devices {
		count[r.Devices[i].Role]++
	}
	return fmt.Sprintf("%d devices (%d management switch, %d ToR, %d inter-rack, %d servers)",
		len(r.Devices), count[rack.ManagementSwitch], count[rack.ToRSwitch], count[rack.InterRackSwitch], count[rack.Server])
}
