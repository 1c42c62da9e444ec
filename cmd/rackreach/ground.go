package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/lldp"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
)

// ground is what an agent stands on: a simulated rack, or the interface that a real one
// hangs on.
type ground struct {
	about   string        // for the first line of a run
	speed   float64       // of its devices; 1: real ones
	stepMin time.Duration // no step gets less

	// plug opens the services for devices and fills in the wires of an agent's options.
	plug func(o *rackagent.Options) error
	// connected is told when the agent is built from them.
	connected func(ctx context.Context, o *rackagent.Options) error
	metrics   prometheus.Collector // of the ground itself; nil: none
}

// simulation is a simulated rack, in this process or another.
type simulation interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	ListenDHCP() (net.PacketConn, error)
}

// simHash stands in the answer files of simulated devices where nobody resolves the
// references of the rack file. Nothing hashes to it.
const simHash = "$6$simulated$" + "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000."

// agentServerID is what simulated devices take for their DHCP server.
const agentServerID = "127.0.0.1"

// onSimulation stands on a simulated rack.
func onSimulation(s simulation, speed float64, stepMin time.Duration, user, password string, connect func(context.Context, sim.Services) error) ground {
	return ground{about: fmt.Sprintf("simulated at %gx", speed), speed: speed, stepMin: stepMin,
		plug: func(o *rackagent.Options) error {
			if err := canBeSimulated(o.Rack, o.Platforms); err != nil {
				return err
			}
			web, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return fmt.Errorf("open the HTTP service of the agent: %w", err)
			}
			tftp, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return errors.Join(fmt.Errorf("open the TFTP service of the agent: %w", err), web.Close())
			}
			o.ListenDHCP, o.Dial, o.TFTP, o.HTTP, o.BaseURL, o.ServerID = s.ListenDHCP, s.Dial, tftp, web, "http://"+sim.AgentHTTP, netip.MustParseAddr(agentServerID)
			o.Credentials = func(string) (string, string, error) { return user, password, nil }
			o.Key = func(string) ([]byte, error) { return nil, nil }
			if o.Hash == nil {
				o.Hash = func(string) (answerfile.Secret, error) { return answerfile.ParseHash(simHash) }
			}
			// Simulated BMCs answer at once and need no pause between two looks.
			o.Power = power.Options{Poll: scaled(power.DefaultPoll, speed, pollFloor), Gap: scaled(power.DefaultGap, speed, pollFloor), Idle: scaled(power.DefaultIdle, speed, pollFloor),
				Soft: scaled(power.DefaultSoft, speed, pollFloor), Settle: scaled(power.DefaultSettle, speed, settleFloor)}
			return nil
		},
		connected: func(ctx context.Context, o *rackagent.Options) error {
			return connect(ctx, sim.Services{TFTP: o.TFTP.LocalAddr(), HTTP: o.HTTP.Addr()})
		}}
}

// canBeSimulated refuses a rack with a step that no simulated device could complete, and
// one whose addresses are not ours to give.
func canBeSimulated(r *rack.Rack, platforms map[string]rack.Platform) error {
	if r.DHCP.Mode == rack.DHCPProxy {
		return badInput(fmt.Errorf("rack %s leaves its addresses to the DHCP server of the site (dhcp.mode is proxy), and on a simulated rack there is none: image the rack itself, or simulate a copy of its file without dhcp.mode", r.Name))
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		p := platforms[d.Platform]
		if s := p.OnWire(); s != nil {
			return badInput(fmt.Errorf("platform %s of %s waits at step %s for %s, and a simulated rack stands on loopback, where there is neither ARP nor syslog: use a platform without that step, or image the rack itself", d.Platform, d.Name, s.Name, s.Wanted()))
		}
	}
	return nil
}

// lineFlags are what the flags say of the place where a real rack stands.
type lineFlags struct {
	allow   []string
	hear    time.Duration
	loaders string

	siblings *rackagent.Siblings // no flag: a coordinator says who they are; nil: there is none
}

// debianLoaders is where Debian's package ipxe has its programs.
const debianLoaders = "/usr/lib/ipxe"

func (s *lineFlags) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&s.allow, "allow", nil, "real rack: an interface that is to be served although it holds the default route, or the address of another DHCP server that may be there; may be given more than once")
	f.DurationVar(&s.hear, "hear", foreign.DefaultWindow, "real rack: how long to listen for other DHCP servers before answering anybody")
	f.StringVar(&s.loaders, "loaders", "", "real rack: folder with the boot loaders of iPXE (default: those of the bundle, else "+debianLoaders+")")
}

func (s *lineFlags) check() error {
	if s.hear < minHear {
		return badInput(fmt.Errorf("--hear %s is too short to hear another server: write %s or more", s.hear, minHear))
	}
	if s.loaders != "" {
		if _, err := boot.LoadersIn(s.loaders); err != nil {
			return badInput(fmt.Errorf("--loaders: %w", err))
		}
	}
	return nil
}

// onLine stands on the interface that a real rack hangs on, once no other DHCP server is
// heard there. It is left when the imaging is closed; gone gets the reason when the
// interface has gone before.
func (s *lineFlags) onLine(ctx context.Context, i *imaging, env func(string) (string, bool), notes io.Writer) (_ *ground, gone <-chan error, err error) {
	r := i.rack
	if r.Agent.Interface == "" {
		return nil, nil, badInput(fmt.Errorf("the rack file of %s names no interface: write agent: {cable: %q, interface: NAME}, with the interface that is cabled to that port\nNothing was begun", r.Name, r.Agent.Cable))
	}
	log := logger(notes)
	line, err := rackagent.NewLine(rackagent.LineOptions{Rack: r, Allow: s.allow, Siblings: s.siblings, Hear: s.hear, Waits: true, Tell: func(n rackagent.Notice) { warn(log, n) }})
	if err == nil {
		err = line.Hear(ctx)
	}
	if err != nil {
		err = fmt.Errorf("%w\nNothing was begun. See: rackreach preflight FILE", err)
		if errors.As(err, new(*wire.MissingError)) {
			err = badInput(err)
		}
		return nil, nil, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	lost, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		if err := line.Watch(watching); err != nil {
			lost <- err
		}
	}()
	i.closers = append(i.closers, func() error { stop(); <-ended; return nil })
	return &ground{about: "on interface " + r.Agent.Interface, speed: 1, metrics: line.Metrics(),
		plug: func(o *rackagent.Options) error {
			o.Credentials, o.Key = credentials(env), keys(env)
			o.Loaders = s.find(o.Images)
			return line.Plug(o)
		},
		connected: func(context.Context, *rackagent.Options) error { return nil }}, lost, nil
}

// find are the boot loaders that there are; nil: none.
func (s *lineFlags) find(images boot.Images) boot.Loaders {
	if s.loaders == "" {
		if f, err := boot.LoadersOf(images).Open("ipxe.efi"); err == nil {
			_ = f.Close() // it was only looked for
			return boot.LoadersOf(images)
		}
		if _, err := os.Stat(debianLoaders); err != nil {
			return nil
		}
	}
	dir := s.loaders
	if dir == "" {
		dir = debianLoaders
	}
	l, err := boot.LoadersIn(dir)
	if err != nil {
		return nil // a folder that was named was looked into before
	}
	return l
}

// warn logs what of the line a person must see to.
func warn(log *slog.Logger, n rackagent.Notice) {
	switch n.Kind {
	case rackagent.NoticeTrouble, rackagent.NoticeForeign, rackagent.NoticeAlarm:
		log.Warn(n.Text)
	case rackagent.NoticeNeighbour:
		if n.Evidence == string(lldp.Differs) {
			log.Warn(n.Text)
		}
	}
}

func logger(notes io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// checkLogins refuses a rack with a device that could not be logged in to, before
// anything is begun.
func checkLogins(r *rack.Rack, env func(string) (string, bool)) error {
	read := credentials(env)
	for i := range r.Devices {
		d := &r.Devices[i]
		of := map[string]string{}
		if d.Access != nil && d.Access.Key != "" {
			if _, err := keys(env)(d.Access.Key); err != nil {
				return badInput(fmt.Errorf("key of access of %s: %w\nNothing was begun", d.Name, err))
			}
		}
		if d.BMC != nil {
			of["BMC"] = d.BMC.Credentials
		}
		if d.Access != nil {
			of["access"] = d.Access.Credentials
		}
		for what, reference := range of {
			if _, _, err := read(reference); err != nil {
				return badInput(fmt.Errorf("credentials of %s of %s: %w\nNothing was begun", what, d.Name, err))
			}
		}
	}
	return nil
}
