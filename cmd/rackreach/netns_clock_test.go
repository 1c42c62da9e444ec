//go:build netns

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Hosts whose clocks are wrong. No kernel gives a namespace a wall clock of its own
// (time_namespaces(7): monotonic and boot time only), and libfaketime does not reach a
// program that is linked statically. So the binary is built once more against Go's package
// time with a changed Now: everything in the process, TLS too, reads the wrong clock. What
// the kernel stamps, the times of files, is by the right one; so is monotonic time, as it
// is on a machine whose wall clock is wrong.

const clockNow = "sec, nsec, mono := runtimeNow()\n\tif mono == 0 {"

const clockAhead = `
var rackreachAhead = func() (n int64) {
	v, _ := syscall.Getenv("` + clockVariable + `")
	s := v
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	for _, c := range []byte(s) {
		n = n*10 + int64(c-'0')
	}
	if s != v {
		return -n
	}
	return n
}()
`

// buildSkewed builds the binary whose clock clockVariable moves.
func (w *world) buildSkewed() (path string) {
	w.t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		w.t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	b, err := os.ReadFile(original)
	if err != nil {
		w.t.Fatal(err)
	}
	text := string(b)
	if strings.Count(text, clockNow) != 1 || strings.Count(text, "import (\n") != 1 {
		w.t.Fatalf("%s is not as expected: time.Now has changed: look at it, and at clockNow", original)
	}
	text = strings.Replace(text, clockNow, strings.Replace(clockNow, "\n", "\n\tsec += rackreachAhead\n", 1), 1)
	text = strings.Replace(text, "import (\n", "import (\n\t\"syscall\"\n", 1) + clockAhead
	changed, overlay := filepath.Join(w.dir, "time.go"), filepath.Join(w.dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		w.t.Fatal(err)
	}
	for name, b := range map[string][]byte{changed: []byte(text), overlay: list} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	path = filepath.Join(w.dir, "rackreach-skewed")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, ".").CombinedOutput(); err != nil {
		w.t.Fatalf("build the binary with a clock that can be wrong: %v\n%s", err, out)
	}
	return path
}

// TestFleetFaultClocks images two racks whose agents' clocks are an hour behind and an
// hour ahead of the coordinator's. Two more, which are too far off for any certificate,
// are told so.
func TestFleetFaultClocks(t *testing.T) {
	t.Parallel()
	s := newCenter(t)
	skewed := s.buildSkewed()
	s.clocks = []time.Duration{-time.Hour, time.Hour}
	s.center.run("coordinator", "init", "--name", nsCoordinator)
	at := time.Now()
	s.startCoordinator() // its certificate is made now
	s.binary = skewed
	s.connected(2, "12")
	enrolled := time.Since(at)
	s.apply()
	for i, r := range s.racks {
		r.busy("mgmt-1", rack.Installation)
		if m := r.seen(); !m.GetAgent().GetConnected() {
			t.Errorf("%s is not connected", r.name)
		}
		// The journal is by the agent's own clock: it was wrong.
		var first struct{ Time time.Time }
		line, _, _ := bytes.Cut(r.host.run("events", r.name, "--json"), []byte("\n"))
		if err := json.Unmarshal(line, &first); err != nil {
			t.Fatal(err)
		}
		if off := first.Time.Sub(at); off < s.clocks[i]-time.Minute || off > s.clocks[i]+nsPatience {
			t.Errorf("the clock of %s was not %s off: its first event is of %s: %s", r.name, s.clocks[i], first.Time, line)
		}
	}
	// An order goes down, and its answer comes back.
	s.center.run("halt", s.racks[0].name, "--reason", "by order")
	s.until(nsSoon, "r1 is halted by order", func() bool { return s.racks[0].itself().GetStatus() == string(rack.Halted) })
	s.center.run("resume", s.racks[0].name)

	var told []string
	for _, x := range []struct {
		name    string
		address string
		by      time.Duration
		want    string
	}{
		{"early", "10.99.0.51", -3 * time.Hour, "the clock of this machine is 3h0m"},
		{"late", "10.99.0.52", 40 * 24 * time.Hour, "the clock of this machine is 960h0m"},
	} {
		h := s.host(x.name, x.address)
		h.clock = x.by
		token := strings.TrimSpace(string(s.center.run("enroll", "--rack", "r9")))
		out, code := h.start(s.binary, "agent", "--rack", "r9", "--simulate", "--token", token).wait(time.Minute)
		// Half a minute of the reading may be lost on the way.
		if text := strings.NewReplacer("2h59m5", "3h0m", "959h59m5", "960h0m").Replace(out); code == exitReady || !strings.Contains(text, x.want) || !strings.Contains(text, "that of the coordinator: set the one that is wrong") {
			t.Errorf("an agent whose clock is %s off ended with %d: %s", x.by, code, out)
		}
		told = append(told, fmt.Sprintf("%s off: refused, and told so", x.by))
	}
	s.completed()
	s.judge()
	var events []string
	for i, r := range s.racks {
		events = append(events, fmt.Sprintf("%s %s off, %d events", r.name, s.clocks[i], r.seen().GetLastSeq()))
	}
	t.Logf("RESULT clocks: %s: enrolled and connected within %s, imaged after %s, journals and log equal; %s", strings.Join(events, "; "), enrolled.Round(100*time.Millisecond), time.Since(at).Round(time.Second), strings.Join(told, "; "))
}
