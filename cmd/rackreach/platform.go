package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
)

func newPlatform(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "platform",
		Short: "Look at how kinds of hardware and software are imaged, and check platforms of your own",
		Long: `A platform says how one kind of hardware and software is discovered, installed,
configured and verified: a YAML file with a straight list of steps for each phase.
Those of your own go on top of ours: put them in a folder and name that with
--platforms. docs/platforms.md tells how one is written.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPlatformList(env), newPlatformShow(env), newPlatformLint(), newPlatformTest(env))
	return cmd
}

func newPlatformList(env func(string) (string, bool)) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the platforms that are known here, and what was seen of each",
		Long: `List the platforms that are known here. Simulated ones image nothing that is real. An
untested one was never run on the product that it is for; platform show says what of
it was not seen.`,
		Example: `  rackreach platform list
  rackreach platform list --platforms platforms -o json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkTable(output); err != nil {
				return err
			}
			set, err := platformsOf(env)
			if err != nil {
				return err
			}
			return listPlatforms(cmd.OutOrStdout(), set, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func listPlatforms(out io.Writer, set *platform.Set, output string) error {
	if output == "json" {
		shown := []shownPlatform{}
		for _, d := range set.Definitions() {
			shown = append(shown, showPlatform(d))
		}
		return writeJSON(out, shown)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	p := printer{w: w}
	p.line("PLATFORM\tROLES\tSTATUS\tFROM\tDESCRIPTION")
	for _, d := range set.Definitions() {
		p.line("%s\t%s\t%s\t%s\t%s", d.Name, joinWords(d.Roles), d.Status, origin(d), d.Description)
	}
	return errors.Join(p.err, w.Flush())
}

// origin is where a platform comes from, for people.
func origin(d *platform.Definition) string {
	if d.Own {
		return d.File
	}
	return "rackreach"
}

func joinWords[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// shownPlatform is a platform as JSON.
type shownPlatform struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Status      platform.Status   `json:"status"`
	Unseen      []string          `json:"unseen,omitempty"`
	Like        string            `json:"like,omitempty"`
	File        string            `json:"file,omitempty"` // of one's own
	Roles       []rack.Role       `json:"roles"`
	Stages      []rack.Stage      `json:"stages"`
	Machines    []string          `json:"machines,omitempty"`
	Image       string            `json:"image"`
	TicketEnds  rack.Evidence     `json:"ticketEnds"`
	Neighbours  string            `json:"neighbours,omitempty"` // how it is asked for them
	MACs        string            `json:"macs,omitempty"`
	Provision   *shownProvision   `json:"provision,omitempty"`
	Steps       []shownDefinition `json:"steps"`
}

// shownProvision is what a system is given at its first boot, as JSON.
type shownProvision struct {
	Option    uint8    `json:"option,omitempty"`
	Documents []string `json:"documents"`
}

// shownDefinition is a step of a platform as JSON.
type shownDefinition struct {
	Name         string          `json:"step"`
	Phase        rack.Phase      `json:"phase"`
	Does         string          `json:"does"`
	Needs        []rack.Gate     `json:"needs,omitempty"`
	Unless       []rack.Evidence `json:"unless,omitempty"`
	LimitSeconds float64         `json:"limitSeconds"`
	Retries      int             `json:"retries"`
	Weight       int             `json:"weight"`
	Destructive  bool            `json:"destructive,omitempty"`
}

// howAsked is how a switch is asked for something, for people; empty: it is not.
func howAsked(a *rack.Ask) string {
	switch {
	case a == nil:
		return ""
	case a.Run != "":
		return fmt.Sprintf("ssh %q, %s", a.Run, a.Format)
	}
	return "snmp, community " + a.Community
}

func showPlatform(d *platform.Definition) shownPlatform {
	s := shownPlatform{Name: d.Name, Description: d.Description, Status: d.Status, Unseen: d.Unseen, Like: d.Like, Roles: d.Roles,
		Stages: d.Match.Stages, Machines: d.Match.Machines, Image: d.Image, TicketEnds: d.TicketEnds, Neighbours: howAsked(d.Neighbours), MACs: howAsked(d.MACs)}
	if d.Own {
		s.File = d.File
	}
	if p := d.Provision; p != nil {
		s.Provision = &shownProvision{Option: p.Option}
		for _, x := range p.Documents {
			s.Provision.Documents = append(s.Provision.Documents, x.Name)
		}
	}
	for i := range d.Steps {
		x := &d.Steps[i]
		s.Steps = append(s.Steps, shownDefinition{x.Name, x.Phase, platform.Does(x), x.Needs, x.Unless, x.Limit.Seconds(), x.Retries, x.Weight, x.Destructive})
	}
	return s
}

func newPlatformShow(env func(string) (string, bool)) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show PLATFORM",
		Short: "Show what a platform does, step by step, and what was not seen of it",
		Example: `  rackreach platform show sim-tor
  rackreach platform show acme-os --platforms platforms`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			_, d, err := onePlatform(env, output, given[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(cmd.OutOrStdout(), showPlatform(d))
			}
			return printPlatform(cmd.OutOrStdout(), d)
		},
		ValidArgsFunction: completePlatforms(env),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// completePlatforms completes the name of a platform in a shell.
func completePlatforms(env func(string) (string, bool)) cobra.CompletionFunc {
	return func(_ *cobra.Command, given []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
		set, err := platformsOf(env)
		if err != nil || len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, d := range set.Definitions() {
			names = append(names, cobra.CompletionWithDesc(d.Name, d.Description))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// onePlatform is the platform that a command is about, among all that are known here.
func onePlatform(env func(string) (string, bool), output, name string) (*platform.Set, *platform.Definition, error) {
	if err := checkTable(output); err != nil {
		return nil, nil, err
	}
	set, err := platformsOf(env)
	if err != nil {
		return nil, nil, err
	}
	d, ok := set.Definition(name)
	if !ok {
		return nil, nil, badInput(fmt.Errorf("there is no platform %q: write one of %s", name, platform.Names(set.Platforms())))
	}
	return set, d, nil
}

func checkTable(output string) error {
	if output != "table" && output != "json" {
		return badInput(fmt.Errorf("-o %q is not an output: write -o table or -o json", output))
	}
	return nil
}

func printPlatform(out io.Writer, d *platform.Definition) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	p := printer{w: w}
	p.line("%s: %s", d.Name, d.Description)
	p.line("")
	p.line("status\t%s", d.Status)
	for _, u := range d.Unseen {
		p.line("not seen\t%s", u)
	}
	p.line("from\t%s", origin(d))
	if d.Like != "" {
		p.line("like\t%s", d.Like)
	}
	p.line("roles\t%s", joinWords(d.Roles))
	stages := joinWords(d.Match.Stages)
	if len(d.Match.Machines) > 0 {
		stages += ", of machines " + strings.Join(d.Match.Machines, ", ")
	}
	p.line("seen as\t%s", stages)
	p.line("image\t%s", d.Image)
	p.line("ticket ends\t%s", d.TicketEnds)
	if d.Provision != nil {
		p.line("first boot\t%s", firstBoot(d.Provision))
	}
	for _, a := range []struct {
		what string
		ask  *rack.Ask
	}{{"neighbours", d.Neighbours}, {"macs", d.MACs}} {
		if a.ask != nil {
			p.line("%s\t%s", a.what, howAsked(a.ask))
		}
	}
	p.line("")
	p.line("PHASE\tSTEP\tDOES\tNEEDS\tUNLESS\tLIMIT\tRETRIES")
	for i := range d.Steps {
		s := &d.Steps[i]
		retries := fmt.Sprint(s.Retries)
		if s.RetryFrom != "" {
			retries += " from " + s.RetryFrom
		}
		p.line("%s\t%s\t%s\t%s\t%s\t%s\t%s", s.Phase, s.Name, platform.Does(s), dash(joinWords(s.Needs)), dash(joinWords(s.Unless)), s.Limit, retries)
	}
	return errors.Join(p.err, w.Flush())
}

// firstBoot is what a system is given at its first boot, in words.
func firstBoot(p *rack.Provision) string {
	names := make([]string, len(p.Documents))
	for i, d := range p.Documents {
		names[i] = d.Name
	}
	out := "given " + strings.Join(names, ", ")
	if p.Option != 0 {
		out += fmt.Sprintf("; DHCP names the first in option %d", p.Option)
	}
	return out
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newPlatformLint() *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE|FOLDER…",
		Short: "Check platform files and name every problem in them",
		Long: `Check platform files: every problem is printed at once, with file and line, what is
wrong, and what to write instead. It is also checked that the steps keep what rackreach
promises: nothing is written without a ticket, nothing is tried again with a used one, a
server waits for the switches, and only a verification makes a device ready.

A platform that is like another one of your own needs it in the same folder.`,
		Example: `  rackreach platform lint acme-os.yaml
  rackreach platform lint platforms`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			p := printer{w: cmd.OutOrStdout()}
			var errs []error
			for _, path := range given {
				set, err := loadPlatforms(path)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				own := 0
				for _, d := range set.Definitions() {
					if d.Own {
						own++
						p.line("%s: platform %s is sound: %d steps, %s", d.File, d.Name, len(d.Steps), d.Status)
					}
				}
				if own == 0 {
					errs = append(errs, fmt.Errorf("%s holds no file *.yaml: write the path of a platform file, or of a folder with some", path))
				}
			}
			if len(errs) > 0 {
				return badInput(errors.Join(errs...))
			}
			return p.err
		},
	}
}

// loadPlatforms reads one platform file, or a folder of them.
func loadPlatforms(path string) (*platform.Set, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return platform.Load(path)
	}
	set, _, err := platform.LoadFile(path)
	return set, err
}

func newPlatformTest(env func(string) (string, bool)) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "test PLATFORM",
		Short: "Play a platform in virtual time: all goes well, and then every step fails once for good",
		Long: `Play a platform in a small rack in virtual time, with the same decisions as on a real
one. All goes well at first, and every device must become ready. Then each step fails
for good, once with an error and once in silence, and a step that only a retry comes to
after one that is retried: of a switch the rack must halt with that step named, a server
must be isolated. Serving an image is a decision of rackreach itself, and a step of a
reimaging is not come to: they are passed over.

This says that the list of steps holds together. It does not say that the product does
what the steps expect of it: only a run on the product does.`,
		Example: `  rackreach platform test sim-tor
  rackreach platform test acme-os --platforms platforms`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			set, d, err := onePlatform(env, output, given[0])
			if err != nil {
				return err
			}
			return testPlatform(cmd.Context(), cmd.OutOrStdout(), set, d, output)
		},
		ValidArgsFunction: completePlatforms(env),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func testPlatform(ctx context.Context, out io.Writer, set *platform.Set, d *platform.Definition, output string) error {
	trials, err := tryPlatform(ctx, set, d)
	if err != nil {
		return badInput(err)
	}
	wrong := 0
	for _, t := range trials {
		if !t.Right {
			wrong++
		}
	}
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(trials); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		p := printer{w: w}
		p.line("ROLE\tSTEP\tFAILS\tTHEN\tVERDICT")
		for _, t := range trials {
			mark := "as it should"
			if !t.Right {
				mark = "WRONG"
			}
			p.line("%s\t%s\t%s\t%s\t%s", t.Role, dash(t.Step), dash(string(t.Kind)), t.Then, mark)
		}
		if err := errors.Join(p.err, w.Flush()); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("platform %s: %d of %d trials did not end as they should: look at the lines marked WRONG", d.Name, wrong, len(trials))
	}
	return nil
}
