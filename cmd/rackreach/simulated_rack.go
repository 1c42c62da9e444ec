package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
)

// What the BMCs of simulated racks accept.
const simUser, simPassword = "admin", "simulated"

// simulatedRack is a rack in a process of its own, as the flags ask for it.
type simulatedRack struct {
	file    string
	faults  []string
	foreign []string
	speed   float64
	seed    uint64
	record  string
	socket  string
	state   string
	env     func(string) (string, bool)
}

func newSimulatedRack(env func(string) (string, bool)) *cobra.Command {
	s := simulatedRack{env: env}
	cmd := &cobra.Command{
		Use:   "simulated-rack FILE",
		Short: "Run a simulated rack in a process of its own",
		Long: `Run a simulated rack until it is interrupted: the devices of the rack file as real
clients of DHCP, TFTP, HTTP and IPMI on loopback sockets. An agent joins it through
a unix socket. The devices live on when the agent is killed, and go on with the
next one.

Faults are those of demo, but for panic, which happens in the agent. --foreign puts
data on a disk that nobody here wrote: its installer refuses to overwrite it unless
its job names it.`,
		Example: `  rackreach simulated-rack examples/rack-1.yaml
  rackreach simulated-rack examples/rack-1.yaml --speed 200 --socket /tmp/r1.sock
  rackreach simulated-rack examples/rack-1.yaml --fault tor-1:installation:error:1
  rackreach simulated-rack examples/rack-1.yaml --foreign server-03=ext4`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			s.file = given[0]
			return s.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.faults, "fault", nil, "DEVICE:PHASE:KIND[:COUNT]; may be given more than once")
	f.StringArrayVar(&s.foreign, "foreign", nil, "DEVICE=TEXT: foreign data on its disk; may be given more than once")
	f.Float64Var(&s.speed, "speed", 60, "how many times faster than real devices the simulated ones are")
	f.Uint64Var(&s.seed, "seed", 0, "seed of the simulated durations (default: a new one, printed)")
	f.StringVar(&s.record, "record", "", "write what the rack itself saw to this file, as lines of JSON")
	stateFlag(f, &s.state)
	f.StringVar(&s.socket, "socket", "", "unix socket that agents join through (default: simulated/RACK.sock in the state directory)")
	return cmd
}

func (s *simulatedRack) run(ctx context.Context, stdout io.Writer) (err error) {
	r, faults, holds, err := s.input()
	if err != nil {
		return err
	}
	// The socket first: who does not get it must not touch the record of who has.
	l, err := sim.Listen(ctx, s.socket)
	if err != nil {
		return badInput(fmt.Errorf("--socket: %w", err))
	}
	var record output
	defer func() { err = errors.Join(err, record.Close()) }()
	if err := openOutput(&record, "--record", s.record, s.file); err != nil {
		return errors.Join(err, l.Close())
	}
	rackSim, err := sim.New(sim.Options{Rack: r, Platforms: platform.All(), Speed: s.speed, Faults: faults, Holds: holds, Record: &record, Seed: s.seed, User: simUser, Password: simPassword})
	if err != nil {
		return errors.Join(fmt.Errorf("build the simulated rack: %w", err), l.Close())
	}
	defer func() { err = errors.Join(err, rackSim.Close()) }()
	p := printer{w: stdout}
	p.line("simulated rack %s, %d devices, at %gx, seed %d, serving at %s", r.Name, len(r.Devices), s.speed, s.seed, s.socket)
	if p.err != nil {
		return errors.Join(p.err, l.Close())
	}
	rackSim.Start(ctx)
	return rackSim.Serve(ctx, l)
}

// input reads and checks everything that the flags name. All of its errors are
// bad input.
func (s *simulatedRack) input() (*rack.Rack, []sim.Fault, map[string]string, error) {
	if err := checkSpeed(s.speed); err != nil {
		return nil, nil, nil, err
	}
	r, err := load(s.file)
	if err != nil {
		return nil, nil, nil, err
	}
	faults, err := parseFaults(s.faults, r)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, f := range faults {
		if f.Kind == sim.FaultPanic {
			return nil, nil, nil, badInput(fmt.Errorf("fault %s: a panic happens in the agent, not in a device: give it to the command that runs the agent, such as demo", f))
		}
	}
	holds, err := parseForeign(s.foreign, r)
	if err != nil {
		return nil, nil, nil, err
	}
	if s.socket == "" {
		home, err := homeOf(s.state, s.env)
		if err != nil {
			return nil, nil, nil, badInput(fmt.Errorf("%w, or name a --socket", err))
		}
		s.socket = home.Simulated(r.Name)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	return r, faults, holds, nil
}

// parseForeign reads the values of --foreign and checks that a rack can hold them.
func parseForeign(texts []string, r *rack.Rack) (map[string]string, error) {
	holds := map[string]string{}
	for _, text := range texts {
		device, held, ok := strings.Cut(text, "=")
		if !ok {
			return nil, badInput(fmt.Errorf("--foreign %q: write DEVICE=TEXT, such as server-03=ext4", text))
		}
		if before, twice := holds[device]; twice {
			return nil, badInput(fmt.Errorf("--foreign %q: the disk of %s holds %q already: name each device once", text, device, before))
		}
		holds[device] = held
	}
	if err := sim.CheckHolds(holds, r, platform.All()); err != nil {
		return nil, badInput(err)
	}
	return holds, nil
}
