package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
)

// outcome is how a run ended, from its journal.
type outcome struct {
	code   int
	status rack.Status
	err    error    // why the agent could not go on; nil when the run ended by itself
	last   []string // the last lines that people read
	run    *rack.Run
}

// exit is how the process ends. Trouble with showing or writing down a run does
// not hide how the run itself ended.
func (o outcome) exit(trouble error) error {
	code := o.code
	if code == exitReady {
		if trouble == nil {
			return nil
		}
		code = exitError
	}
	return &exit{code, errors.Join(o.err, trouble)}
}

// logLimit is more events than any run of one rack writes.
const logLimit = 1 << 24

// adviser says what to do next after each way in which a run can end.
type adviser struct {
	unfinished string // the agent could not go on
	halted     func(run *rack.Run, by string) string
	operator   string // an operator halted it
	only       string // a part of it was asked for
	partial    string // servers failed
	ordered    string // it had ended before something was ordered
	rack       string // named in commands; empty: there is only one
}

// in is the same where there are other racks: its commands name this one.
func (a adviser) in(rack string) adviser {
	a.rack = rack
	return a
}

var demoAdvice = adviser{
	unfinished: "run the same command again; a simulated rack starts over",
	halted: func(_ *rack.Run, by string) string {
		return fmt.Sprintf("mend %s; nothing behind it was touched that was not in flight. Then run the same command again", by)
	},
	partial: "mend what is named above, then run the same command again",
}

// outcome reads the journal once more, from its beginning.
func (s *imaging) outcome(advice adviser, runErr error) outcome {
	run := rack.NewRun(s.rack, s.platforms)
	run.Salvaged = s.salvaged
	o := outcome{code: exitError, run: run}
	events, err := s.log.Read(1, logLimit)
	if err != nil {
		o.err = errors.Join(runErr, err)
		return o
	}
	found := findings{}
	for _, e := range events {
		run.Apply(e)
		found.apply(e)
	}
	o.status, o.err = run.Status, runErr
	o.tell(s.rack, advice, runErr)
	if run.SignedBy == rack.Nobody {
		o.last = append(o.last, "  finding: "+rack.BundleSentence(run.Bundle, run.SignedBy))
	}
	for i := range s.rack.Devices {
		for _, f := range found.of(s.rack.Devices[i].Name) {
			o.last = append(o.last, fmt.Sprintf("  finding: %s: %s", s.rack.Devices[i].Name, f))
		}
	}
	return o
}

// tell finds the words and the exit code for how a run ended.
func (o *outcome) tell(r *rack.Rack, advice adviser, runErr error) {
	run := o.run
	ready, failed := run.Tally()
	skipped := 0
	for i := range r.Devices {
		if run.Device(r.Devices[i].Name).Status == rack.Skipped {
			skipped++
		}
	}
	say := func(format string, a ...any) { o.last = append(o.last, fmt.Sprintf(format, a...)) }
	next := func(what string) {
		if what != "" {
			say("  next: %s", named(advice.rack, what))
		}
	}
	switch {
	case runErr != nil:
		o.code = stateError(runErr).code
		say("%s: not finished: %d of %d devices are ready", r.Name, ready, len(r.Devices))
		next(advice.unfinished)
	case run.Status == rack.Halted && run.Blamed == "" && len(run.Only) > 0 && run.Cause == "":
		o.code = exitReady
		for _, n := range run.Only {
			if run.Device(n).Status != rack.Ready {
				o.code = exitPartial
			}
		}
		say("%s: only %s was asked for, %d of %d devices are ready", r.Name, strings.Join(run.Only, ", "), ready, len(r.Devices))
		o.last = append(o.last, failures(r, run)...)
		next(advice.only)
	case run.Status == rack.Halted && run.HaltedBy != "":
		say("%s: %s; %d of %d devices are ready", r.Name, run.Cause, ready, len(r.Devices))
		next(advice.operator)
	case run.Status == rack.Halted:
		o.code = exitHalted
		by := run.Blamed
		if by == "" {
			by = "rackreach itself" // its RackSupervisor crashed
		}
		say("%s: halted by %s, %d of %d devices are ready", r.Name, by, ready, len(r.Devices))
		say("  why: %s", run.Cause)
		next(advice.halted(run, by))
	case run.Status != rack.Completed:
		o.err = fmt.Errorf("the run of rack %s ended in state %s, which is a bug in rackreach", r.Name, run.Status)
	case !run.Ended():
		// Ordered after its end: it is no more than what was imaged then.
		say("%s: completed before, and work was ordered since: %d of %d devices are ready", r.Name, ready, len(r.Devices))
		next(advice.ordered)
	case failed > 0 || skipped > 0:
		o.code = exitPartial
		what := fmt.Sprintf("failed servers (%d)", failed)
		if skipped > 0 {
			what = fmt.Sprintf("failed (%d) and skipped (%d) servers", failed, skipped)
		}
		if failed == 0 {
			what = fmt.Sprintf("skipped servers (%d)", skipped)
		}
		say("%s: completed with %s, %d of %d devices are ready", r.Name, what, ready, len(r.Devices))
		o.last = append(o.last, failures(r, run)...)
		next(advice.partial)
	default:
		o.code = exitReady
		say("%s: completed, all %d devices are ready", r.Name, ready)
	}
}

func failures(r *rack.Rack, run *rack.Run) (out []string) {
	for i := range r.Devices {
		switch d := run.Device(r.Devices[i].Name); d.Status {
		case rack.Failed:
			out = append(out, fmt.Sprintf("  %s failed: %s", r.Devices[i].Name, d.Error))
		case rack.Skipped:
			out = append(out, fmt.Sprintf("  %s is %s", r.Devices[i].Name, d.Ordered))
		}
	}
	return out
}

// report is the summary of a run that --report writes.
type report struct {
	Rack            string         `json:"rack"`
	Run             string         `json:"run"`
	PlanHash        string         `json:"planHash"`
	Seed            uint64         `json:"seed"`
	Speed           float64        `json:"speed"`
	Status          rack.Status    `json:"status"`
	ExitCode        int            `json:"exitCode"`
	Cause           string         `json:"cause,omitempty"`
	StoppedBy       string         `json:"stoppedBy,omitempty"`
	Error           string         `json:"error,omitempty"`
	Began           time.Time      `json:"began"`
	DurationSeconds float64        `json:"durationSeconds"`
	Devices         []reportDevice `json:"devices"`
}

type reportDevice struct {
	Device string                 `json:"device"`
	Role   rack.Role              `json:"role"`
	Status rack.DeviceStatus      `json:"status"`
	Error  string                 `json:"error,omitempty"`
	Phases map[rack.Phase]float64 `json:"phaseSeconds"` // of completed phases
}

func (d *demo) writeReport(s *imaging, o outcome, began time.Time) error {
	if d.report == "" {
		return nil
	}
	r := report{Rack: s.rack.Name, Run: o.run.ID, PlanHash: s.plan.Hash, Seed: d.seed, Speed: d.speed, Status: o.status, ExitCode: o.code,
		Cause: o.run.Cause, StoppedBy: o.run.Blamed, Began: began.UTC(), DurationSeconds: time.Since(began).Seconds(), Devices: []reportDevice{}}
	if o.err != nil {
		r.Error = o.err.Error()
	}
	phases, err := phaseSeconds(s.log)
	if err != nil {
		return err
	}
	for i := range s.rack.Devices {
		dev := &s.rack.Devices[i]
		st := o.run.Device(dev.Name)
		r.Devices = append(r.Devices, reportDevice{Device: dev.Name, Role: dev.Role, Status: st.Status, Error: st.Error, Phases: phases[dev.Name]})
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if _, err := s.report.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write the report: %w: make room and run again", err)
	}
	return nil
}

// phaseSeconds is how long each completed phase of each device took.
func phaseSeconds(log journal.Log) (map[string]map[rack.Phase]float64, error) {
	events, err := log.Read(1, logLimit)
	if err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	out, began := map[string]map[rack.Phase]float64{}, map[string]time.Time{}
	for _, e := range events {
		switch e.Kind {
		case rack.PhaseStarted:
			began[e.Device] = e.Time
		case rack.PhaseCompleted:
			if out[e.Device] == nil {
				out[e.Device] = map[rack.Phase]float64{}
			}
			out[e.Device][e.Phase] = e.Time.Sub(began[e.Device]).Seconds()
		}
	}
	return out, nil
}
