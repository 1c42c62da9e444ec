package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// TestScripts runs every command that the documentation shows, as a user would.
func TestScripts(t *testing.T) {
	t.Parallel()
	damage := func(ts *testscript.TestScript, _ bool, args []string) {
		name := ts.MkAbs(args[0])
		data, err := os.ReadFile(name)
		ts.Check(err)
		hurt := []byte(args[1])
		if !bytes.Contains(data, hurt) {
			ts.Fatalf("nothing to damage in %s", name)
		}
		hurt[0] ^= 1
		// Every copy of it: bbolt leaves old pages in the file, and salvage reads them.
		ts.Check(os.WriteFile(name, bytes.ReplaceAll(data, []byte(args[1]), hurt), 0o600))
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: map[string]func(*testscript.TestScript, bool, []string){"damage": damage, "hurt": hurt, "registry": serveRegistry, "simimages": simImages, "served": served, "until": until, "heldby": heldBy, "rackis": rackIs, "joined": joined, "asked": asked, "fromfile": fromFile, "serveNATS": serveNATS, "serverurl": serverURL, "findca": findCA, "leftover": leftover, "endleftover": endLeftover, "certify": certify, "serving": serving, "says": says, "unpack": unpack, "holdsno": holdsNo, "unsaid": unsaid}, Setup: func(e *testscript.Env) error {
		examples, err := filepath.Abs("../../examples")
		if err != nil {
			return err
		}
		e.Setenv("EXAMPLES", examples)
		captures, err := filepath.Abs("../../discovery/capture/testdata")
		if err != nil {
			return err
		}
		e.Setenv("CAPTURES", captures)
		for name, file := range map[string]string{"RACK4": "rack-4.yaml", "RACK9": "rack-9.yaml"} { // small images
			path, err := filepath.Abs("testdata/" + file)
			if err != nil {
				return err
			}
			e.Setenv(name, path)
		}
		return nil
	}})
}

// patience is for machines that are busy with other tests; nothing is measured.
const patience = 3 * time.Minute

// await asks again and again until it is so; complaint says what was not so.
func await(ts *testscript.TestScript, isSo func(context.Context) bool, complaint func() string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !isSo(ctx) {
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("%s", complaint())
		}
	}
}

// served waits until a simulated rack is served at a socket, and holds that it
// calls itself by the given name.
func served(ts *testscript.TestScript, _ bool, args []string) {
	var r *sim.Remote
	var err error
	await(ts, func(ctx context.Context) bool {
		r, err = sim.Join(ctx, ts.MkAbs(args[0]))
		return err == nil
	}, func() string { return fmt.Sprintf("nobody serves: %v", err) })
	ts.Check(r.Close())
	if r.Rack != args[1] {
		ts.Fatalf("rack %s is served, want %s", r.Rack, args[1])
	}
}

// until waits until a device of a rack that an agent drives came to a phase, or
// became ready or failed, since it was last ordered to start over: STATE RACK
// DEVICE PHASE. It reads the journal, so nothing that passes quickly is missed.
func until(ts *testscript.TestScript, _ bool, args []string) {
	var next uint64 = 1
	came := map[string]bool{}
	await(ts, func(ctx context.Context) bool {
		c, err := api.Dial(ctx, state.Home(ts.MkAbs(args[0])).Rack(args[1]).Socket())
		if err != nil {
			return false
		}
		defer c.Close()
		events, err := c.WatchEvents(ctx, connect.NewRequest(&messages.WatchEventsRequest{Name: messages.RackName(args[1]), FromSeq: next}))
		if err != nil {
			return false
		}
		for events.Receive() {
			for _, e := range events.Msg().GetEvents() {
				next = e.GetSeq() + 1
				if e.GetDevice() != args[2] {
					continue
				}
				switch e.GetKind() {
				case "reimage-ordered", "device-retried":
					clear(came)
				case "phase-started":
					came[e.GetPhase()] = true
				case "device-ready":
					came["ready"] = true
				case "device-failed":
					came["failed"] = true
				}
			}
		}
		return events.Close() == nil && came[args[3]]
	}, func() string {
		return fmt.Sprintf("%s came to %v, not to %s", args[2], slices.Collect(maps.Keys(came)), args[3])
	})
}

// heldBy waits until a device is held for a reason that begins so: STATE RACK DEVICE REASON.
func heldBy(ts *testscript.TestScript, _ bool, args []string) {
	last := "unknown"
	await(ts, func(ctx context.Context) bool {
		c, err := api.Dial(ctx, state.Home(ts.MkAbs(args[0])).Rack(args[1]).Socket())
		if err != nil {
			return false
		}
		defer c.Close()
		a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(args[1])}))
		if err != nil {
			return false
		}
		for _, d := range a.Msg.GetRack().GetDevices() {
			if d.GetName() == messages.DeviceName(args[1], args[2]) {
				last = d.GetHeld()
			}
		}
		return strings.HasPrefix(last, args[3])
	}, func() string { return fmt.Sprintf("%s is held by %q, not by %q", args[2], last, args[3]) })
}

// rackIs waits until an agent says that its rack has a status: STATE RACK STATUS.
func rackIs(ts *testscript.TestScript, _ bool, args []string) {
	last := "without an agent"
	await(ts, func(ctx context.Context) bool {
		if c, err := api.Dial(ctx, state.Home(ts.MkAbs(args[0])).Rack(args[1]).Socket()); err == nil {
			defer c.Close()
			if a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(args[1])})); err == nil {
				last = a.Msg.GetRack().GetStatus()
			}
		}
		return last == args[2]
	}, func() string { return fmt.Sprintf("rack %s is %s, not %s", args[1], last, args[2]) })
}

// joined waits until an agent is at work on the simulated rack at a socket.
func joined(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, func(ctx context.Context) bool {
		r, err := sim.Look(ctx, ts.MkAbs(args[0]))
		return err == nil && r.Agent != 0
	}, func() string { return "no agent joined the simulated rack at " + args[0] })
}

// leftover remembers the process of the simulated rack that the agent whose
// output is at hand started, and left running. It is ended with the test.
func leftover(ts *testscript.TestScript, _ bool, _ []string) {
	said := regexp.MustCompile(`the simulated rack is process ([0-9]+)`).FindStringSubmatch(ts.ReadFile("stdout"))
	if said == nil {
		ts.Fatalf("the agent did not say which process its simulated rack is")
	}
	ts.Setenv("LEFTOVER", said[1])
	ts.Defer(func() { endLeftover(ts, false, nil) })
}

// endLeftover ends that process, and waits until nobody serves the socket that is
// given.
func endLeftover(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(ts.Getenv("LEFTOVER"))
	if err != nil {
		return // it was ended
	}
	ts.Setenv("LEFTOVER", "")
	p, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(p.Signal(os.Interrupt))
	if len(args) == 0 {
		return
	}
	await(ts, func(ctx context.Context) bool {
		_, err := sim.Look(ctx, ts.MkAbs(args[0]))
		return errors.Is(err, sim.ErrNobody)
	}, func() string { return fmt.Sprintf("the simulated rack, process %d, does not end", pid) })
}
