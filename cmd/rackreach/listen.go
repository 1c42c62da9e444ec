package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/discovery/wire"
)

// listen is the observation of an interface, as the flags ask for it.
type listen struct {
	name   string
	output string
	rules  string
	draft  string
	window time.Duration
}

func newListen(env func(string) (string, bool)) *cobra.Command {
	var l listen
	cmd := &cobra.Command{
		Use:   "listen IFACE",
		Short: "Say who is on a network, and answer nobody",
		Long: `Listen on an interface, and print a line for everything that is learnt: who asks for an
address and what it is by its vendor strings, which DHCP servers there are, what the
switch at the other end of the cable says of itself, and who has which address.
Nothing is answered and nothing is sent.

On a switch, only what is broadcast is heard, and what is meant for this machine; on
a mirror port, everything. It needs the capability CAP_NET_RAW, and no address.

--draft writes a rack file of what was seen, and its inventory beside it. It is
valid; what was not seen is made up and marked with TODO.`,
		Example: `  rackreach listen eth1
  rackreach listen eth1 --for 5m --draft rack.yaml
  rackreach listen eth1 -o json`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			l.name = given[0]
			return l.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), env)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&l.window, "for", 0, "end by itself after this time (default: at an interrupt)")
	f.StringVar(&l.draft, "draft", "", "write a rack file of what was seen to this path, which must not exist")
	rulesFlag(f, &l.rules)
	f.StringVarP(&l.output, "output", "o", "lines", "lines or json")
	return cmd
}

func (l *listen) run(ctx context.Context, out, notes io.Writer, env func(string) (string, bool)) error {
	if err := checkLines(l.output); err != nil {
		return err
	}
	if l.window < 0 {
		return badInput(fmt.Errorf("--for %s: write a time such as 5m", l.window))
	}
	inventory := inventoryBeside(l.draft)
	if l.draft != "" && inventory == l.draft {
		return badInput(fmt.Errorf("--draft %s is the path of a rack file, such as rack.yaml: its inventory gets the same name with .csv", l.draft))
	}
	if l.draft != "" {
		for _, path := range []string{l.draft, inventory} {
			if _, err := os.Lstat(path); err == nil {
				return badInput(fmt.Errorf("--draft: %s is there already: name another path, or delete it", path))
			}
		}
		// Now, and not after hours of listening.
		if info, err := os.Stat(filepath.Dir(l.draft)); err != nil || !info.IsDir() {
			return badInput(fmt.Errorf("--draft: %s is not a directory: make it, or name another path", filepath.Dir(l.draft)))
		}
	}
	rules, _, err := loadRules(l.rules, env)
	if err != nil {
		return err
	}
	set, err := platformsOf(env)
	if err != nil {
		return err
	}
	link, err := wire.Inspect(l.name)
	if err != nil {
		return badInput(err)
	}
	if !link.Up {
		return fmt.Errorf("interface %s is switched off, and nothing can be heard: ip link set %s up", l.name, l.name)
	}
	if l.window > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.window)
		defer cancel()
	}
	lines := &noticeLines{out: out, json: l.output == "json", who: l.name}
	x := rackagent.NewListener(link, rules, lines.tell)
	if err := errors.Join(x.Run(ctx), lines.failed()); err != nil || l.draft == "" {
		return err
	}
	yaml, rows := x.Draft().Files(inventory, set.Platforms())
	if err := errors.Join(writeNew(l.draft, yaml), writeNew(inventory, rows)); err != nil {
		return fmt.Errorf("--draft: %w", err)
	}
	return printLines(notes, []string{fmt.Sprintf("wrote %s and %s: look at every line with TODO, then: rackreach validate %s", l.draft, inventory, l.draft)})
}

// inventoryBeside is the path of the inventory of a drafted rack file.
func inventoryBeside(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + ".csv"
}

// writeNew writes a file that must not be there yet: all of it, or none.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
