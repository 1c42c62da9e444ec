package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/rack"
)

func newCabling(env func(string) (string, bool)) *cobra.Command {
	var stateDir, output string
	cmd := &cobra.Command{
		Use:   "cabling FILE",
		Short: "Compare the cables of a rack file with what was heard",
		Long: `Compare every cable of a rack file with what was heard of it in the rack's run: the
neighbours and MAC tables of its switches, and the ports that its devices' DHCP packets
came through. What is swapped, missing or extra is shown side by side; nothing that was
heard is no fault. The rack's agent is asked, or its journal is read.

Exit codes: 0 nothing contradicts the file, 1 something does, 2 bad input.`,
		Example: "  rackreach cabling examples/rack-1.yaml\n  rackreach cabling examples/rack-1.yaml -o json",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if output != "table" && output != "json" {
				return badInput(fmt.Errorf("-o %q is not an output: write -o table or -o json", output))
			}
			r, known, err := loadKnown(given[0], env)
			if err != nil {
				return err
			}
			c, err := reach(cmd.Context(), stateDir, env, r.Name)
			if err != nil {
				return err
			}
			run := rack.NewRun(r, known)
			err = c.events(cmd.Context(), 1, false, func(events []rack.Event) error {
				for _, e := range events {
					run.Apply(e)
				}
				return nil
			})
			if err = errors.Join(err, c.close()); err != nil {
				return err
			}
			checks := run.CheckCables()
			show := printCabling
			if output == "json" {
				show = printCablingJSON
			}
			if err := show(cmd.OutOrStdout(), run, checks); err != nil {
				return err
			}
			if n := contradictions(checks); n > 0 {
				return fmt.Errorf("%d of them contradict %s. Next: plug them as the file says, and whatever is held goes on once it is heard at its own port, or after rackreach retry DEVICE; or correct the file, then plan and apply it anew", n, given[0])
			}
			return nil
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func contradictions(checks []rack.CableCheck) (n int) {
	for i := range checks {
		if checks[i].Verdict.Contradicts() {
			n++
		}
	}
	return n
}

// sideBySide puts what contradicts first, and two cables that are swapped one below the
// other.
func sideBySide(checks []rack.CableCheck) (out []rack.CableCheck) {
	shown := map[rack.Port]bool{}
	add := func(x rack.CableCheck) {
		if !shown[x.Near] {
			shown[x.Near] = true
			out = append(out, x)
		}
	}
	for _, x := range checks {
		if !x.Verdict.Contradicts() {
			continue
		}
		add(x)
		for _, y := range checks {
			if x.Verdict == rack.CableSwapped && y.Near == x.With {
				add(y)
			}
		}
	}
	for _, x := range checks {
		add(x)
	}
	return out
}

func printCabling(w io.Writer, run *rack.Run, checks []rack.CableCheck) error {
	count := map[rack.CableVerdict]int{}
	for i := range checks {
		count[checks[i].Verdict]++
	}
	var sums []string
	for _, v := range []rack.CableVerdict{rack.CableSwapped, rack.CableWrong, rack.CableMissing, rack.CableExtra, rack.CableRight, rack.CableTaken, rack.CableUnseen} {
		if count[v] > 0 {
			sums = append(sums, fmt.Sprintf("%d %s", count[v], v))
		}
	}
	p := printer{w: w}
	p.line("rack %s  %d cables: %s  event %d", run.Rack.Name, len(checks), strings.Join(sums, ", "), run.Seq())
	p.line("")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	t := printer{w: tw}
	t.line("PORT\tSHOULD LEAD TO\tLEADS TO\tVERDICT\tBY")
	for _, x := range sideBySide(checks) {
		verdict := string(x.Verdict)
		if x.Verdict == rack.CableSwapped {
			verdict += " with " + x.With.String()
		}
		t.line("%s\t%s\t%s\t%s\t%s", x.Near, orDash(x.Expected), orDash(strings.Join(x.Found, ", ")), verdict, strings.Join(x.By, "; "))
	}
	err := errors.Join(p.err, t.err, tw.Flush())
	held := heldByCables(run)
	if len(held) > 0 {
		p.line("")
	}
	for _, h := range held {
		p.line("%s is held: %s", h.Device, h.Why)
	}
	return errors.Join(err, p.err)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// heldDevice is a device that is held for its cables.
type heldDevice struct {
	Device string `json:"device"`
	Why    string `json:"why"`
}

func heldByCables(run *rack.Run) []heldDevice {
	out := []heldDevice{}
	for i := range run.Rack.Devices {
		name := run.Rack.Devices[i].Name
		if why := run.Device(name).Held; strings.HasPrefix(why, rack.CablingReason) {
			out = append(out, heldDevice{name, why})
		}
	}
	return out
}

func printCablingJSON(w io.Writer, run *rack.Run, checks []rack.CableCheck) error {
	type cable struct {
		Port     string   `json:"port"`
		Network  string   `json:"network,omitempty"`
		Expected string   `json:"expected,omitempty"`
		Found    []string `json:"found"`
		By       []string `json:"by"`
		Verdict  string   `json:"verdict"`
		With     string   `json:"with,omitempty"`
	}
	v := struct {
		Rack   string       `json:"rack"`
		Event  uint64       `json:"event"`
		Cables []cable      `json:"cables"`
		Held   []heldDevice `json:"held"`
	}{run.Rack.Name, run.Seq(), []cable{}, heldByCables(run)}
	for _, x := range sideBySide(checks) {
		c := cable{Port: x.Near.String(), Network: string(x.Network), Expected: x.Expected, Found: append([]string{}, x.Found...), By: append([]string{}, x.By...), Verdict: string(x.Verdict)}
		if !x.With.IsZero() {
			c.With = x.With.String()
		}
		v.Cables = append(v.Cables, c)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
