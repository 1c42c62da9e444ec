package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
)

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a rack file and name every problem in it",
		Long: `Check a rack file, and the inventory that it names. Every problem is printed at
once: file and line, what is wrong, and what to write instead. Nothing is touched.`,
		Example: `  rackreach validate examples/rack-1.yaml`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			r, err := load(given[0])
			if err != nil {
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
