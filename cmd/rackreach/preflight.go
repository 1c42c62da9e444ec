package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/secret"
)

// preflight is the look before a rack is begun, as the flags ask for it.
type preflight struct {
	file   string
	output string
	allow  []string
	hear   time.Duration
	state  string
	tries  bool
	env    func(string) (string, bool)
}

func newPreflight(env func(string) (string, bool)) *cobra.Command {
	p := preflight{env: env}
	cmd := &cobra.Command{
		Use:   "preflight FILE",
		Short: "Check this machine before a real rack is begun",
		Long: `Check what a rack needs of this machine, and print a line for each: capabilities, the
interface and its link, free ports, room in the state directory, the clock, other DHCP
servers on the segment, and the login to the BMC of the management switch. A problem
comes with what to do; a note need not be mended.

Nothing is changed. What is sent is a question for other DHCP servers, and one
login; with --try-default-logins one more.
It ends with 0 without problems, with 1 otherwise, and with 2 for bad input.`,
		Example: `  rackreach preflight rack.yaml
  rackreach preflight rack.yaml -o json`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			p.file = given[0]
			return p.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&p.output, "output", "o", "lines", "lines or json")
	f.StringArrayVar(&p.allow, "allow", nil, "an interface that may hold the default route, or the address of another DHCP server that may be there; may be given more than once")
	f.DurationVar(&p.hear, "hear", foreign.DefaultWindow, "how long to listen for other DHCP servers")
	f.BoolVar(&p.tries, "try-default-logins", false, "try once whether the BMC of the management switch lets in with the login that its maker delivers; a BMC may count that towards a lock of the account")
	stateFlag(f, &p.state)
	return cmd
}

func (p *preflight) run(ctx context.Context, out io.Writer) error {
	if err := checkLines(p.output); err != nil {
		return err
	}
	if p.hear < minHear {
		return badInput(fmt.Errorf("--hear %s is too short to hear another server: write %s or more", p.hear, minHear))
	}
	r, known, err := loadKnown(p.file, p.env)
	if err != nil {
		return err
	}
	if r.Agent.Interface == "" {
		return badInput(fmt.Errorf("the rack file of %s names no interface: write agent: {cable: %q, interface: NAME}, with the interface that is cabled to that port", r.Name, r.Agent.Cable))
	}
	home, err := homeOf(p.state, p.env)
	if err != nil {
		return err
	}
	var checks []rackagent.Check
	problems := 0
	say := &printer{w: out}
	rackagent.Preflight(ctx, rackagent.PreflightOptions{
		Rack: r, Platforms: known, Allow: p.allow, State: string(home), Hear: p.hear, Credentials: credentials(p.env), TryDefaults: p.tries,
		Power: power.Options{Dial: (&net.Dialer{}).DialContext, Retries: 2},
	}, func(c rackagent.Check) {
		checks = append(checks, c)
		if c.Result == rackagent.CheckProblem {
			problems++
		}
		if p.output == "lines" {
			say.line("%-8s %-19s %s", c.Result, c.Name, c.Text)
			if c.Next != "" {
				say.line("%-8s %-19s → %s", "", "", c.Next)
			}
		}
	})
	if p.output == "json" {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		say.err = e.Encode(struct {
			Rack   string            `json:"rack"`
			OK     bool              `json:"ok"`
			Checks []rackagent.Check `json:"checks"`
		}{r.Name, problems == 0, checks})
	}
	if say.err != nil {
		return fmt.Errorf("write what was checked: %w", say.err)
	}
	if problems > 0 {
		return &exit{exitError, errors.New(counted(problems, "problem"))}
	}
	return nil
}

// counted is a number of things, in words.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// credentials reads what a reference of the rack file stands for, as user and password.
func credentials(env func(string) (string, bool)) func(reference string) (user, password string, err error) {
	return func(reference string) (string, string, error) {
		v, err := secret.Reader{Env: env}.Read(reference)
		if err != nil {
			return "", "", err
		}
		user, password, ok := v.Login()
		if !ok {
			return "", "", fmt.Errorf("%s does not hold user:password", reference)
		}
		return user, password, nil
	}
}

// keys reads what a reference of the rack file stands for, as a private key.
func keys(env func(string) (string, bool)) func(reference string) ([]byte, error) {
	return func(reference string) ([]byte, error) {
		v, err := secret.Reader{Env: env}.Read(reference)
		return []byte(v.Reveal() + "\n"), err
	}
}
