package main

import (
	"context"
	"errors"
	"text/tabwriter"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/messages"
)

// withCoordinator makes a command that asks a coordinator.
func withCoordinator(env func(string) (string, bool), cmd *cobra.Command, do func(ctx context.Context, cmd *cobra.Command, c *api.Client, given []string) error) *cobra.Command {
	var stateDir string
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		client, err := theCoordinator(cmd.Context(), stateDir, env)
		if err != nil {
			return err
		}
		defer client.Close()
		if err := do(cmd.Context(), cmd, client, given); err != nil {
			return (&reached{Client: client}).explain(err)
		}
		return nil
	}
	stateFlag(cmd.Flags(), &stateDir)
	return cmd
}

func newToken(env func(string) (string, bool)) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Say who may use the API of a coordinator",
		Long: `A token lets people and programs use the API of a coordinator: a viewer looks, an
operator gives orders as well, an admin makes tokens and enrolls agents as well.`,
		Example: `  rackreach token create grafana --role viewer
  rackreach token create ada --role operator --expires 720h
  rackreach token list
  rackreach token revoke grafana`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var role string
	var expires time.Duration
	create := withCoordinator(env, &cobra.Command{Use: "create NAME", Short: "Make a token and print it, once", Args: args(cobra.ExactArgs(1))},
		func(ctx context.Context, cmd *cobra.Command, c *api.Client, given []string) error {
			a, err := c.Access.CreateToken(ctx, connect.NewRequest(&messages.CreateTokenRequest{Name: given[0], Role: role, Expires: expiry(expires)}))
			if err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{a.Msg.GetSecret()})
		})
	create.Flags().StringVar(&role, "role", "viewer", "viewer, operator or admin")
	create.Flags().DurationVar(&expires, "expires", 0, "how long it is good for (default: until it is revoked)")
	list := withCoordinator(env, &cobra.Command{Use: "list", Short: "List the tokens, without their secrets", Args: args(cobra.NoArgs)},
		func(ctx context.Context, cmd *cobra.Command, c *api.Client, _ []string) error {
			a, err := c.Access.ListTokens(ctx, connect.NewRequest(&messages.ListTokensRequest{}))
			if err != nil {
				return err
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			p := printer{w: tw}
			p.line("NAME\tROLE\tCREATED\tBY\tEXPIRES")
			for _, x := range a.Msg.GetTokens() {
				p.line("%s\t%s\t%s\t%s\t%s", x.GetName(), x.GetRole(), day(x.GetCreated()), x.GetCreatedBy(), day(x.GetExpires()))
			}
			return errors.Join(p.err, tw.Flush())
		})
	revoke := withCoordinator(env, &cobra.Command{Use: "revoke NAME", Short: "Refuse a token from now on", Args: args(cobra.ExactArgs(1))},
		func(ctx context.Context, cmd *cobra.Command, c *api.Client, given []string) error {
			if _, err := c.Access.RevokeToken(ctx, connect.NewRequest(&messages.RevokeTokenRequest{Name: given[0]})); err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{given[0] + ": revoked"})
		})
	cmd.AddCommand(create, list, revoke)
	return cmd
}

// expiry is a duration from now; unset: for ever.
func expiry(d time.Duration) *timestamppb.Timestamp {
	if d == 0 {
		return nil
	}
	return timestamppb.New(time.Now().Add(d))
}

func day(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Local().Format(time.DateTime)
}

func newEnroll(env func(string) (string, bool)) *cobra.Command {
	var rackName string
	var expires time.Duration
	var revoke bool
	cmd := withCoordinator(env, &cobra.Command{
		Use:   "enroll --rack NAME",
		Short: "Let the machine of a rack's agent get its certificate",
		Long: `Print a one-time token with which the agent of a rack gets its certificate. It says
where the coordinator is and which authority to trust. The agent's key never leaves
its machine. --revoke refuses every certificate that the rack's agent has had.`,
		Example: `  rackreach enroll --rack r1
  rackreach enroll --rack r1 --revoke`,
		Args: args(cobra.NoArgs)},
		func(ctx context.Context, cmd *cobra.Command, c *api.Client, _ []string) error {
			if rackName == "" {
				return badInput(errors.New("enroll: name the rack with --rack NAME"))
			}
			if revoke {
				if _, err := c.Access.RevokeAgent(ctx, connect.NewRequest(&messages.RevokeAgentRequest{Rack: rackName})); err != nil {
					return err
				}
				return printLines(cmd.OutOrStdout(), []string{rackName + ": what its agent has had so far is refused. Next: rackreach enroll --rack " + rackName})
			}
			a, err := c.Access.CreateEnrollment(ctx, connect.NewRequest(&messages.CreateEnrollmentRequest{Rack: rackName, Expires: expiry(expires)}))
			if err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{a.Msg.GetToken()})
		})
	cmd.Flags().StringVar(&rackName, "rack", "", "name of the rack")
	cmd.Flags().DurationVar(&expires, "expires", time.Hour, "how long the token is good for")
	cmd.Flags().BoolVar(&revoke, "revoke", false, "refuse every certificate that the rack's agent has had")
	return cmd
}

func newAudit(env func(string) (string, bool)) *cobra.Command {
	var limit uint32
	cmd := withCoordinator(env, &cobra.Command{
		Use:   "audit",
		Short: "Show what was ordered of a coordinator, and what was refused to whom",
		Long: `Show the audit trail of the coordinator that is asked: what was ordered of it, and what
it refused to whom, the newest first. Each coordinator keeps a trail of its own. Where
several share one log, ask each of them (--server, or a context for each), and put
their lines together by time: behind one name or address you see one at a time.`,
		Example: `  rackreach audit --limit 20
  rackreach audit --server https://coordinator-2.example.net:7443`,
		Args: args(cobra.NoArgs)},
		func(ctx context.Context, cmd *cobra.Command, c *api.Client, _ []string) error {
			a, err := c.Access.ListAudit(ctx, connect.NewRequest(&messages.ListAuditRequest{Limit: limit}))
			if err != nil {
				return err
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			p := printer{w: tw}
			whose := "at " + c.URL
			if c.URL == "" {
				whose = "on this machine"
			}
			if err := printLines(cmd.ErrOrStderr(), []string{"The trail of the coordinator " + whose + "; others of the same log keep their own."}); err != nil {
				return err
			}
			p.line("TIME\tWHO\tROLE\tFROM\tCALL\tABOUT\tREFUSED")
			for _, x := range a.Msg.GetEntries() {
				p.line("%s\t%s\t%s\t%s\t%s\t%s\t%s", x.GetTime().AsTime().Local().Format(time.DateTime), x.GetWho(), x.GetRole(), x.GetFrom(), x.GetProcedure(), x.GetResource(), x.GetRefused())
			}
			return errors.Join(p.err, tw.Flush())
		})
	cmd.Flags().Uint32Var(&limit, "limit", 100, "at most so many entries, the newest first")
	return cmd
}
