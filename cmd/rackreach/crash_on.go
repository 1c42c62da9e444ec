//go:build crashtest

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/rackreach/rackreach/actors"
)

// crashPoint ends the process by SIGKILL, as a power cut would, at the point
// and event that RACKREACH_CRASH names: "applied:17". An event that comes in one
// append with later ones is passed; the first one at or after it counts.
func crashPoint(env func(string) (string, bool)) func(actors.Point, uint64) {
	v, _ := env("RACKREACH_CRASH")
	point, at, ok := strings.Cut(v, ":")
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(at, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("RACKREACH_CRASH=%s: write POINT:SEQUENCE", v))
	}
	return func(p actors.Point, seq uint64) {
		if string(p) == point && seq >= n {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				panic(err)
			}
			select {} // until the kernel has done it
		}
	}
}
