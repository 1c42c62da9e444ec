package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/internal/fleet"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
)

// What the devices of simulated racks accept. The password stands nowhere else, so that a
// test may look for it.
const simUser, simPassword = "admin", "Tarn-Kolibri-73"

// simulatedRack is a rack in a process of its own, as the flags ask for it.
type simulatedRack struct {
	file    string
	faults  []string
	foreign []string
	peers   []string
	swaps   []string
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

The racks that its links lead to are looked for at their own sockets, now and
later: the switches at both ends of such a cable then hear each other, whichever
of the two files names it. --swap-links plugs two of these cables the wrong way
round, or two of servers; rackreach simulated-rack swap does that to those of servers
while the rack runs, and takes it back.

Faults are those of demo, but for panic, which happens in the agent. --foreign puts
data on a disk that nobody here wrote: its installer refuses to overwrite it unless
its job names it.`,
		Example: `  rackreach simulated-rack examples/rack-1.yaml
  rackreach simulated-rack examples/rack-1.yaml --speed 200 --socket /tmp/r1.sock
  rackreach simulated-rack examples/rack-1.yaml --fault tor-1:installation:error:1
  rackreach simulated-rack examples/rack-1.yaml --foreign server-03=ext4
  rackreach simulated-rack examples/rack-2.yaml --peer r1=/tmp/r1.sock
  rackreach simulated-rack examples/rack-2.yaml --swap-links inter-rack-1:7=inter-rack-1:8`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			s.file = given[0]
			return s.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&s.faults, "fault", nil, "DEVICE:PHASE:KIND[:COUNT]; may be given more than once")
	f.StringArrayVar(&s.foreign, "foreign", nil, "DEVICE=TEXT: foreign data on its disk; may be given more than once")
	f.StringArrayVar(&s.peers, "peer", nil, "RACK=SOCKET: where another simulated rack serves; may be given more than once (default: simulated/RACK.sock in the state directory)")
	f.StringArrayVar(&s.swaps, "swap-links", nil, "PORT=PORT: two cables to other racks, or of servers, plugged the wrong way round; may be given more than once")
	f.Float64Var(&s.speed, "speed", 60, "how many times faster than real devices the simulated ones are")
	f.Uint64Var(&s.seed, "seed", 0, "seed of the simulated durations (default: a new one, printed)")
	f.StringVar(&s.record, "record", "", "write what the rack itself saw to this file, as lines of JSON")
	stateFlag(f, &s.state)
	f.StringVar(&s.socket, "socket", "", "unix socket that agents join through (default: simulated/RACK.sock in the state directory)")
	cmd.AddCommand(newSwap(env))
	return cmd
}

func newSwap(env func(string) (string, bool)) *cobra.Command {
	var stateDir, socket string
	cmd := &cobra.Command{
		Use:     "swap RACK PORT=PORT",
		Short:   "Plug two data cables of servers of a simulated rack that runs the other way round",
		Example: "  rackreach simulated-rack swap r1 tor-1:1=tor-1:2",
		Args:    args(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			x, err := sim.ParseSwap(given[1])
			if err != nil {
				return badInput(err)
			}
			if socket == "" {
				home, err := homeOf(stateDir, env)
				if err != nil {
					return badInput(fmt.Errorf("%w, or name a --socket", err))
				}
				socket = home.Simulated(given[0])
			}
			if err := sim.SwapAt(cmd.Context(), socket, x); err != nil {
				return badInput(err)
			}
			return printLines(cmd.OutOrStdout(), []string{fmt.Sprintf("the cables at %s and %s are plugged the other way round", x.A, x.B)})
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringVar(&socket, "socket", "", "unix socket of the rack (default: simulated/RACK.sock in the state directory)")
	return cmd
}

func (s *simulatedRack) run(ctx context.Context, stdout io.Writer) (err error) {
	o, err := s.input()
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
	o.Record = &record
	rackSim, err := sim.New(o)
	if err != nil {
		return errors.Join(fmt.Errorf("build the simulated rack: %w", err), l.Close())
	}
	defer func() { err = errors.Join(err, rackSim.Close()) }()
	p := printer{w: stdout}
	p.line("simulated rack %s, %d devices, at %gx, seed %d, serving at %s", o.Rack.Name, len(o.Rack.Devices), s.speed, s.seed, s.socket)
	if p.err != nil {
		return errors.Join(p.err, l.Close())
	}
	rackSim.Start(ctx)
	return rackSim.Serve(ctx, l)
}

// input reads and checks everything that the flags name. All of its errors are
// bad input.
func (s *simulatedRack) input() (o sim.Options, err error) {
	if err := checkSpeed(s.speed); err != nil {
		return o, err
	}
	r, known, err := loadKnown(s.file, s.env)
	if err != nil {
		return o, err
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	o = sim.Options{Rack: r, Platforms: known, Speed: s.speed, Seed: s.seed, User: simUser, Password: simPassword}
	if o.Faults, err = parseFaults(s.faults, r); err != nil {
		return o, err
	}
	for _, f := range o.Faults {
		if f.Kind == sim.FaultPanic {
			return o, badInput(fmt.Errorf("fault %s: a panic happens in the agent, not in a device: give it to the command that runs the agent, such as demo", f))
		}
	}
	if o.Holds, err = parseForeign(s.foreign, r, known); err != nil {
		return o, err
	}
	if o.Swaps, err = parseSwaps(s.swaps, r); err != nil {
		return o, err
	}
	return o, s.sockets(&o)
}

// sockets fills in where the rack serves and where those that its links lead to
// do: in the state directory, unless the flags say otherwise.
func (s *simulatedRack) sockets(o *sim.Options) (err error) {
	if o.Peers, err = parsePeers(s.peers, o.Rack); err != nil {
		return err
	}
	home, err := homeOf(s.state, s.env)
	if s.socket == "" {
		if err != nil {
			return badInput(fmt.Errorf("%w, or name a --socket", err))
		}
		s.socket = home.Simulated(o.Rack.Name)
	}
	for _, to := range fleet.Neighbours(o.Rack) {
		if o.Peers[to] != "" {
			continue
		}
		if err != nil {
			return badInput(fmt.Errorf("%w, or name the socket of rack %s: --peer %s=SOCKET", err, to, to))
		}
		o.Peers[to] = home.Simulated(to)
	}
	return nil
}

// parsePeers reads the values of --peer.
func parsePeers(texts []string, r *rack.Rack) (map[string]string, error) {
	peers := map[string]string{}
	for _, text := range texts {
		name, socket, _ := strings.Cut(text, "=")
		switch {
		case name == "" || socket == "":
			return nil, badInput(fmt.Errorf("--peer %q: write RACK=SOCKET, such as r1=/tmp/r1.sock", text))
		case name == r.Name:
			return nil, badInput(fmt.Errorf("--peer %q: %s is this rack: name another one", text, name))
		case peers[name] != "":
			return nil, badInput(fmt.Errorf("--peer %q: rack %s serves at %s already: name each rack once", text, name, peers[name]))
		}
		peers[name] = socket
	}
	return peers, nil
}

// parseSwaps reads the values of --swap-links and checks that the rack has such cables.
func parseSwaps(texts []string, r *rack.Rack) ([]sim.Swap, error) {
	var swaps []sim.Swap
	for _, text := range texts {
		x, err := sim.ParseSwap(text)
		if err != nil {
			return nil, badInput(err)
		}
		swaps = append(swaps, x)
	}
	if err := sim.CheckSwaps(swaps, r); err != nil {
		return nil, badInput(err)
	}
	return swaps, nil
}

// parseForeign reads the values of --foreign and checks that a rack can hold them.
func parseForeign(texts []string, r *rack.Rack, known map[string]rack.Platform) (map[string]string, error) {
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
	if err := sim.CheckHolds(holds, r, known); err != nil {
		return nil, badInput(err)
	}
	return holds, nil
}
