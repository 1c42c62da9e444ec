//go:build !crashtest

package main

import "github.com/rackreach/rackreach/actors"

// crashPoint is nothing: only binaries for crash tests end themselves.
func crashPoint(func(string) (string, bool)) func(actors.Point, uint64) { return nil }
