package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/examples"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/simimage"
)

// Bounds of --speed.
const minSpeed, maxSpeed = 1, 10000

// stepFloor is the least time that a step is given at any speed: the machine that
// simulates a rack does not become faster. Tests that share a machine give more.
var stepFloor = 10 * time.Second

// Real-life values that --speed divides.
const (
	discoveryLimit = 10 * time.Minute
	scanEvery      = 30 * time.Second
	scanFloor      = 250 * time.Millisecond
	pollFloor      = 20 * time.Millisecond
	settleFloor    = 2 * time.Second
)

// demo is one simulated run, as the flags ask for it.
type demo struct {
	file    string
	faults  []string
	speed   float64
	json    bool
	report  string
	record  string
	metrics string
	state   string
	seed    uint64
	env     func(string) (string, bool)
	stepMin time.Duration
}

func newDemo(env func(string) (string, bool)) *cobra.Command {
	d := demo{env: env, stepMin: stepFloor}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Image a simulated rack over real protocols on loopback",
		Long: `Image a simulated rack: its devices are real clients of DHCP, TFTP, HTTP and IPMI
on loopback sockets, behind simulated switches that forward nothing until they
run the image and the configuration that they were given.

A fault is DEVICE:PHASE:KIND[:COUNT]. Phases: discovery, installation,
configuration. Kinds: error, hang, corrupt-image, no-dhcp, bmc-dead, bmc-idle,
override-lost, override-ignored, silent, login-refused, no-boot-file, lie, panic.
COUNT is how often it happens; without it, the device never recovers. A device
that hangs while it may be writing is waited for and then given up, whatever the
COUNT: it is never power-cycled on a guess.`,
		Example: `  rackreach demo
  rackreach demo --rack examples/rack-2.yaml --speed 200
  rackreach demo --fault tor-1:installation:error
  rackreach demo --fault server-02:installation:error:2 --json`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.file, "rack", "", "rack file (default: the built-in examples/rack-1.yaml)")
	f.StringArrayVar(&d.faults, "fault", nil, "DEVICE:PHASE:KIND[:COUNT]; may be given more than once")
	f.Float64Var(&d.speed, "speed", 60, "how many times faster than real devices the simulated ones are")
	f.BoolVar(&d.json, "json", false, "print every event as one line of JSON")
	f.StringVar(&d.report, "report", "", "write a summary of the run to this file, as JSON")
	f.StringVar(&d.record, "record", "", "write what the simulated rack itself saw to this file, as lines of JSON")
	f.StringVar(&d.state, "state", "", "keep the journal of the run in this new directory (default: in memory)")
	f.StringVar(&d.metrics, "metrics-listen", "127.0.0.1:0", "serve Prometheus metrics on this loopback address")
	f.Uint64Var(&d.seed, "seed", 0, "seed of the simulated durations (default: a new one, printed)")
	return cmd
}

func (d *demo) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	r, known, faults, err := d.input()
	if err != nil {
		return err
	}
	s, simulated, err := d.open(r, known, faults, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.openOutputs(d); err != nil {
		return err
	}
	s.preamble = []string{
		fmt.Sprintf("rack %s, %d devices, plan %s, simulated at %gx, seed %d", r.Name, len(r.Devices), s.plan.Hash, d.speed, d.seed),
		"metrics: " + s.url, "",
	}
	began := time.Now()
	o, trouble := s.image(ctx, newView(d.json, terminal{out: stdout, notes: stderr, env: d.env}, r, s.platforms, s.agent.Transferred, 0), demoAdvice, simulated.Start)
	return o.exit(errors.Join(trouble, d.writeReport(s, o, began), s.close()))
}

// input reads and checks everything that the flags name. All of its errors are
// bad input.
func (d *demo) input() (*rack.Rack, map[string]rack.Platform, []sim.Fault, error) {
	if err := checkSpeed(d.speed); err != nil {
		return nil, nil, nil, err
	}
	set, err := platformsOf(d.env)
	if err != nil {
		return nil, nil, nil, err
	}
	known := set.Platforms()
	r, err := d.load(known)
	if err != nil {
		return nil, nil, nil, err
	}
	faults, err := parseFaults(d.faults, r)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := checkProtected(r); err != nil {
		return nil, nil, nil, err
	}
	if err := checkMetricsListen(d.metrics); err != nil {
		return nil, nil, nil, err
	}
	if d.seed == 0 {
		d.seed = rand.Uint64()
	}
	return r, known, faults, nil
}

// checkSpeed checks a --speed.
func checkSpeed(speed float64) error {
	if !(speed >= minSpeed && speed <= maxSpeed) {
		return badInput(fmt.Errorf("--speed %g is out of range: write a number from %d to %d", speed, minSpeed, maxSpeed))
	}
	return nil
}

// parseFaults reads the values of --fault and checks that they can happen in a
// rack.
func parseFaults(texts []string, r *rack.Rack) ([]sim.Fault, error) {
	var faults []sim.Fault
	for _, text := range texts {
		f, err := sim.ParseFault(text)
		if err != nil {
			return nil, badInput(err)
		}
		faults = append(faults, f)
	}
	if err := sim.CheckFaults(faults, r); err != nil {
		return nil, badInput(err)
	}
	return faults, nil
}

func (d *demo) load(known map[string]rack.Platform) (*rack.Rack, error) {
	if d.file != "" {
		return load(d.file, known)
	}
	const name = "rack-1.yaml"
	data, err := examples.Files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the built-in example: %w", err)
	}
	r, err := rackfile.Parse("examples/"+name, data, examples.Files.ReadFile, known)
	if err != nil {
		return nil, badInput(err)
	}
	return r, nil
}

// open builds the simulated rack and the agent that images it.
func (d *demo) open(r *rack.Rack, known map[string]rack.Platform, faults []sim.Fault, notes io.Writer) (s *imaging, simulated *sim.Sim, err error) {
	platforms := platform.Scaled(known, d.speed, d.stepMin)
	s = &imaging{rack: r, platforms: platforms, real: known}
	if s.log, err = openState(d.state, r.Name); err != nil {
		return s, nil, err
	}
	s.closers = append(s.closers, s.log.Close, s.record.Close, s.report.Close)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	var images *simimage.Store
	if s.plan, images, err = planned(r, known); err != nil {
		return s, nil, err
	}
	simulated, err = sim.New(sim.Options{Rack: r, Platforms: platforms, Speed: d.speed, Faults: faults, Record: &s.record, Seed: d.seed, User: simUser, Password: simPassword})
	if err != nil {
		return s, nil, fmt.Errorf("build the simulated rack: %w", err)
	}
	s.closers = append(s.closers, simulated.Close)
	g := onSimulation(simulated, d.speed, d.stepMin, simUser, simPassword, func(_ context.Context, v sim.Services) error {
		v.DHCP = simulated.DHCPConn().LocalAddr()
		simulated.Connect(v)
		return nil
	})
	err = s.plug(context.Background(), g, rackagent.Options{Images: images, Inject: injector(faults)}, notes, d.metrics)
	return s, simulated, err
}

func scaled(real time.Duration, speed float64, floor time.Duration) time.Duration {
	return max(time.Duration(float64(real)/speed), floor)
}

// openOutputs opens the files that the flags name, before anything is begun.
func (s *imaging) openOutputs(d *demo) error {
	if err := openOutput(&s.record, "--record", d.record, d.file); err != nil {
		return err
	}
	return openOutput(&s.report, "--report", d.report, d.file)
}

// openOutput opens the file that a flag names, if it names one.
func openOutput(to *output, flag, path, rackFile string) error {
	if path == "" {
		return nil
	}
	if same(path, rackFile) {
		return badInput(fmt.Errorf("%s %s is the rack file: name another file", flag, path))
	}
	f, err := os.Create(path)
	if err != nil {
		return badInput(fmt.Errorf("%s: %w: name a file in a directory that you may write to", flag, err))
	}
	to.File = f
	return nil
}

// same reports whether two paths name one existing file.
func same(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// output is a file that may not have been asked for; then it takes everything
// and keeps nothing.
type output struct{ *os.File }

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	if o.File == nil {
		return len(b), nil
	}
	return o.File.Write(b)
}

// Close closes the file, if there is one. It may be called again.
func (o *output) Close() error {
	if o.File == nil {
		return nil
	}
	f := o.File
	o.File = nil
	return f.Close()
}

// injector makes the panics that faults of the kind "panic" ask for: inside the
// device's actor, through a nil pointer, as a bug would.
func injector(faults []sim.Fault) func(string, rack.Phase) {
	type key struct {
		device string
		phase  rack.Phase
	}
	left := newCounts[key]()
	for _, f := range faults {
		if f.Kind == sim.FaultPanic {
			count := f.Count
			if count == 0 {
				count = forever
			}
			left.set(key{f.Device, f.Phase}, count)
		}
	}
	return func(device string, phase rack.Phase) {
		if left.take(key{device, phase}) {
			var driver *rack.Machine
			driver.Finished()
		}
	}
}
