// Package promtest runs a real Prometheus in tests: Debian's, or any on PATH.
//
// Start runs it with the scrape configuration that is shipped, so that what is
// tested is what users get: only addresses, intervals and secrets are replaced. The
// process ends with the test.
package promtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

const (
	startLimit = 30 * time.Second       // for Prometheus to serve
	stopLimit  = 10 * time.Second       // for it to end
	queryLimit = 10 * time.Second       // for the answer to one query
	pollEvery  = 100 * time.Millisecond // between two looks for what is awaited
	maxAnswer  = 16 << 20               // bytes
)

// Options are what Prometheus scrapes.
type Options struct {
	Config       string        // path of the shipped prometheus.yaml; the rule files that it names lie beside it
	Coordinators []string      // HOST:PORT of each; the first is asked for the agents
	Token        string        // for the coordinators; empty: they are asked without TLS
	CA           string        // path of the authority of their certificates, with Token
	Interval     time.Duration // between two scrapes and two evaluations; zero: a second
}

// Prom is a Prometheus that runs until the test ends.
type Prom struct{ url string }

// Tool is the path of a program that a test needs; without it the test fails and
// says what to install.
func Tool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("this test needs %s, and it is not on PATH: apt-get install %s", name, pkg)
	}
	return path
}

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// Start starts a Prometheus on a free port of loopback and waits until it is ready.
func Start(t testing.TB, o Options) *Prom {
	t.Helper()
	program := Tool(t, "prometheus", "prometheus")
	dir := t.TempDir()
	config, err := Config(o)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+file, "--web.listen-address=127.0.0.1:0", "--storage.tsdb.path="+filepath.Join(dir, "data"))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, read := make(chan string, 1), make(chan []string, 1)
	go func() {
		var lines []string
		for s := bufio.NewScanner(said); s.Scan(); {
			if m := listening.FindStringSubmatch(s.Text()); m != nil {
				address <- m[1]
			}
			if len(lines) < 1000 {
				lines = append(lines, s.Text())
			}
		}
		read <- lines
	}()
	t.Cleanup(func() {
		late := time.AfterFunc(stopLimit, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended; its log says why
		lines := <-read
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("prometheus: %v\n%s", err, strings.Join(lines, "\n"))
		}
	})
	p := &Prom{}
	select {
	case at := <-address:
		p.url = "http://" + at
	case lines := <-read:
		read <- lines
		t.Fatal("prometheus ended at once")
	case <-time.After(startLimit):
		t.Fatalf("prometheus does not listen after %s", startLimit)
	}
	p.until(t, "ready", startLimit, func() (string, bool) {
		r, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return err.Error(), false
		}
		defer r.Body.Close()
		return r.Status, r.StatusCode == http.StatusOK
	})
	return p
}

// Config is the shipped configuration with the addresses, intervals and secrets of a test.
func Config(o Options) ([]byte, error) {
	text, err := os.ReadFile(o.Config)
	if err != nil {
		return nil, err
	}
	var c map[string]any
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Config, err)
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	every := o.Interval.String()
	c["global"] = map[string]any{"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
	dir, err := filepath.Abs(filepath.Dir(o.Config))
	if err != nil {
		return nil, err
	}
	rules, ok := c["rule_files"].([]any)
	if !ok {
		return nil, fmt.Errorf("%s: it names no rule_files", o.Config)
	}
	for i, name := range rules {
		rules[i] = filepath.Join(dir, fmt.Sprint(name))
	}
	jobs, ok := c["scrape_configs"].([]any)
	if !ok {
		return nil, fmt.Errorf("%s: it names no scrape_configs", o.Config)
	}
	for _, j := range jobs {
		if err := o.aim(j); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Config, err)
		}
	}
	return yaml.Marshal(c)
}

// aim points a job at the coordinators of the test.
func (o Options) aim(job any) error {
	j, ok := job.(map[string]any)
	if !ok {
		return fmt.Errorf("a scrape config is %T", job)
	}
	if j["static_configs"] != nil {
		j["static_configs"] = []any{map[string]any{"targets": o.Coordinators}}
		o.secure(j)
		if o.Token == "" {
			j["scheme"] = "http"
		}
	}
	found, _ := j["http_sd_configs"].([]any)
	for _, f := range found {
		sd, ok := f.(map[string]any)
		if !ok {
			return fmt.Errorf("a discovery of job %v is %T", j["job_name"], f)
		}
		u, err := url.Parse(fmt.Sprint(sd["url"]))
		if err != nil {
			return fmt.Errorf("job %v: %w", j["job_name"], err)
		}
		if len(o.Coordinators) > 0 {
			u.Host = o.Coordinators[0]
		}
		if o.Token == "" {
			u.Scheme = "http"
		}
		sd["url"], sd["refresh_interval"] = u.String(), o.Interval.String()
		o.secure(sd)
	}
	return nil
}

// secure replaces the files of secrets in what they stand in, or takes them out.
func (o Options) secure(in map[string]any) {
	if o.Token == "" {
		delete(in, "authorization")
		delete(in, "tls_config")
		return
	}
	if a, ok := in["authorization"].(map[string]any); ok { // what else is shipped of it stays
		delete(a, "credentials_file")
		a["credentials"] = o.Token
	}
	in["tls_config"] = map[string]any{"ca_file": o.CA}
}

// Sample is one series of an answer.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query is what an expression is worth now.
func (p *Prom) Query(expr string) ([]Sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryLimit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	return samples(expr, body)
}

// samples reads the answer to a query.
func samples(expr string, body []byte) ([]Sample, error) {
	var a struct {
		Error string `json:"error"`
		Data  struct {
			Type   string          `json:"resultType"`
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("query %s: %w: %.200s", expr, err, body)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("query %s: %s", expr, a.Error)
	}
	if a.Data.Type != "vector" {
		return nil, fmt.Errorf("query %s: the answer is a %s, not a vector", expr, a.Data.Type)
	}
	var series []struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
	}
	if err := json.Unmarshal(a.Data.Result, &series); err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	var out []Sample
	for _, s := range series {
		v, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", expr, err)
		}
		out = append(out, Sample{s.Metric, v})
	}
	return out, nil
}

// Await waits until an expression has an answer, and returns it.
func (p *Prom) Await(t testing.TB, expr string, limit time.Duration) (out []Sample) {
	t.Helper()
	p.until(t, expr, limit, func() (string, bool) {
		var err error
		if out, err = p.Query(expr); err != nil {
			return err.Error(), false
		}
		return "no series", len(out) > 0
	})
	return out
}

// until looks until what is awaited is so.
func (p *Prom) until(t testing.TB, what string, limit time.Duration, so func() (string, bool)) {
	t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		last, ok := so()
		if ok {
			return
		}
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("prometheus: %s: not within %s, but: %s", what, limit, last)
		}
	}
}
