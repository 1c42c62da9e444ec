package main

import (
	"encoding/json"
	"errors"
	"fmt"
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

// outcomeOf reads the journal once more, from its beginning.
func outcomeOf(s *simulation, platforms map[string]rack.Platform, runErr error) outcome {
	run := rack.NewRun(s.rack, platforms)
	o := outcome{code: exitError, run: run}
	events, err := s.log.Read(1, logLimit)
	if err != nil {
		o.err = err
		return o
	}
	var findings []string
	for _, e := range events {
		run.Apply(e)
		if e.Kind == rack.DeviceFinding {
			findings = append(findings, fmt.Sprintf("%s: %s", e.Device, e.Detail.Reason))
		}
	}
	o.status, o.err = run.Status, runErr
	ready, failed := run.Tally()
	switch {
	case runErr != nil:
		o.last = append(o.last, fmt.Sprintf("%s: not finished: %d of %d devices are ready", s.rack.Name, ready, len(s.rack.Devices)),
			"  next: run the same command again; a simulated rack starts over")
	case run.Status == rack.Halted:
		o.code = exitHalted
		by := run.Blamed
		if by == "" {
			by = "rackreach itself" // its RackSupervisor crashed
		}
		o.last = append(o.last, fmt.Sprintf("%s: halted by %s, %d of %d devices are ready", s.rack.Name, by, ready, len(s.rack.Devices)),
			"  why: "+run.Cause,
			fmt.Sprintf("  next: mend %s; nothing behind it was touched that was not in flight. Then run the same command again", by))
	case run.Status != rack.Completed:
		o.err = fmt.Errorf("the run of rack %s ended in state %s, which is a bug in rackreach", s.rack.Name, run.Status)
	case failed > 0:
		o.code = exitPartial
		o.last = append(o.last, fmt.Sprintf("%s: completed with failed servers (%d), %d of %d devices are ready", s.rack.Name, failed, ready, len(s.rack.Devices)))
		o.last = append(o.last, failures(s.rack, run)...)
		o.last = append(o.last, "  next: mend what is named above, then run the same command again")
	default:
		o.code = exitReady
		o.last = append(o.last, fmt.Sprintf("%s: completed, all %d devices are ready", s.rack.Name, ready))
	}
	for _, f := range findings {
		o.last = append(o.last, "  finding: "+f)
	}
	return o
}

func failures(r *rack.Rack, run *rack.Run) (out []string) {
	for i := range r.Devices {
		if d := run.Device(r.Devices[i].Name); d.Status == rack.Failed {
			out = append(out, fmt.Sprintf("  %s failed: %s", r.Devices[i].Name, d.Error))
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

func (d *demo) writeReport(s *simulation, o outcome, began time.Time) error {
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
