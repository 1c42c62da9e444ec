//go:build prometheus

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/deploy/promtest"
	"github.com/rackreach/rackreach/internal/platform"
)

// TestPrometheusOfAFleet images the example fleet through a coordinator and two
// agents, all with certificates, while a real Prometheus scrapes them as the shipped
// configuration says; then every query of the dashboard has an answer.
func TestPrometheusOfAFleet(t *testing.T) {
	dir := t.TempDir()
	f := &fleetProgram{t: t, path: filepath.Join(dir, "rackreach"), state: filepath.Join(dir, "state")}
	if out, err := exec.Command("go", "build", "-o", f.path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	authority := regexp.MustCompile(`authority: (\S+)`).FindStringSubmatch(f.run("coordinator", "init", "--name", "127.0.0.1"))
	if authority == nil {
		t.Fatal("coordinator init does not say where the authority is")
	}
	at := f.start(regexp.MustCompile(`serving at https://(\S+)`), "coordinator", "--listen", "127.0.0.1:0")
	for _, r := range []string{"r1", "r2"} {
		token := strings.TrimSpace(f.run("enroll", "--rack", r))
		f.start(regexp.MustCompile(`agent of rack (\S+),`), "agent", "--rack", r, "--token", token,
			"--simulated-rack", "../../examples/rack-"+r[1:]+".yaml", "--speed", "300")
	}
	p := promtest.Start(t, promtest.Options{Config: "../../deploy/prometheus/prometheus.yaml", Coordinators: []string{at},
		Token: strings.TrimSpace(f.run("token", "create", "prometheus", "--role", "viewer")), CA: filepath.Join(authority[1], "ca.crt")})
	p.Await(t, `count(up{job="rackreach-agents"} == 1) == 2`, patience)
	f.run("apply", "../../examples/fleet.yaml")
	p.Await(t, `max(rackreach_fleet_racks{status="completed"}) == 2`, 2*patience)

	for expr, want := range map[string]float64{
		`sum(max by (role, status) (rackreach_fleet_devices{status="ready"}))`:             float64(f.devices("r1") + f.devices("r2")),
		`sum(rackreach_devices{phase="ready"})`:                                            float64(f.devices("r1") + f.devices("r2")),
		`sum(rack:rackreach_agent_connected:max)`:                                          2,
		`count(rackreach_fleet_run_duration_seconds > 0)`:                                  2,
		`count({rack="r1",exported_rack!=""}) or vector(0)`:                                0,
		`count(ALERTS{alertstate="firing"}) or vector(0)`:                                  0,
		`count(rack:rackreach_state:max{state="completed"} == 1)`:                          2,
		`min(rackreach_device_progress_ratio{rack=~"r1|r2"})`:                              1,
		`sum(rackreach_dhcp_packets_total{outcome=~"panicked|malformed.*"}) or vector(-1)`: 0,
	} {
		// Agents and coordinator are not scraped in the same moment.
		p.Await(t, fmt.Sprintf("(%s) == %g", expr, want), patience/6)
	}

	queries, err := promtest.DashboardQueries("../../deploy/grafana/rackreach.json", map[string]string{"rack": ".+", "__rate_interval": "1m"})
	if err != nil {
		t.Fatal(err)
	}
	answered := 0
	for _, q := range queries {
		got, err := p.Query(q.Expr)
		switch {
		case err != nil:
			t.Errorf("panel %q: %v", q.Panel, err)
		case len(got) == 0:
			t.Errorf("panel %q: no data: %s", q.Panel, q.Expr)
		default:
			answered++
		}
	}
	t.Logf("%d of %d queries of the dashboard have data", answered, len(queries))
}

// fleetProgram is the real program on one state directory.
type fleetProgram struct {
	t     *testing.T
	path  string
	state string
}

func (f *fleetProgram) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.path, args...)
	cmd.Env = append(os.Environ(), "RACKREACH_STATE="+f.state, "RACKREACH_CONFIG="+filepath.Join(f.state, "config.yaml"))
	return cmd
}

// run runs a command to its end and returns what it printed.
func (f *fleetProgram) run(args ...string) string {
	f.t.Helper()
	cmd := f.command(args...)
	var notes bytes.Buffer
	cmd.Stderr = &notes
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("rackreach %s: %v\n%s%s", strings.Join(args, " "), err, out, notes.Bytes())
	}
	return string(out)
}

// devices is how many devices the file of a rack has.
func (f *fleetProgram) devices(rack string) int {
	f.t.Helper()
	r, err := load("../../examples/rack-"+rack[1:]+".yaml", platform.All())
	if err != nil {
		f.t.Fatal(err)
	}
	return len(r.Devices)
}

// start starts a command that runs until the test ends, and returns what it said
// of itself.
func (f *fleetProgram) start(says *regexp.Regexp, args ...string) string {
	f.t.Helper()
	cmd := f.command(args...)
	var notes syncBuffer
	cmd.Stderr = &notes
	out, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	said, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := says.FindStringSubmatch(s.Text()); m != nil {
				select {
				case said <- m[1]:
				default:
				}
			}
		}
	}()
	f.t.Cleanup(func() {
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended; Wait says so
		<-ended
		if err := cmd.Wait(); err != nil || f.t.Failed() {
			f.t.Logf("rackreach %s: %v\n%s", args[0], err, notes.String())
		}
	})
	select {
	case s := <-said:
		return s
	case <-ended:
		f.t.Fatalf("rackreach %s ended at once: %s", strings.Join(args, " "), notes.String())
	case <-time.After(patience):
		f.t.Fatalf("rackreach %s says nothing: %s", strings.Join(args, " "), notes.String())
	}
	return ""
}

// syncBuffer may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
