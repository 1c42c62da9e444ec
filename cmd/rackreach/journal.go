package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

func newJournal() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Look into the journal of a run: dump, verify, salvage",
		Long: `Look into the journal that a run keeps in its state directory (--state). Every
record carries a checksum and the hash of the one before; nothing here changes a
journal.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newJournalDump(), newJournalVerify(), newJournalSalvage())
	return cmd
}

func newJournalDump() *cobra.Command {
	var device string
	cmd := &cobra.Command{
		Use:     "dump DIR",
		Short:   "Print every event as one line of JSON",
		Example: "  rackreach journal dump state --device tor-1",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			keep := func(e rack.Event) bool { return device == "" || e.Device == device }
			_, err := journal.Dump(given[0], cmd.OutOrStdout(), keep)
			return err
		},
	}
	cmd.Flags().StringVar(&device, "device", "", "only the events of this device")
	return cmd
}

func newJournalVerify() *cobra.Command {
	return &cobra.Command{
		Use:     "verify DIR",
		Short:   "Check every record: checksum, chain, sequence",
		Example: "  rackreach journal verify state",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			r, err := journal.Verify(given[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: sound: %d events of rack %s, run %s, the last at %s\n", r.File, r.Events, r.Meta.Rack, r.Meta.Run, r.Last.UTC().Format(time.RFC3339))
			return err
		},
	}
}

func newJournalSalvage() *cobra.Command {
	return &cobra.Command{
		Use:   "salvage DIR NEW",
		Short: "Copy what can be proven of a damaged journal into a new directory",
		Long: `Copy every event that can still be proven, from the first one on, into a new
directory. The damaged journal stays as it is. What the copy lacks may have been
done to a device: look at the devices before you image anything again.`,
		Example: "  rackreach journal salvage state state-salvaged",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			r, err := journal.Salvage(given[0], given[1])
			if err != nil {
				return err
			}
			return printSalvage(cmd.OutOrStdout(), r, given[1])
		},
	}
}

func printSalvage(w io.Writer, r journal.Report, to string) error {
	p := printer{w: w}
	p.line("%s: %d events are proven and copied to %s", r.File, r.Events, to)
	if r.Damage != nil {
		p.line("  damage: at event %d: %s", r.Damage.Seq, r.Damage.Why)
	}
	if r.Loose > 0 {
		p.line("  not copied: %d events, %d to %d, can be read, but nothing links them to the others", r.Loose, r.LooseIn[0], r.LooseIn[1])
	}
	p.line("  next: look at every device that the copy does not call ready before you image it again")
	return p.err
}

// openState opens the log of a simulated run: in memory, or in a state directory
// that holds no journal yet, since a simulated rack starts over every time.
func openState(dir, rackName string) (journal.Log, error) {
	if dir == "" {
		return journal.NewMemory(), nil
	}
	s, err := journal.Open(dir, journal.Options{Rack: rackName})
	if err != nil {
		return nil, badInput(fmt.Errorf("--state: %w", err))
	}
	if s.Last() > 0 {
		return nil, badInput(errors.Join(fmt.Errorf("--state %s holds the journal of a run already, and a simulated rack starts over: name a new directory", dir), s.Close()))
	}
	return s, nil
}
