//go:build kill

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/rackreach/rackreach/actors"
	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/audit"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/ordercheck"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// The crash harness: the real binary images a simulated rack that lives in this
// process, is ended by SIGKILL, and is started again. See "make kill" and "make
// soak"; the knobs are environment variables, so that a failure is replayed with
// the line that it prints.
//
//	KILL_RACK    rack file, default testdata/rack-4.yaml
//	KILL_RANDOM  how many runs are killed at random moments, default 100
//	KILL_SEED    seed of those; default: a new one, printed
//	KILL_ONLY    of those, only this one
//	KILL_AT      at these boundaries only, "applied:17,acted:20"
const (
	killSpeed    = 2000 // times faster than real devices
	killPatience = 2 * time.Minute
)

// victim is one run that is killed.
type victim struct {
	t       *testing.T
	binary  string
	file    string
	yaml    []byte
	rack    *rack.Rack
	home    state.Home
	socket  string
	record  lockedBuffer
	seen    map[uint64][]byte // events that were delivered to a subscriber
	mu      sync.Mutex
	command []string // that images the rack
	lives   int
	log     bytes.Buffer // what the lives said
	stopSim func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func newVictim(t *testing.T, binary string, seed uint64) *victim {
	t.Helper()
	file := os.Getenv("KILL_RACK")
	if file == "" {
		file = "testdata/rack-4.yaml"
	}
	yaml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := load(file, platform.All())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "kill") // short: a unix socket's path is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	v := &victim{t: t, binary: binary, file: file, yaml: yaml, rack: r, home: state.Home(dir), socket: filepath.Join(dir, "sim.sock"), command: []string{"apply", file}, seen: map[uint64][]byte{}}
	s, err := sim.New(sim.Options{Rack: r, Platforms: platform.All(), Speed: killSpeed, Record: &v.record, Seed: seed, User: simUser, Password: simPassword})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l, err := sim.Listen(ctx, v.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	s.Start(ctx)
	go func() { served <- s.Serve(ctx, l) }()
	v.stopSim = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-served, s.Close()); err != nil {
			t.Error("the simulated rack:", err)
		}
	})
	t.Cleanup(v.tell)
	t.Cleanup(v.stopSim)
	return v
}

// life runs the agent once, until it ends or is killed: by itself at a point, or
// after a while. It reports whether it was killed.
func (v *victim) life(crash string, after time.Duration) (killed bool) {
	v.t.Helper()
	v.lives++
	ctx, cancel := context.WithTimeout(context.Background(), killPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, v.binary, append(v.command, "--simulate", "--socket", v.socket, "--state", string(v.home))...)
	cmd.Env = append(os.Environ(), "RACKREACH_CRASH="+crash, "RACKREACH_STATE=")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() {
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				v.t.Error(err)
			}
		})
		defer timer.Stop()
	}
	listening, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); v.subscribe(listening) }()
	if v.command[0] == "agent" {
		go v.endOnceCompleted(listening, cmd.Process)
	}
	err := cmd.Wait()
	stop()
	<-done
	fmt.Fprintf(&v.log, "— life %d (%s): %v\n%s", v.lives, crash, err, out.String())
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		v.t.Fatalf("life %d did not end within %s", v.lives, killPatience)
	case err == nil:
		return false
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL:
		return true
	}
	v.t.Fatalf("life %d ended with %v", v.lives, err)
	return false
}

// endOnceCompleted tells an agent that lives on to stop once its run has ended.
func (v *victim) endOnceCompleted(ctx context.Context, agent *os.Process) {
	for ctx.Err() == nil {
		if c, err := api.Dial(ctx, v.home.Rack(v.rack.Name).Socket()); err == nil {
			a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: "racks/" + v.rack.Name}))
			c.Close()
			if err == nil && a.Msg.GetRack().GetStatus() == string(rack.Completed) {
				if err := agent.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
					v.t.Error(err)
				}
				return
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// subscribe reads events through the API for as long as the agent lives.
func (v *victim) subscribe(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := api.Dial(ctx, v.home.Rack(v.rack.Name).Socket())
		if err != nil {
			select {
			case <-time.After(5 * time.Millisecond): // the agent is starting, or gone
			case <-ctx.Done():
			}
			continue
		}
		v.read(ctx, c)
		c.Close()
	}
}

func (v *victim) read(ctx context.Context, c *api.Client) {
	stream, err := c.WatchEvents(ctx, connect.NewRequest(&messages.WatchEventsRequest{Name: messages.RackName(v.rack.Name), Follow: true}))
	if err != nil {
		return
	}
	defer stream.Close() // the agent may be dead: its error says nothing
	for stream.Receive() {
		for _, m := range stream.Msg().GetEvents() {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				v.t.Error(err)
			}
			v.mu.Lock()
			if old, ok := v.seen[m.GetSeq()]; ok && !bytes.Equal(old, b) {
				v.t.Errorf("event %d was delivered twice, and differs: %v", m.GetSeq(), m)
			}
			v.seen[m.GetSeq()] = b
			v.mu.Unlock()
		}
	}
}

// judge holds what must be true once the rack has completed.
func (v *victim) judge() {
	v.t.Helper()
	v.stopSim()
	k, err := rackagent.OpenKept(v.home.Rack(v.rack.Name), v.rack.Name, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			v.t.Error(err)
		}
	}()
	events, err := k.Journal.Read(1, logLimit)
	if err != nil {
		v.t.Fatal(err)
	}
	if s := k.Run.Status; s != rack.Completed {
		v.t.Errorf("the rack is %s", s)
	}
	for i := range v.rack.Devices {
		if d := k.Run.Device(v.rack.Devices[i].Name); d.Status != rack.Ready {
			v.t.Errorf("%s is %s: %s", v.rack.Devices[i].Name, d.Status, d.Error)
		}
	}
	if _, err := audit.Prove(v.rack, k.Carried.Platforms, events); err != nil {
		v.t.Error("the journal does not prove the order:", err)
	}
	if _, err := journal.Verify(string(k.Dir)); err != nil && !errors.As(err, new(*journal.InUse)) {
		v.t.Error(err)
	}
	v.delivered(events)
	v.witness()
}

// tell prints everything that is known of a run that failed.
func (v *victim) tell() {
	if !v.t.Failed() {
		return
	}
	var lines strings.Builder
	_, err := journal.Dump(string(v.home.Rack(v.rack.Name)), &lines, nil)
	v.t.Logf("what the lives said:\n%s\nthe journal (%v):\n%s\nthe rack's own record:\n%s", v.log.String(), err, lines.String(), v.record.bytes())
}

// delivered holds that no event that somebody was told of is lost.
func (v *victim) delivered(events []rack.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	in := map[uint64][]byte{}
	for _, e := range events {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(messages.FromEvent(e))
		if err != nil {
			v.t.Error(err)
		}
		in[e.Seq] = b
	}
	for seq, b := range v.seen {
		if !bytes.Equal(in[seq], b) {
			v.t.Errorf("event %d was delivered before a kill, and the journal does not hold it", seq)
		}
	}
	if len(v.seen) == 0 && v.lives > 1 && len(events) > 0 {
		v.t.Log("no event was delivered before the kill")
	}
}

// witness holds what the devices themselves recorded against the run.
func (v *victim) witness() {
	record := v.record.bytes()
	wrong, err := ordercheck.Check(bytes.NewReader(v.yaml), bytes.NewReader(record))
	if err != nil {
		v.t.Error(err)
	}
	for _, w := range wrong {
		v.t.Error(w)
	}
	completed, writing := map[string]int{}, map[string]bool{}
	for _, line := range bytes.Split(bytes.TrimSpace(record), []byte("\n")) {
		var l struct{ Kind, Device string }
		if err := json.Unmarshal(line, &l); err != nil {
			v.t.Fatal(err)
		}
		switch l.Kind {
		case "install-started":
			writing[l.Device] = true
			if completed[l.Device] > 0 {
				v.t.Errorf("%s: a completed write was started again", l.Device)
			}
		case "install-completed":
			writing[l.Device] = false
			completed[l.Device]++
		case "install-failed":
			writing[l.Device] = false
		case "bmc-power":
			if writing[l.Device] {
				v.t.Errorf("%s: its power was touched while it was writing", l.Device)
			}
		}
	}
	for i := range v.rack.Devices {
		if n := v.rack.Devices[i].Name; completed[n] != 1 {
			v.t.Errorf("%s: %d completed writes", n, completed[n])
		}
	}
}

// crashBinary builds the binary that can end itself.
func crashBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rackreach")
	out, err := exec.Command("go", "build", "-tags", "crashtest", "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestKilledAtEveryBoundary kills the agent at every append of its journal:
// after it is durable, after it is applied, after what it asks for is done.
func TestKilledAtEveryBoundary(t *testing.T) {
	binary := crashBinary(t)
	points := []actors.Point{actors.Appended, actors.Applied, actors.Acted}
	if only := os.Getenv("KILL_AT"); only != "" {
		for _, at := range strings.Split(only, ",") {
			t.Run(at, func(t *testing.T) { killedAt(t, binary, at) })
		}
		return
	}
	// How many events such a run has, and then some: the order of its events is
	// another one each time.
	v := newVictim(t, binary, 1)
	if v.life("", 0) {
		t.Fatal("it was killed by somebody else")
	}
	v.judge()
	k, err := rackagent.OpenKept(v.home.Rack(v.rack.Name), v.rack.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := k.Journal.Last()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events, %d points each", last, len(points))
	for _, p := range points {
		for n := uint64(1); n <= last; n++ {
			at := fmt.Sprintf("%s:%d", p, n)
			t.Run(at, func(t *testing.T) {
				t.Parallel()
				killedAt(t, binary, at)
			})
		}
	}
}

func killedAt(t *testing.T, binary, at string) {
	v := newVictim(t, binary, 1)
	if v.life(at, 0) {
		if v.life("", 0) {
			t.Fatal("the second life was killed by somebody else")
		}
	}
	v.judge()
}

// TestKilledAtRandom kills the agent at seeded random moments, once or several
// times in a run.
func TestKilledAtRandom(t *testing.T) {
	binary := crashBinary(t)
	number := func(name string, or uint64) uint64 {
		v := os.Getenv(name)
		if v == "" {
			return or
		}
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s is not a number", name, v)
		}
		return n
	}
	seed, runs := number("KILL_SEED", rand.Uint64()), number("KILL_RANDOM", 100)
	t.Logf("seed %d", seed)
	for n := range runs {
		if only := os.Getenv("KILL_ONLY"); only != "" && only != fmt.Sprint(n) {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, n))
			v := newVictim(t, binary, r.Uint64())
			kills := 1 + r.IntN(4)
			for range kills {
				if !v.life("", time.Duration(50+r.IntN(1500))*time.Millisecond) {
					break
				}
			}
			for v.life("", 0) {
				t.Fatal("it was killed by somebody else")
			}
			v.judge()
			if t.Failed() {
				t.Logf("replay: KILL_SEED=%d KILL_ONLY=%d go test -tags kill -run TestKilledAtRandom ./cmd/rackreach", seed, n)
			}
		})
	}
}

// agentStep is how many events lie between two kills of an agent that lives on:
// what it does at each boundary is what apply does.
const agentStep = 5

// TestKilledAgent kills an agent that lives on between its runs, again and again
// in one run, and lets the last one end.
func TestKilledAgent(t *testing.T) {
	binary := crashBinary(t)
	for _, p := range []actors.Point{actors.Appended, actors.Applied, actors.Acted} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, binary, 1)
			if !v.life(fmt.Sprintf("%s:1", actors.Appended), 0) {
				t.Fatal("apply was not killed as it began")
			}
			v.command = []string{"agent", "--rack", v.rack.Name}
			for n := agentStep; v.life(fmt.Sprintf("%s:%d", p, n), 0); n += agentStep {
			}
			if v.lives < 10 {
				t.Errorf("only %d lives", v.lives)
			}
			v.judge()
		})
	}
}
