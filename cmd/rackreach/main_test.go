package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/ordercheck"
)

// The demos of these tests wait far more than they compute: many at once do not
// slow each other down. Groups of them run at once, too: each waits for its longest.
const demosAtOnce = "12"

func TestMain(m *testing.M) {
	// Many demos at once, under the race detector: what hangs takes longer to be
	// noticed, and nothing that only waits for its turn is taken for a failure.
	stepFloor = 20 * time.Second
	testscript.Main(goleakMain{m}, map[string]func(){"rackreach": func() {
		stepFloor = time.Minute
		main()
	}})
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
		{[]string{"demo", "server-01"}, 2, "one argument too many"},
		{[]string{"demo", "--sped", "2"}, 2, "unknown flag"},
		{[]string{"validate"}, 2, "an argument is missing"},
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
