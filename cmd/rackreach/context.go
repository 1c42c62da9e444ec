package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/api"
)

func newContext(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Name the coordinators that you work with",
		Long: `A context is a coordinator and the token with which you ask it. It stands in
rackreach/config.yaml in your configuration home, which only you may read. The
current context is asked by every command; --context, --server and the variables
RACKREACH_CONTEXT, RACKREACH_SERVER, RACKREACH_TOKEN and RACKREACH_CA go before it.`,
		Example: `  rackreach context add lab --server https://10.0.0.5:7443 --ca ca.crt --token rr_...
  rackreach context use lab
  rackreach context list`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newContextList(env), newContextAdd(env), newContextUse(env), newContextRemove(env))
	return cmd
}

func newContextList(env func(string) (string, bool)) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the contexts; * marks the current one", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(env)
			if err != nil {
				return err
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			p := printer{w: tw}
			p.line("\tNAME\tSERVER\tCA")
			for _, x := range c.Contexts {
				mark := ""
				if x.Name == c.Current {
					mark = "*"
				}
				p.line("%s\t%s\t%s\t%s", mark, x.Name, x.Server, x.CA)
			}
			return errors.Join(p.err, tw.Flush())
		},
	}
}

func newContextAdd(env func(string) (string, bool)) *cobra.Command {
	var x contextConfig
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Add a context, or replace the one of that name, and make it the current one", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			x.Name = given[0]
			client, err := api.Connect(api.Server{URL: x.Server})
			if err != nil {
				return badInput(fmt.Errorf("--server: %w", err))
			}
			client.Close()
			if x.CA != "" {
				if x.CA, err = filepath.Abs(x.CA); err == nil {
					_, err = poolOf(x.CA)
				}
				if err != nil {
					return badInput(fmt.Errorf("--ca: %w", err))
				}
			}
			c, err := readConfig(env)
			if err != nil {
				return err
			}
			c.put(x)
			c.Current = x.Name
			if err := c.write(env); err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("%s: the current context, %s. Next: rackreach status", x.Name, x.Server)})
		},
	}
	f := cmd.Flags()
	f.StringVar(&x.Server, "server", "", "URL of the coordinator, https://HOST:PORT")
	f.StringVar(&x.CA, "ca", "", "file with the certificate of its authority (default: those that the system trusts)")
	f.StringVar(&x.Token, "token", "", "the token that rackreach token create printed")
	return cmd
}

func newContextUse(env func(string) (string, bool)) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, err := readConfig(env)
			if err != nil {
				return err
			}
			if c.find(given[0]) < 0 {
				return badInput(fmt.Errorf("there is no context %.80q: rackreach context list shows them", given[0]))
			}
			c.Current = given[0]
			if err := c.write(env); err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{given[0] + ": the current context"})
		},
	}
}

func newContextRemove(env func(string) (string, bool)) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a context", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			c, err := readConfig(env)
			if err != nil {
				return err
			}
			n := c.find(given[0])
			if n < 0 {
				return badInput(fmt.Errorf("there is no context %.80q: rackreach context list shows them", given[0]))
			}
			c.Contexts = append(c.Contexts[:n], c.Contexts[n+1:]...)
			now := ""
			if c.Current == given[0] {
				c.Current, now = "", "; no context is the current one now"
			}
			if err := c.write(env); err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{given[0] + ": forgotten" + now})
		},
	}
}
