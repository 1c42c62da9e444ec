// Command rackreach brings up racks of bare metal, in the order in which the
// network opens: the management switch, then ToR and inter-rack switches, then
// servers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of every command (design §8).
const (
	exitReady   = 0 // all devices are ready
	exitError   = 1 // anything else
	exitInput   = 2 // bad input: nothing was begun
	exitPartial = 3 // completed, with failed or skipped servers
	exitHalted  = 4 // halted by a switch
)

// exit is an error that says with which code the process ends. Its message was
// not printed yet; an empty one has nothing more to say.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func badInput(err error) error { return &exit{exitInput, err} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv))
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env func(string) (string, bool)) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ownUsage(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitReady
	}
	var e *exit
	if !errors.As(err, &e) {
		e = stateError(err)
	}
	if e.err != nil {
		if _, err := fmt.Fprintln(stderr, e.err); err != nil {
			return exitError
		}
	}
	return e.code
}

func newRoot(env func(string) (string, bool)) *cobra.Command {
	root := &cobra.Command{
		Use:   "rackreach",
		Short: "Bring up racks of bare metal, in the order in which the network opens",
		Long: `rackreach images whole racks: the management switch first, through the one port
it is plugged into; then ToR and inter-rack switches, in parallel; then servers.

Exit codes: 0 all devices ready, 2 bad input, 3 completed with failed or skipped
servers, 4 halted by a switch, 1 anything else. A command that images nothing ends
with 0 when it did what it says.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Version = version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	group := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	var target targetFlags
	root.PersistentFlags().StringVar(&target.server, "server", "", "ask the coordinator at this URL (default: $RACKREACH_SERVER)")
	root.PersistentFlags().StringVar(&target.context, "context", "", "ask the coordinator of this context (default: $RACKREACH_CONTEXT, or the current one)")
	root.PersistentFlags().StringVar(&target.platforms, "platforms", "", "folder with platforms of your own, on top of ours (default: $RACKREACH_PLATFORMS, or platforms beside the configuration file)")
	env = target.over(env)
	orders := []*cobra.Command{newHalt(env)}
	for _, v := range deviceVerbs() {
		orders = append(orders, newDeviceVerb(v, env))
	}
	group("plan", "Before anything is touched:", newPlatform(env), newValidate(env), newPlan(env), newRender(env), newSimulate(env), newClassify(env), newPreflight(env), newListen(env), newDiscover(env))
	group("images", "What is installed:", newBundle(env))
	group("image", "Image a rack:", newApply(env), newResume(env), newAgent(env), newDemo(env), newSimulatedRack(env))
	group("look", "See where it stands:", newStatus(env), newWatch(env), newWhy(env), newCabling(env), newEvents(env), newTimeline(env), newInventory(env), newVerify(env), newJournal(), newSupportBundle(env))
	group("order", "Give an order:", append(orders, newIdentify(env), newFleet(env))...)
	group("fleet", "Many racks:", newCoordinator(env), newContext(env), newToken(env), newEnroll(env), newAudit(env))
	root.AddCommand(newMan())
	for _, c := range root.Commands() {
		switch use := c.Use; {
		case strings.Contains(use, "[RACK | [RACK/]DEVICE]"):
			c.ValidArgsFunction = completing(env, true, true)
		case strings.Contains(use, "[RACK/]DEVICE"), strings.Contains(use, "[RACK/]SLOT"):
			c.ValidArgsFunction = completing(env, false, true)
		case strings.Contains(use, "[RACK]"):
			c.ValidArgsFunction = completing(env, true, false)
		}
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, flagError(err)) })
	// Without a command cobra shows the help; with an unknown one it must not.
	root.Args = args(cobra.NoArgs)
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return root
}
