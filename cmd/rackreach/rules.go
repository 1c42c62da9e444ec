package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/rackreach/rackreach/discovery/classify"
)

// rulesFlag is the flag of every command that recognises devices.
func rulesFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "rules", "", "rules of your own, before ours (default: $RACKREACH_RULES, or classify.yaml beside the configuration file)")
}

// loadRules reads the user's rules: those of --rules, else of $RACKREACH_RULES,
// else of classify.yaml beside the configuration file, where only the last may be
// missing. path is the file that was read; "" when there is none.
func loadRules(flag string, env func(string) (string, bool)) (r *classify.Rules, path string, err error) {
	path = flag
	if path == "" {
		path, _ = env("RACKREACH_RULES")
	}
	if path == "" {
		config, err := configPath(env)
		if err != nil {
			return classify.Default(), "", nil // nobody has one
		}
		path = filepath.Join(filepath.Dir(config), "classify.yaml")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return classify.Default(), "", nil
		}
	}
	r, err = classify.Load(path)
	if err != nil {
		return nil, path, badInput(err)
	}
	return r, path, nil
}
