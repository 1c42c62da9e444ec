package main

import (
	"errors"
	"path/filepath"
)

// stateHome is the directory below which rackreach keeps what outlives a
// process: RACKREACH_STATE, else the place that the XDG base directory
// specification gives it.
func stateHome(env func(string) (string, bool)) (string, error) {
	get := func(name string) string { v, _ := env(name); return v }
	if d := get("RACKREACH_STATE"); d != "" {
		return d, nil
	}
	// A relative XDG_STATE_HOME is to be ignored, says the specification.
	if d := get("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "rackreach"), nil
	}
	if d := get("HOME"); d != "" {
		return filepath.Join(d, ".local", "state", "rackreach"), nil
	}
	return "", errors.New("no directory to keep state in: set RACKREACH_STATE to one, or HOME")
}
