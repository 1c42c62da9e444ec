package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/inventory"
)

func newInventory(env func(string) (string, bool)) *cobra.Command {
	var stateDir, output string
	cmd := &cobra.Command{
		Use:   "inventory [RACK]",
		Short: "List what a rack consists of",
		Long: `List what a rack consists of, as its journal says: per device its role, platform and
state, MACs and addresses, BMC with maker and firmware, serial number, UUID, processors,
memory, disks and network cards, the image that it was given, receipts and findings.
Nothing is asked of a device; an agent may run or not. What a machine has is known once
rackreach's own installer ran on it.`,
		Example: "  rackreach inventory\n  rackreach inventory r1 -o csv > r1.csv\n  rackreach inventory r1 -o json",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			write, ok := map[string]func(inventory.Document, io.Writer) error{"table": inventory.Document.WriteTable, "csv": inventory.Document.WriteCSV, "json": inventory.Document.WriteJSON}[output]
			if !ok {
				return badInput(fmt.Errorf("-o %q is not an output: write -o table, -o csv or -o json", output))
			}
			x, err := inventoryOf(cmd.Context(), stateDir, env, append(given, "")[0])
			if err != nil {
				return err
			}
			return write(x, cmd.OutOrStdout())
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, csv or json")
	return cmd
}

func inventoryOf(ctx context.Context, stateDir string, env func(string) (string, bool), name string) (inventory.Document, error) {
	c, err := reach(ctx, stateDir, env, name)
	if err != nil {
		return inventory.Document{}, err
	}
	h, err := c.history(ctx)
	if err = errors.Join(err, c.close()); err != nil {
		return inventory.Document{}, err
	}
	return inventory.Of(h.plan.Rack, h.plan.Platforms, h.events), nil
}
