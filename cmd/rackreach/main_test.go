package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/ordercheck"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// The demos of these tests wait far more than they compute: many at once do not
// slow each other down.
const demosAtOnce = "12"

func TestMain(m *testing.M) {
	testscript.Main(goleakMain{m}, map[string]func(){"rackreach": main})
}

// goleakMain runs the tests of the package and then demands that nothing is
// left running.
type goleakMain struct{ m *testing.M }

func (g goleakMain) Run() int {
	flag.Parse()
	if err := flag.Set("test.parallel", demosAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := g.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left over:", err)
			return 1
		}
	}
	return code
}

// TestScripts runs every command that the documentation shows, as a user would.
func TestScripts(t *testing.T) {
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
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: map[string]func(*testscript.TestScript, bool, []string){"damage": damage, "hurt": hurt, "registry": serveRegistry, "simimages": simImages, "served": served, "until": until, "rackis": rackIs, "joined": joined, "asked": asked, "fromfile": fromFile, "serverurl": serverURL, "findca": findCA, "leftover": leftover, "endleftover": endLeftover, "certify": certify, "serving": serving, "says": says}, Setup: func(e *testscript.Env) error {
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

// served waits until a simulated rack is served at a socket, and holds that it
// calls itself by the given name.
func served(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		r, err := sim.Join(ctx, ts.MkAbs(args[0]))
		if err == nil {
			ts.Check(r.Close())
			if r.Rack != args[1] {
				ts.Fatalf("rack %s is served, want %s", r.Rack, args[1])
			}
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("nobody serves: %v", err)
		}
	}
}

// until waits until a device of a rack that an agent drives has a status: STATE
// RACK DEVICE STATUS.
func until(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	last := "no agent"
	for {
		if c, err := api.Dial(ctx, state.Home(ts.MkAbs(args[0])).Rack(args[1]).Socket()); err == nil {
			a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: messages.RackName(args[1])}))
			c.Close()
			if err == nil {
				for _, d := range a.Msg.GetRack().GetDevices() {
					if d.GetName() == messages.DeviceName(args[1], args[2]) {
						last = d.GetStatus()
					}
				}
			}
		}
		if last == args[3] {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("%s is %s, not %s", args[2], last, args[3])
		}
	}
}

// rackIs waits until an agent says that its rack has a status: STATE RACK STATUS.
func rackIs(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for last := "without an agent"; last != args[2]; {
		if c, err := api.Dial(ctx, state.Home(ts.MkAbs(args[0])).Rack(args[1]).Socket()); err == nil {
			if a, err := c.GetRack(ctx, connect.NewRequest(&messages.GetRackRequest{Name: "racks/" + args[1]})); err == nil {
				last = a.Msg.GetRack().GetStatus()
			}
			c.Close()
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("rack %s is %s, not %s", args[1], last, args[2])
		}
	}
}

// joined waits until an agent is at work on the simulated rack at a socket.
func joined(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if r, err := sim.Look(ctx, ts.MkAbs(args[0])); err == nil && r.Agent != 0 {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("no agent joined the simulated rack at %s", args[0])
		}
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for len(args) > 0 {
		if _, err := sim.Look(ctx, ts.MkAbs(args[0])); errors.Is(err, sim.ErrNobody) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			ts.Fatalf("the simulated rack, process %d, does not end", pid)
		}
	}
}

// event is one line of --json, read without the product's own types.
type event struct {
	Seq    uint64 `json:"seq"`
	Time   time.Time
	Rack   string `json:"rack"`
	Device string `json:"device"`
	Role   string `json:"role"`
	Event  string `json:"event"`
	Phase  string `json:"phase"`
	Detail struct {
		Step   string `json:"step"`
		Error  string `json:"error"`
		Reason string `json:"reason"`
	} `json:"detail"`
}

// entry is one line of the simulator's record.
type entry struct {
	Kind   string            `json:"kind"`
	Device string            `json:"device"`
	Detail map[string]string `json:"detail"`
}

// played is a demo that ran in this process.
type played struct {
	code   int
	notes  string
	events []event
	record []entry
	raw    []byte // of the record
}

// play runs a demo whose devices are fast enough for a test; time limits of
// steps keep their floor whatever the speed.
func play(t *testing.T, args ...string) *played {
	t.Helper()
	file := filepath.Join(t.TempDir(), "record.jsonl")
	var out, notes bytes.Buffer
	all := append([]string{"demo", "--json", "--speed", "600", "--record", file}, args...)
	p := &played{code: run(context.Background(), all, &out, &notes, func(string) (string, bool) { return "", false })}
	p.notes = notes.String()
	for s := bufio.NewScanner(bytes.NewReader(out.Bytes())); s.Scan(); {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatalf("not a line of JSON: %q: %v", s.Text(), err)
		}
		p.events = append(p.events, e)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.notes)
	}
	p.raw = raw
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", p.notes, out.String())
		}
	})
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var e entry
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.record = append(p.record, e)
	}
	return p
}

// ends fails the test unless the run ended with that code.
func (p *played) ends(t *testing.T, code int) {
	t.Helper()
	if p.code != code {
		t.Errorf("exit code %d, want %d:\n%s", p.code, code, p.notes)
	}
}

// inOrder holds the simulator's record against the rack file.
func (p *played) inOrder(t *testing.T, rackFile string) {
	t.Helper()
	for _, v := range p.violations(t, rackFile) {
		t.Error(v)
	}
}

func (p *played) violations(t *testing.T, rackFile string) []ordercheck.Violation {
	t.Helper()
	yaml, err := os.Open(filepath.Join("../../examples", rackFile))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := yaml.Close(); err != nil {
			t.Error(err)
		}
	}()
	v, err := ordercheck.Check(yaml, bytes.NewReader(p.raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (p *played) find(kind, device string) (out []event) {
	for _, e := range p.events {
		if e.Event == kind && (device == "" || e.Device == device) {
			out = append(out, e)
		}
	}
	return out
}

// saw lists the devices of which the simulator recorded such an entry.
func (p *played) saw(kind string) (out []string) {
	for _, e := range p.record {
		if e.Kind == kind && !slices.Contains(out, e.Device) {
			out = append(out, e.Device)
		}
	}
	slices.Sort(out)
	return out
}

func example(name string) string { return filepath.Join("../../examples", name) }

func TestExamplesAreImagedInOrder(t *testing.T) {
	for file, devices := range map[string]int{"rack-1.yaml": 9, "rack-2.yaml": 11, "rack-42u.yaml": 42} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			// Slow enough for everything that should overlap to overlap.
			p := play(t, "--rack", example(file), "--speed", "60")
			p.ends(t, 0)
			if n := len(p.find("device-ready", "")); n != devices {
				t.Errorf("%d devices are ready, want %d", n, devices)
			}
			p.inOrder(t, file)
			yaml, err := os.ReadFile(example(file))
			if err != nil {
				t.Fatal(err)
			}
			overlaps, err := ordercheck.CheckOverlap(bytes.NewReader(yaml), bytes.NewReader(p.raw))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range overlaps {
				t.Error(v)
			}
			if got := len(p.saw("install-completed")); got != devices {
				t.Errorf("%d devices installed an image whose digest they checked, want %d", got, devices)
			}
			eventsOfAWholeRun(t, p)
		})
	}
}

// The smallest rack with every role, and small images.
func TestSmallRack(t *testing.T) {
	t.Parallel()
	p := play(t, "--rack", "testdata/rack-4.yaml")
	p.ends(t, 0)
	if n := len(p.find("device-ready", "")); n != 4 {
		t.Errorf("%d devices are ready, want 4", n)
	}
	p.inOrder(t, "../cmd/rackreach/testdata/rack-4.yaml")
}

// eventsOfAWholeRun holds the promise about the words of --json.
func eventsOfAWholeRun(t *testing.T, p *played) {
	t.Helper()
	for i, e := range p.events {
		if e.Seq != uint64(i+1) || e.Rack == "" || e.Time.IsZero() {
			t.Fatalf("line %d: %+v", i+1, e)
		}
	}
	for _, kind := range []string{"rack-started", "device-discovered", "link-ready", "link-open", "phase-started", "step-started", "step-completed", "phase-completed", "device-ready", "device-held", "rack-completed"} {
		if len(p.find(kind, "")) == 0 {
			t.Errorf("no event %s", kind)
		}
	}
}

func TestAFailedSwitchHaltsTheRack(t *testing.T) {
	for fault, says := range map[string]string{
		"tor-1:installation:error":    "back in ONIE",
		"tor-1:installation:panic":    "crashed", // while tor-2 is being installed
		"tor-2:configuration:panic":   "crashed",
		"tor-1:discovery:no-dhcp":     "never seen",
		"mgmt-1:discovery:bmc-dead":   "never seen",
		"tor-1:configuration:error":   "500",
		"mgmt-1:installation:hang":    "complete transfer of its image",
		"tor-2:installation:hang":     "complete transfer of its image",
		"mgmt-1:discovery:error":      "mgmt-1",
		"tor-1:discovery:error":       "declined",
		"tor-1:installation:no-dhcp":  "installed system",
		"tor-1:configuration:hang":    "no answer to configuration",
		"mgmt-1:installation:no-dhcp": "installed system",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p := play(t, "--fault", fault)
			p.ends(t, 4)
			device, _, _ := strings.Cut(fault, ":")
			halted := p.find("rack-halted", "")
			if len(halted) != 1 || halted[0].Device != device || !strings.Contains(halted[0].Detail.Error, says) {
				t.Errorf("rack-halted should name %s and say %q: %+v", device, says, halted)
			}
			if len(p.find("rack-draining", device)) != 1 || len(p.find("device-failed", device)) != 1 {
				t.Errorf("one rack-draining and one device-failed of %s expected", device)
			}
			for _, kind := range []string{"bmc-power", "bmc-boot-device", "image-byte"} {
				for _, d := range p.saw(kind) {
					if strings.HasPrefix(d, "server-") {
						t.Errorf("%s: %s although a switch failed", d, kind)
					}
				}
			}
			for _, d := range p.saw("image-byte") {
				if d != device && !slices.Contains(p.saw("install-completed"), d) {
					t.Errorf("%s was in flight and was not served to the end", d)
				}
			}
			for _, want := range []string{"halted by " + device, "why: ", "next: "} {
				if !strings.Contains(p.notes, want) {
					t.Errorf("the last lines do not say %q:\n%s", want, p.notes)
				}
			}
			p.inOrder(t, "rack-1.yaml")
		})
	}
}

func TestAFailedServerStandsAlone(t *testing.T) {
	for _, fault := range []string{
		"server-03:configuration:error", "server-03:configuration:panic", "server-01:discovery:no-dhcp", "server-06:installation:corrupt-image",
		"server-02:installation:hang", "server-04:discovery:bmc-dead", "server-05:discovery:hang", "server-02:installation:no-dhcp",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p := play(t, "--fault", fault)
			p.ends(t, 3)
			device, _, _ := strings.Cut(fault, ":")
			if failed := p.find("device-failed", ""); len(failed) != 1 || failed[0].Device != device || failed[0].Detail.Error == "" {
				t.Errorf("only %s should have failed: %+v", device, failed)
			}
			if n := len(p.find("device-ready", "")); n != 8 {
				t.Errorf("%d devices are ready, want the 8 others", n)
			}
			if !strings.Contains(p.notes, device+" failed: ") {
				t.Errorf("the last lines do not name it:\n%s", p.notes)
			}
			p.inOrder(t, "rack-1.yaml")
		})
	}
}

func TestTroubleThatPassesIsRetried(t *testing.T) {
	for _, fault := range []string{
		"server-02:installation:error:2", "tor-1:installation:corrupt-image:1", "mgmt-1:installation:error:1", "server-01:configuration:panic:2",
		"server-03:configuration:error:1", "mgmt-1:discovery:error:2", "tor-2:discovery:error:1",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p := play(t, "--fault", fault)
			p.ends(t, 0)
			device, _, _ := strings.Cut(fault, ":")
			if len(p.find("step-failed", device))+len(p.find("device-crashed", device)) == 0 {
				t.Errorf("%s never failed: the fault was not played", device)
			}
			p.inOrder(t, "rack-1.yaml")
		})
	}
}

// Every way out has its code, and says what to do.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	copied := filepath.Join(dir, "rack.yaml")
	raw, err := os.ReadFile(example("rack-1.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{}, 0, ""},
		{[]string{"dmeo"}, 2, `unknown command "dmeo", did you mean demo?`},
		{[]string{"demo", "server-01"}, 2, "unknown command"},
		{[]string{"demo", "--sped", "2"}, 2, "unknown flag"},
		{[]string{"validate"}, 2, "accepts 1 arg"},
		{[]string{"validate", filepath.Join(dir, "none.yaml")}, 2, "none.yaml"},
		{[]string{"plan", example("rack-1.yaml"), "-o", "xml"}, 2, "-o table or -o json"},
		{[]string{"demo", "--report", filepath.Join(dir, "no", "such")}, 2, "--report"},
		{[]string{"demo", "--record", filepath.Join(dir, "no", "such")}, 2, "--record"},
		{[]string{"demo", "--rack", copied, "--record", copied}, 2, "is the rack file"},
		{[]string{"demo", "--fault", "nonsense"}, 2, "write DEVICE:PHASE:KIND"},
		{[]string{"demo", "--metrics-listen", "192.0.2.1:80"}, 2, "not a loopback address"},
		{[]string{"demo", "--speed", "600", "--report", "/dev/full"}, 1, "no space left"},
		{[]string{"demo", "--speed", "600", "--report", "/dev/full", "--fault", "tor-1:configuration:error"}, 4, "no space left"},
		{[]string{"demo", "--speed", "600", "--record", "/dev/full"}, 1, "no space left"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			var out, notes bytes.Buffer
			code := run(t.Context(), c.args, &out, &notes, func(string) (string, bool) { return "", false })
			if code != c.code || !strings.Contains(notes.String(), c.says) || strings.Contains(notes.String(), "goroutine ") {
				t.Errorf("exit code %d saying %q, want %d saying %q", code, notes.String(), c.code, c.says)
			}
		})
	}
	t.Cleanup(func() {
		if now, err := os.ReadFile(copied); err != nil || !bytes.Equal(now, raw) {
			t.Errorf("the rack file was overwritten: %v", err)
		}
	})
}

// A run that is stopped ends soon, with a message and everything closed.
func TestStopped(t *testing.T) {
	ctx, stop := context.WithCancelCause(context.Background())
	var notes bytes.Buffer
	code := run(ctx, []string{"demo", "--json"}, writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte("ticket-issued")) {
			stop(fmt.Errorf("interrupt signal received"))
		}
		return len(b), nil
	}), &notes, func(string) (string, bool) { return "", false })
	if code != 1 || !strings.Contains(notes.String(), "stopped before the rack was done: interrupt signal received") || !strings.Contains(notes.String(), "next: ") {
		t.Errorf("exit code %d: %s", code, notes.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// The plan that was shown is the plan that is carried out, at any speed.
func TestOnePlanOneHash(t *testing.T) {
	var out, notes bytes.Buffer
	if code := run(t.Context(), []string{"plan", example("rack-1.yaml"), "-o", "json"}, &out, &notes, func(string) (string, bool) { return "", false }); code != 0 {
		t.Fatal(notes.String())
	}
	var plan struct{ Hash string }
	if err := json.Unmarshal(out.Bytes(), &plan); err != nil {
		t.Fatal(err)
	}
	if p := play(t, "--rack", example("rack-1.yaml")); !strings.Contains(p.notes, "plan "+plan.Hash+",") {
		t.Errorf("plan %s, but the demo says: %s", plan.Hash, p.notes)
	}
}
