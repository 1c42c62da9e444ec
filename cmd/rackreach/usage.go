package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usage is what cobra itself refuses: an unknown command, flag or argument.
func usage(cmd *cobra.Command, err error) error {
	return badInput(fmt.Errorf("%w\nSee: %s --help", err, cmd.CommandPath()))
}

// args wraps a check of arguments, so that what it refuses is bad input, and says
// how the command is written.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if check(cmd, given) == nil {
			return nil
		}
		if cmd.HasSubCommands() && len(given) > 0 {
			return usage(cmd, unknownCommand(cmd, given[0]))
		}
		what := "an argument is missing"
		if !tooFew(cmd, check, given) {
			what = fmt.Sprintf("%.80q is one argument too many", given[len(given)-1])
		}
		return usage(cmd, fmt.Errorf("%s: write: %s", what, strings.TrimSuffix(cmd.UseLine(), " [flags]")))
	}
}

// mostArgs is more arguments than any command needs.
const mostArgs = 3

// tooFew reports whether more arguments would do.
func tooFew(cmd *cobra.Command, check cobra.PositionalArgs, given []string) bool {
	more := slices.Clone(given)
	for len(more) < mostArgs {
		more = append(more, "x")
		if check(cmd, more) == nil {
			return true
		}
	}
	return false
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %.80q", name)
	cmd.SuggestionsMinimumDistance = 2 // letters
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}

// flagError says of a flag's value what is wanted in its place, instead of which
// function could not read it.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	want := map[string]string{"float64": "a number", "duration": "a duration, such as 30s, 5m or 2h", "bool": "true or false"}[bad.GetFlag().Value.Type()]
	if want == "" {
		want = "a whole number"
	}
	return fmt.Errorf("--%s %.80q: write %s", bad.GetFlag().Name, bad.GetValue(), want)
}

// ownUsage lets the commands that cobra itself adds refuse what ours refuse.
func ownUsage(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args, c.RunE = args(cobra.NoArgs), root.RunE
			for _, shell := range c.Commands() {
				shell.Args = args(cobra.NoArgs)
			}
		case "help":
			c.RunE = helpOf
		}
	}
}

// helpOf shows the help of a command, and refuses one that is not there.
func helpOf(cmd *cobra.Command, given []string) error {
	to, rest, err := cmd.Root().Find(given)
	if err != nil || len(rest) > 0 && to.HasSubCommands() {
		return usage(cmd.Root(), unknownCommand(cmd.Root(), strings.Join(given, " ")))
	}
	to.InitDefaultHelpFlag()
	return to.Help()
}
