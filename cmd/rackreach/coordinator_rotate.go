package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/pki"
)

// shortest is how much of a fingerprint must be typed.
const shortest = 8

// rotating is the rotation of a coordinator's authority, as the flags ask for it.
type rotating struct {
	state string
	now   bool
	env   func(string) (string, bool)
}

func newCoordinatorRotate(env func(string) (string, bool)) *cobra.Command {
	r := &rotating{env: env}
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the authority that certifies the coordinator and its agents",
		Long: `Replace the authority in the state directory, in three steps that are weeks apart, so
that nobody is cut off: add a second one, which is trusted and does not sign; let it
sign, once every agent has renewed its certificate and so learnt of it; drop the first,
once nothing that it signed is alive. A coordinator that runs takes each step within a
second. sign and drop are refused before their time; --now is for a stolen key.

It is typed as the owner of the state directory. Several coordinators have the same
authorities: copy the directory to the others after each step.`,
		Example: `  rackreach coordinator rotate list
  rackreach coordinator rotate add
  rackreach coordinator rotate sign FINGERPRINT
  rackreach coordinator rotate drop FINGERPRINT`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list := &cobra.Command{Use: "list", Short: "List the authorities, the one that signs first", Example: "  rackreach coordinator rotate list", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, _, err := r.open()
			if err != nil {
				return err
			}
			left, err := a.Leftovers()
			if err != nil {
				return notMine(err)
			}
			return listAuthorities(cmd, a.List(), left)
		}}
	add := &cobra.Command{Use: "add", Short: "Make a further authority, which is trusted and does not sign", Example: "  rackreach coordinator rotate add", Args: args(cobra.NoArgs), RunE: r.add}
	sign := &cobra.Command{Use: "sign FINGERPRINT", Short: "Let another authority sign from now on", Example: `  rackreach coordinator rotate sign 3f9a1c77
  rackreach coordinator rotate sign 3f9a1c77 --now`, Args: args(cobra.ExactArgs(1)), RunE: r.sign, ValidArgsFunction: r.complete}
	drop := &cobra.Command{Use: "drop FINGERPRINT", Short: "Forget an authority: what it signed is no longer believed", Example: `  rackreach coordinator rotate drop 3f9a1c77
  rackreach coordinator rotate drop 3f9a1c77 --now`, Args: args(cobra.ExactArgs(1)), RunE: r.drop, ValidArgsFunction: r.complete}
	sign.Flags().BoolVar(&r.now, "now", false, "although agents that have not renewed since it was added are cut off")
	drop.Flags().BoolVar(&r.now, "now", false, "although agents with certificates by it are cut off")
	for _, c := range []*cobra.Command{list, add, sign, drop} {
		stateFlag(c.Flags(), &r.state)
		cmd.AddCommand(c)
	}
	return cmd
}

// open opens the authorities of the coordinator on this machine.
func (r *rotating) open() (a *pki.Authorities, dir string, err error) {
	home, err := homeOf(r.state, r.env)
	if err != nil {
		return nil, "", err
	}
	dir = filepath.Join(home.CoordinatorDir(), "pki")
	if a, err = pki.OpenAuthorities(dir, slog.New(slog.DiscardHandler)); err != nil {
		return nil, "", badInput(notMine(err))
	}
	return a, dir, nil
}

// change opens them for somebody who may change them.
func (r *rotating) change() (a *pki.Authorities, dir string, err error) {
	if a, dir, err = r.open(); err == nil {
		err = ownedByCaller(dir)
	}
	return a, dir, err
}

func listAuthorities(cmd *cobra.Command, all, left []pki.AuthorityInfo) error {
	tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	p := printer{w: tw}
	p.line("FINGERPRINT\tSIGNS\tMADE\tEXPIRES")
	for _, x := range all {
		signs := "no"
		if x.Signs {
			signs = "since " + x.SignsSince.Local().Format(time.DateTime)
		}
		p.line("%s\t%s\t%s\t%s", x.Fingerprint, signs, x.Made.Local().Format(time.DateTime), x.Expires.Local().Format(time.DateTime))
	}
	if err := errors.Join(p.err, tw.Flush()); err != nil {
		return err
	}
	var lines []string
	for _, x := range left {
		lines = append(lines, x.Fingerprint+": its certificate is gone and its key is still here: rackreach coordinator rotate drop "+x.Fingerprint[:shortest])
	}
	return printLines(cmd.OutOrStdout(), lines)
}

func (r *rotating) add(cmd *cobra.Command, _ []string) error {
	a, dir, err := r.change()
	if err != nil {
		return err
	}
	if n := len(a.List()); n >= pki.MaxAuthorities {
		return badInput(fmt.Errorf("there are %d authorities already: drop what is old: rackreach coordinator rotate list", n))
	}
	fingerprint, err := a.Add()
	if err != nil {
		return notMine(err)
	}
	return printLines(cmd.OutOrStdout(), []string{
		"authority: " + filepath.Join(dir, fingerprint),
		"fingerprint: " + fingerprint,
		"It is trusted, and does not sign. Next: give its ca.crt to people and programs; from " + time.Now().Add(pki.SignAfter).Format(time.DateOnly) + " on, when all agents have renewed: rackreach coordinator rotate sign " + fingerprint[:shortest],
	})
}

// theAuthority is the one of all that somebody typed the beginning of.
func theAuthority(all []pki.AuthorityInfo, typed string) (found pki.AuthorityInfo, err error) {
	typed = strings.ToLower(strings.ReplaceAll(typed, ":", ""))
	n := 0
	for _, x := range all {
		if strings.HasPrefix(x.Fingerprint, typed) {
			found = x
			n++
		}
	}
	switch {
	case len(typed) < shortest:
		return found, badInput(fmt.Errorf("%.80q is too short: write %d digits of the fingerprint or more", typed, shortest))
	case n == 0:
		return found, badInput(fmt.Errorf("there is no authority %.80q here: see rackreach coordinator rotate list", typed))
	case n > 1:
		return found, badInput(fmt.Errorf("%d authorities begin with %.80q: write more of it", n, typed))
	}
	return found, nil
}

func (r *rotating) sign(cmd *cobra.Command, given []string) error {
	a, _, err := r.change()
	if err != nil {
		return err
	}
	next, err := theAuthority(a.List(), given[0])
	if err != nil {
		return err
	}
	old := a.Fingerprint()
	due := next.Made.Add(pki.SignAfter)
	switch {
	case next.Signs:
		return printLines(cmd.OutOrStdout(), []string{next.Fingerprint + ": it signs already"})
	case !r.now && time.Now().Before(due):
		return badInput(fmt.Errorf("%.16s was made at %s: agents that have not renewed since then do not know it, and would be cut off. Next: sign from %s on; or give --now, and enroll again whom it cuts off", next.Fingerprint, next.Made.Format(time.DateTime), due.Format(time.DateTime)))
	}
	if err := a.Sign(next.Fingerprint); err != nil {
		return notMine(err)
	}
	return printLines(cmd.OutOrStdout(), []string{next.Fingerprint + ": it signs. Next: from " + time.Now().Add(pki.DropAfter).Format(time.DateOnly) + " on, when nothing by the other one is alive: rackreach coordinator rotate drop " + old[:shortest]})
}

func (r *rotating) drop(cmd *cobra.Command, given []string) error {
	a, _, err := r.change()
	if err != nil {
		return err
	}
	left, err := a.Leftovers()
	if err != nil {
		return notMine(err)
	}
	all := a.List()
	old, err := theAuthority(append(left, all...), given[0])
	if err != nil {
		return err
	}
	if old.Signs {
		return badInput(fmt.Errorf("%.16s signs: let another one sign first: rackreach coordinator rotate sign FINGERPRINT", old.Fingerprint))
	}
	trusted := slices.ContainsFunc(all, func(x pki.AuthorityInfo) bool { return x.Fingerprint == old.Fingerprint })
	if due := all[0].SignsSince.Add(pki.DropAfter); trusted && !r.now && time.Now().Before(due) {
		return badInput(fmt.Errorf("certificates by %.16s may be alive until %s, and whoever has one would be cut off. Next: drop it from then on; or give --now, and enroll again whom it cuts off", old.Fingerprint, due.Format(time.DateTime)))
	}
	if err := a.Drop(old.Fingerprint); err != nil {
		return notMine(err)
	}
	return printLines(cmd.OutOrStdout(), []string{old.Fingerprint + ": dropped; what it signed is not believed any more"})
}

// complete is the authorities that do not sign; of those whose drop was interrupted only
// drop can do anything.
func (r *rotating) complete(cmd *cobra.Command, given []string, typed string) (out []string, how cobra.ShellCompDirective) {
	how = cobra.ShellCompDirectiveNoFileComp
	a, _, err := r.open()
	if err != nil || len(given) > 0 {
		return nil, how
	}
	all := a.List()
	if left, err := a.Leftovers(); err == nil && cmd.Name() == "drop" {
		all = append(all, left...)
	}
	for _, x := range all {
		if !x.Signs && strings.HasPrefix(x.Fingerprint, typed) {
			out = append(out, x.Fingerprint)
		}
	}
	return out, how
}
