package simulate

import (
	"cmp"
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Result is what the racks of a simulation came to. Its JSON holds whole
// numbers and text only: the same options give the same bytes.
type Result struct {
	Rack   string `json:"rack"`
	Racks  int    `json:"racks"`
	Seed   uint64 `json:"seed"`
	Faults string `json:"faults"`

	AllReady   int `json:"allReady"`          // racks that completed, every device ready
	WithFailed int `json:"withFailedServers"` // racks that completed without some of their servers
	Halted     int `json:"halted"`            // racks that a switch stopped
	Unfinished int `json:"unfinished"`        // racks in which nothing happened any more; a mistake in a platform
	Findings   int `json:"findings"`          // cables of ready servers that nothing was heard through, by server

	Makespan     Spread     `json:"makespan"` // of the racks that completed
	Failures     []Failure  `json:"failures"`
	CriticalPath []Critical `json:"criticalPath"`
	Steps        []StepTime `json:"steps"`
	Phases       []Phase    `json:"phases"`
}

// Failure is what one cause did, over all racks; the worst come first.
type Failure struct {
	Cause
	Attempts int `json:"attempts"` // attempts that it ended
	Devices  int `json:"devices"`  // devices that it cost
	Halts    int `json:"halts"`    // racks that it stopped
}

// Critical is a step that decided the time of racks: it lay on the chain from
// the start of the rack to the device that was done last.
type Critical struct {
	Key
	Share int   `json:"sharePermille"` // of the racks that completed
	Mean  int64 `json:"meanMs"`        // its part of the time of those racks
}

// StepTime is how long completed attempts of a step took.
type StepTime struct {
	Key
	Spread
}

// Phase is how long a phase of a role took, with its retries and with the time
// in which a device was held.
type Phase struct {
	Role  rack.Role  `json:"role"`
	Phase rack.Phase `json:"phase"`
	Spread
}

// Usual is how long completed attempts of a step took, for "slower than usual";
// false when none was completed.
func (r *Result) Usual(role rack.Role, step string) (p50, p90 time.Duration, ok bool) {
	for i := range r.Steps {
		if s := &r.Steps[i]; s.Key == (Key{role, step}) && s.Samples > 0 {
			return time.Duration(s.P50) * time.Millisecond, time.Duration(s.P90) * time.Millisecond, true
		}
	}
	return 0, 0, false
}

// outcome is what is kept of one simulated rack.
type outcome struct {
	status   rack.Status
	failed   int
	took     time.Duration
	findings int
	failures map[Cause]tally
	path     map[int]time.Duration
	steps    []sample
	phases   []sample
	settled  []time.Duration // by device; forecasts only
}

func (s *simulation) outcome() outcome {
	_, failed := s.run.Tally()
	o := outcome{status: s.run.Status, failed: failed, took: s.now, findings: s.trace.findings,
		failures: s.trace.failures, steps: s.trace.steps, phases: s.trace.phases}
	if o.status == rack.Completed {
		o.path = s.trace.criticalPath(s.setup)
	}
	return o
}

// sum puts the outcomes together, in the order of the racks.
func (s *setup) sum(outcomes []outcome) *Result {
	r := &Result{Rack: s.o.Rack.Name, Racks: len(outcomes), Seed: s.o.Seed, Faults: s.o.Faults.Name}
	var makespan []time.Duration
	failures := trace{failures: map[Cause]tally{}}
	steps := make([][]time.Duration, len(s.keys))
	phases := make([][]time.Duration, len(rack.Roles())*len(rack.Phases()))
	onPath, pathTime := make([]int, len(s.keys)), make([]time.Duration, len(s.keys))
	for i := range outcomes {
		o := &outcomes[i]
		r.Findings += o.findings
		switch {
		case o.status == rack.Halted:
			r.Halted++
		case o.status != rack.Completed:
			r.Unfinished++
		case o.failed > 0:
			r.WithFailed++
		default:
			r.AllReady++
		}
		if o.status == rack.Completed {
			makespan = append(makespan, o.took)
		}
		for c, n := range o.failures {
			failures.count(c, n)
		}
		for k, took := range o.path {
			if took > 0 {
				onPath[k]++
				pathTime[k] += took
			}
		}
		for _, x := range o.steps {
			steps[x.what] = append(steps[x.what], x.took)
		}
		for _, x := range o.phases {
			phases[x.what] = append(phases[x.what], x.took)
		}
	}
	r.Makespan = spread(makespan)
	r.Failures = sortedFailures(failures.failures)
	r.CriticalPath = []Critical{}
	for k, n := range onPath {
		if n > 0 {
			r.CriticalPath = append(r.CriticalPath, Critical{s.keys[k], n * 1000 / len(makespan), (pathTime[k] / time.Duration(n)).Milliseconds()})
		}
	}
	r.Steps, r.Phases = []StepTime{}, []Phase{}
	for k := range steps {
		if len(steps[k]) > 0 {
			r.Steps = append(r.Steps, StepTime{s.keys[k], spread(steps[k])})
		}
	}
	for k := range phases {
		if len(phases[k]) > 0 {
			n := len(rack.Phases())
			r.Phases = append(r.Phases, Phase{rack.Roles()[k/n], rack.Phases()[k%n], spread(phases[k])})
		}
	}
	return r
}

func sortedFailures(of map[Cause]tally) []Failure {
	out := make([]Failure, 0, len(of))
	for c, n := range of {
		out = append(out, Failure{c, n.attempts, n.devices, n.halts})
	}
	slices.SortFunc(out, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Halts, a.Halts), cmp.Compare(b.Devices, a.Devices), cmp.Compare(b.Attempts, a.Attempts),
			cmp.Compare(a.Role, b.Role), cmp.Compare(a.Step, b.Step), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}
