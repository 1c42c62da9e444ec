//go:build prometheus

// Package deploy tests what is deployed: rules, dashboard, units, package.
// make prometheus runs it; each test says which program it needs.
package deploy

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/rackreach/rackreach/deploy/promtest"
)

// run runs a program, and fails the test with what it said unless it succeeds.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// promRules are the rules of prometheus/, as Prometheus reads them.
type promRules struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func rulesOf(t *testing.T, name string) (r promRules) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, "prometheus/"+name)), &r); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

// TestRules: Prometheus itself takes the configuration as it is shipped, and the
// tests of the rules hold.
func TestRules(t *testing.T) {
	promtool := promtest.Tool(t, "promtool", "prometheus")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("prometheus")); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"rackreach.token", "rackreach-ca.crt"} { // promtool looks whether they are there
		if err := os.WriteFile(filepath.Join(dir, own), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, nil, promtool, "check", "config", "prometheus.yaml")
	run(t, dir, nil, promtool, "check", "rules", "recording.yaml", "alerts.yaml")
	run(t, dir, nil, promtool, "test", "rules", "rules_test.yaml")
}

// TestEveryAlert has what whoever is on call needs, and a test.
func TestEveryAlert(t *testing.T) {
	runbook, tests := read(t, "../docs/runbook.md"), read(t, "prometheus/rules_test.yaml")
	alerts := 0
	for _, g := range rulesOf(t, "alerts.yaml").Groups {
		for _, a := range g.Rules {
			alerts++
			for _, what := range []string{"summary", "description"} {
				if a.Annotations[what] == "" {
					t.Errorf("%s has no %s", a.Alert, what)
				}
			}
			if s := a.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", a.Alert, s)
			}
			if want := "docs/runbook.md#" + strings.ToLower(a.Alert); !strings.HasSuffix(a.Annotations["runbook_url"], want) {
				t.Errorf("%s: runbook_url %q does not end with %s", a.Alert, a.Annotations["runbook_url"], want)
			}
			if !strings.Contains(runbook, "\n## "+a.Alert+"\n") {
				t.Errorf("docs/runbook.md has no section %s", a.Alert)
			}
			if !strings.Contains(tests, "alertname: \""+a.Alert+"\"") && !strings.Contains(tests, "alertname: "+a.Alert+"\n") {
				t.Errorf("rules_test.yaml does not test %s", a.Alert)
			}
		}
	}
	if want := strings.Count(runbook, "\n## "); alerts != want {
		t.Errorf("%d alerts, but %d sections in docs/runbook.md", alerts, want)
	}
}

// dashboardVars are values that fit every query.
var dashboardVars = map[string]string{"rack": ".+", "__rate_interval": "1m"}

var ourMetric = regexp.MustCompile(`\brackreach_\w+`)

// TestMetricsAreDocumented: no rule and no panel asks for a series that nobody has.
func TestMetricsAreDocumented(t *testing.T) {
	page := read(t, "../docs/metrics.md")
	var exprs []string
	for _, name := range []string{"recording.yaml", "alerts.yaml"} {
		for _, g := range rulesOf(t, name).Groups {
			for _, r := range g.Rules {
				exprs = append(exprs, r.Expr)
			}
		}
	}
	queries, err := promtest.DashboardQueries("grafana/rackreach.json", dashboardVars)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		exprs = append(exprs, q.Expr)
	}
	recorded := read(t, "prometheus/recording.yaml")
	series := regexp.MustCompile(`\w+:rackreach_\w+:\w+`)
	for _, e := range exprs {
		for _, s := range series.FindAllString(e, -1) {
			if !strings.Contains(recorded, "record: "+s+"\n") {
				t.Errorf("%s: nothing records %s", e, s)
			}
		}
		for _, m := range ourMetric.FindAllString(series.ReplaceAllString(e, ""), -1) {
			base := strings.TrimSuffix(strings.TrimSuffix(m, "_bucket"), "_count")
			if !strings.Contains(page, "`"+base+"`") {
				t.Errorf("%s: docs/metrics.md does not list %s", e, base)
			}
		}
	}
}

// TestDashboardParses: a real Prometheus, which has nothing to scrape, understands
// every query. That they have answers is tested with a demo fleet, in cmd/rackreach.
func TestDashboardParses(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal([]byte(read(t, "grafana/rackreach.json")), &whole); err != nil {
		t.Fatal(err)
	}
	queries, err := promtest.DashboardQueries("grafana/rackreach.json", dashboardVars)
	if err != nil {
		t.Fatal(err)
	}
	if len(queries) < 20 {
		t.Fatalf("only %d queries found: this test does not see the panels", len(queries))
	}
	p := promtest.Start(t, promtest.Options{Config: "prometheus/prometheus.yaml", Coordinators: []string{"127.0.0.1:1"}})
	for _, q := range queries {
		if _, err := p.Query(q.Expr); err != nil {
			t.Errorf("%s: %v", q.Panel, err)
		}
	}
	p.Await(t, `ALERTS{alertname="CoordinatorDown"}`, time.Minute)
}

// TestUnits: systemd takes the units, and finds them well protected.
func TestUnits(t *testing.T) {
	analyze := promtest.Tool(t, "systemd-analyze", "systemd")
	for unit, threshold := range map[string]string{ // tenths; 0 is no exposure, 100 all
		"rackreach-coordinator.service": "15",
		"rackreach-agent@.service":      "20",
	} {
		run(t, "systemd", nil, analyze, "security", "--offline=yes", "--no-pager", "--threshold="+threshold, "./"+unit)
		// verify looks whether the program is there: name one that is.
		dir := t.TempDir()
		text := strings.ReplaceAll(read(t, "systemd/"+unit), "/usr/bin/rackreach", "/bin/true")
		name := filepath.Join(dir, strings.Replace(unit, "@.", "@r1.", 1))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run(t, dir, nil, analyze, "verify", "--man=no", name); strings.Contains(out, "rackreach") {
			t.Errorf("%s: %s", unit, out)
		}
	}
}

// build builds the program as it is shipped.
func build(t *testing.T, to string) {
	t.Helper()
	run(t, "..", []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, "./cmd/rackreach")
}

// TestEmptyRoot: the program runs where there is nothing else, as in the container.
func TestEmptyRoot(t *testing.T) {
	unshare := promtest.Tool(t, "unshare", "util-linux")
	root := t.TempDir()
	build(t, filepath.Join(root, "rackreach"))
	if err := os.Mkdir(filepath.Join(root, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := run(t, root, []string{"RACKREACH_STATE=/state"}, unshare, "--map-root-user", "--root="+root, "/rackreach", "coordinator", "init", "--name", "coordinator.example.net")
	if !strings.Contains(out, "coordinator.example.net") {
		t.Errorf("coordinator init in an empty root says:\n%s", out)
	}
}

// TestPackage: the package holds what the install page says, and dpkg takes it,
// keeps what the operator wrote, and takes it away again.
func TestPackage(t *testing.T) {
	deb := promtest.Tool(t, "dpkg-deb", "dpkg")
	dpkg := promtest.Tool(t, "dpkg", "dpkg")
	run(t, "..", nil, "make", "package", "VERSION=1.2.3")
	found, err := filepath.Glob("../dist/rackreach_1.2.3_*.deb")
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v; want one package", found, err)
	}
	pkg, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(pkg) })
	for field, want := range map[string]string{"Package": "rackreach", "Version": "1.2.3", "Depends": "adduser"} {
		if got := strings.TrimSpace(run(t, "", nil, deb, "--field", pkg, field)); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	listed := run(t, "", nil, deb, "--contents", pkg)
	for _, file := range []string{"/usr/bin/rackreach", "/usr/bin/rackreach-init", "/lib/systemd/system/rackreach-coordinator.service", "/lib/systemd/system/rackreach-agent@.service",
		"/etc/rackreach/coordinator.env", "/etc/rackreach/agent.env.example", "/usr/share/bash-completion/completions/rackreach",
		"/usr/share/zsh/vendor-completions/_rackreach", "/usr/share/fish/vendor_completions.d/rackreach.fish",
		"/usr/share/man/man1/rackreach-coordinator.1.gz", "/usr/share/man/man1/rackreach-agent.1.gz", "/usr/share/rackreach/prometheus/alerts.yaml",
		"/usr/share/rackreach/grafana/rackreach.json", "/usr/share/doc/rackreach/copyright"} {
		if !strings.Contains(listed, "."+file+"\n") {
			t.Errorf("the package has no %s", file)
		}
	}
	installs(t, dpkg, pkg)
}

// installs installs the package below a directory and removes it. The scripts of
// the package, which change the machine, are left out; they are checked by sh.
func installs(t *testing.T, dpkg, pkg string) {
	t.Helper()
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		run(t, "debian", nil, "sh", "-n", script)
	}
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	manage := func(args ...string) {
		run(t, "", nil, dpkg, append([]string{"--root=" + root, "--force-not-root", "--force-depends", "--force-script-chrootless", "--log=/dev/null"}, args...)...)
	}
	manage("--unpack", pkg)
	env := filepath.Join(root, "etc/rackreach/coordinator.env.dpkg-new") // until it is configured
	if !bytes.Contains([]byte(read(t, env)), []byte("RACKREACH_COORDINATOR_OPTIONS")) {
		t.Errorf("%s does not show the options", env)
	}
	if out := run(t, "", nil, filepath.Join(root, "usr/bin/rackreach"), "--help"); !strings.Contains(out, "coordinator") {
		t.Errorf("the installed program says:\n%s", out)
	}
}
