//go:build lab

package lab

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tell says all that is known, when a test has failed.
func (r *labRack) tell() {
	for _, q := range [][]string{{"status", r.name}, {"timeline", r.name}} {
		out, _ := r.ask(q...)
		r.t.Logf("%s:\n%s", strings.Join(q, " "), out)
	}
	for name, n := range r.nodes {
		if text := n.text(); text != "" {
			r.t.Logf("the console of %s ends:\n%s", name, text[max(0, len(text)-3000):])
		}
		if b, err := os.ReadFile(filepath.Join(n.dir, "qemu")); err == nil && len(b) > 0 {
			r.t.Logf("QEMU of %s: %s", name, b)
		}
	}
	for _, n := range r.notes {
		r.t.Logf("%6.1f s  %s: %s", n.At.Sub(r.began).Seconds(), n.Who, n.What)
	}
}

// report copies what a run left into a folder: consoles, recordings, what the product says
// of the run, and a summary for programs.
func (r *labRack) report(to string) {
	if err := os.MkdirAll(to, 0o755); err != nil {
		r.t.Error(err)
		return
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			r.t.Error(err)
		}
	}
	for name, n := range r.nodes {
		if b, err := os.ReadFile(n.console()); err == nil {
			write(name+".console", b)
		}
	}
	for _, q := range []string{"events", "timeline", "verify", "status"} {
		out, _ := r.ask(q, r.name)
		write(q+".txt", []byte(out))
	}
	r.mu.Lock()
	notes := slices.Clone(r.notes)
	r.mu.Unlock()
	var b bytes.Buffer
	for _, n := range notes {
		j, err := json.Marshal(n)
		if err != nil {
			r.t.Error(err)
		}
		b.Write(append(j, '\n'))
	}
	write("machines.jsonl", b.Bytes())
	if out, code := r.ask("events", r.name, "--json"); code == 0 {
		write("events.jsonl", []byte(out))
		j, err := json.MarshalIndent(summarize(parseEvents(out)), "", "  ")
		if err != nil {
			r.t.Error(err)
		}
		write("summary.json", append(j, '\n'))
	}
	if out, err := exec.Command("cp", "-r", filepath.Join(r.dir, "pcap"), to).CombinedOutput(); err != nil {
		r.t.Errorf("%v: %s", err, out)
	}
}

// summary is a run in numbers; times are seconds after its begin.
type summary struct {
	Seconds float64             `json:"seconds"`
	Ready   map[string]float64  `json:"ready"`  // by device
	Failed  map[string]float64  `json:"failed"` // by device
	Steps   map[string][]taking `json:"steps"`  // by device, in their order, each attempt
}

type taking struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
	Failed  bool    `json:"failed,omitempty"`
}

func summarize(events []event) summary {
	out := summary{Ready: map[string]float64{}, Failed: map[string]float64{}, Steps: map[string][]taking{}}
	if len(events) == 0 {
		return out
	}
	since := func(e event) float64 { return e.Time.Sub(events[0].Time).Seconds() }
	began := map[string]event{}
	for _, e := range events {
		out.Seconds = since(e)
		switch e.Event {
		case "device-ready":
			out.Ready[e.Device] = since(e)
		case "device-failed":
			out.Failed[e.Device] = since(e)
		case "step-started":
			began[e.Device] = e
		case "step-completed", "step-failed":
			if b := began[e.Device]; b.Detail.Step == e.Detail.Step {
				out.Steps[e.Device] = append(out.Steps[e.Device], taking{e.Detail.Step, e.Time.Sub(b.Time).Seconds(), e.Event == "step-failed"})
			}
		}
	}
	return out
}
