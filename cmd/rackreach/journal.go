package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
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
			dir, err := journalDir(given[0])
			if err != nil {
				return err
			}
			_, err = journal.Dump(dir, cmd.OutOrStdout(), keep)
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
			dir, err := journalDir(given[0])
			if err != nil {
				return err
			}
			r, err := journal.Verify(dir)
			if err != nil {
				return err
			}
			line := fmt.Sprintf("%s: sound: %d events of rack %s, run %s", r.File, r.Events, r.Meta.Rack, r.Meta.Run)
			if r.Events > 0 {
				line += ", the last at " + r.Last.UTC().Format(time.RFC3339)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
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
			dir, err := journalDir(given[0])
			if err != nil {
				return err
			}
			if there, err := os.ReadDir(given[1]); err == nil && len(there) > 0 {
				return badInput(fmt.Errorf("salvage into %s: it is not empty: name a new directory", given[1]))
			}
			r, err := journal.Salvage(dir, given[1])
			if err == nil {
				err = state.Dir(dir).CopyTo(state.Dir(given[1]))
			}
			if err != nil {
				return err
			}
			return printSalvage(cmd.OutOrStdout(), r, dir, given[1])
		},
	}
}

func printSalvage(w io.Writer, r journal.Report, from, to string) error {
	p := printer{w: w}
	p.line("%s: %d events are proven and copied to %s", r.File, r.Events, to)
	if r.Damage != nil {
		p.line("  damage: at event %d: %s", r.Damage.Seq, r.Damage.Why)
	}
	if r.Loose > 0 {
		p.line("  not copied: %d events, %d to %d, can be read, but nothing links them to the others", r.Loose, r.LooseIn[0], r.LooseIn[1])
	}
	if r.Damage == nil {
		p.line("  nothing was damaged: the copy is whole")
		return p.err
	}
	p.line("  next: put it in place of the damaged one (mv %s %s.damaged; mv %s %s). Every device that it does not call ready is uncertain:", from, from, to, from)
	p.line("        look at it, then rackreach retry DEVICE to go on where the journal ends, or rackreach reimage DEVICE")
	return p.err
}

// journalDir is the directory of a journal: the one that is given, or that of a
// rack below a state directory that is given, when it has only one.
func journalDir(given string) (string, error) {
	if _, err := os.Stat(filepath.Join(given, "journal.db")); err == nil {
		return given, nil
	}
	racks, err := state.Home(given).Racks()
	if err != nil {
		return "", badInput(err)
	}
	if len(racks) == 0 {
		return "", badInput(fmt.Errorf("%s holds no journal: give as DIR the state directory of a run (--state), or racks/RACK below it", given))
	}
	if len(racks) > 1 {
		return "", badInput(fmt.Errorf("%s holds the journals of %s: name one of them, such as %s", given, strings.Join(racks, ", "), state.Home(given).Rack(racks[0])))
	}
	return string(state.Home(given).Rack(racks[0])), nil
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
