//go:build lab

package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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

// reportFolder is where the report of this rack goes; without LAB_REPORT it is made and
// judged all the same, and goes with the test.
func (r *labRack) reportFolder() string {
	to := os.Getenv("LAB_REPORT")
	if to == "" {
		to = filepath.Join(r.dir, "report")
	}
	return filepath.Join(to, filepath.Base(r.t.Name()), r.folder)
}

// report leaves what a run left in a folder, which held that of an earlier run: consoles,
// recordings, what the product says of the run, and a summary for programs. The first call
// counts.
func (r *labRack) report() { r.reported.Do(func() { r.writeReport(r.reportFolder()) }) }

func (r *labRack) writeReport(to string) {
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(filepath.Join(to, "segments"), 0o755)); err != nil {
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
	if b, err := os.ReadFile(r.heard); err != nil {
		r.t.Error(err)
	} else {
		write(agentSegment, b)
	}
	cables, err := r.cableRecords()
	for _, c := range cables {
		err = errors.Join(err, c.merge(filepath.Join(to, "segments", c.name+".pcapng")))
	}
	if err != nil {
		r.t.Error(err)
	}
}

// agentSegment is the recording of the segment that the agent's cable leads to.
const agentSegment = "segments/agent.pcap"

// judgeReport holds that the report of a rack whose devices are all ready is there, and says
// what it should.
func (r *labRack) judgeReport() {
	r.t.Helper()
	r.report()
	cables, err := r.cableRecords()
	if err := errors.Join(err, reportIsWhole(r.reportFolder(), r.devices(), cables)); err != nil {
		r.t.Errorf("the report: %v", err)
	}
}

// reportIsWhole fails with all that is missing in a report.
func reportIsWhole(dir string, devices []string, cables []cableRecord) (err error) {
	holds := func(name string, words ...string) {
		b, e := os.ReadFile(filepath.Join(dir, name))
		if err = errors.Join(err, e); e != nil {
			return
		}
		for _, w := range words {
			if !strings.Contains(string(b), w) {
				err = errors.Join(err, fmt.Errorf("%s does not say %q", name, w))
			}
		}
	}
	holds("status.txt", "completed")
	holds("verify.txt", slices.Concat([]string{"all switches were ready at event "}, devices)...)
	holds("timeline.txt", devices...)
	holds("events.txt", devices...)
	holds("events.jsonl", `"rack-completed"`)
	holds("machines.jsonl", devices...)
	for _, d := range devices {
		holds(d+".console", "LAB ")
	}
	ended := map[string]int{}
	if b, e := os.ReadFile(filepath.Join(dir, "events.jsonl")); e == nil {
		for _, x := range parseEvents(string(b)) {
			if x.Event == "step-completed" || x.Event == "step-failed" {
				ended[x.Device]++
			}
		}
	}
	b, e := os.ReadFile(filepath.Join(dir, "summary.json"))
	var s summary
	if e == nil {
		e = json.Unmarshal(b, &s)
	}
	err = errors.Join(err, e)
	for _, d := range devices {
		if at := s.Ready[d]; at <= 0 || at > s.Seconds {
			err = errors.Join(err, fmt.Errorf("summary.json: %s was ready after %g s of %g s", d, at, s.Seconds))
		}
		took := 0.0
		for _, t := range s.Steps[d] {
			took += t.Seconds
		}
		if n := len(s.Steps[d]); n != ended[d] {
			err = errors.Join(err, fmt.Errorf("summary.json: %d steps of %s, and the journal has the ends of %d", n, d, ended[d]))
		}
		if took <= 0 || took > s.Seconds {
			err = errors.Join(err, fmt.Errorf("summary.json: the %d steps of %s took %g s of %g s", len(s.Steps[d]), d, took, s.Seconds))
		}
	}
	seen, e := sightings(filepath.Join(dir, agentSegment))
	if err = errors.Join(err, e); e == nil && len(seen) < 3 {
		err = errors.Join(err, fmt.Errorf("%s has frames of %d senders: an agent, a switch and its BMC are 3", agentSegment, len(seen)))
	}
	for _, c := range cables {
		frames, e := readSegment(filepath.Join(dir, "segments", c.name+".pcapng"))
		err = errors.Join(err, e)
		for _, end := range c.ends {
			if e == nil && frames[end.port] == 0 {
				err = errors.Join(err, fmt.Errorf("the recording of %s has no frame at %s", c.name, end.port))
			}
		}
	}
	return err
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
