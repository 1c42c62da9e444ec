package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
)

// imaging is everything that the imaging of one rack needs in this process,
// opened; close gives it all back.
type imaging struct {
	rack      *rack.Rack
	platforms map[string]rack.Platform // with the limits that this run has
	plan      *rack.Plan
	log       journal.Log
	salvaged  uint64 // last sequence from a damaged journal
	agent     *rackagent.Agent
	web       *http.Server
	address   string // of the metrics, "host:port"
	url       string // of them
	preamble  []string
	real      map[string]rack.Platform // the platforms with the limits of real hardware; nil: no forecast
	speed     float64
	record    output // what the simulated rack itself saw
	report    output
	closers   []func() error
}

func (s *imaging) close() error {
	var err error
	for i := len(s.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, s.closers[i]())
	}
	s.closers = nil
	return err
}

// wires are how an agent reaches a simulated rack, in this process or another.
type wires struct {
	speed          float64
	stepMin        time.Duration
	dial           func(ctx context.Context, network, address string) (net.Conn, error)
	listenDHCP     func() (net.PacketConn, error)
	connect        func(context.Context, sim.Services) error
	user, password string
}

// plug builds the agent, plugs it into the wires and serves its metrics. o has
// what the ways to do this differ in.
func (s *imaging) plug(ctx context.Context, w wires, o rackagent.Options, notes io.Writer, metricsListen string) error {
	registry := prometheus.NewRegistry()
	if err := s.build(ctx, w, o, registry, notes); err != nil {
		return err
	}
	return s.serveMetrics(metricsListen, registry)
}

// agentServerID is what simulated devices take for their DHCP server.
const agentServerID = "127.0.0.1"

// build builds the agent and plugs it into the wires.
func (s *imaging) build(ctx context.Context, w wires, o rackagent.Options, registry *prometheus.Registry, notes io.Writer) error {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the HTTP service of the agent: %w", err)
	}
	tftp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(fmt.Errorf("open the TFTP service of the agent: %w", err), web.Close())
	}
	o.Rack, o.Platforms, o.Plan, o.Log, o.Salvaged = s.rack, s.platforms, s.plan, s.log, s.salvaged
	s.speed, o.Speed = w.speed, w.speed
	o.ListenDHCP, o.Dial = w.listenDHCP, w.dial
	o.TFTP, o.HTTP, o.BaseURL, o.ServerID = tftp, web, "http://"+sim.AgentHTTP, netip.MustParseAddr(agentServerID)
	o.Credentials = func(string) (string, string, error) { return w.user, w.password, nil }
	// Simulated BMCs answer at once and need no pause between two looks.
	o.Power = power.Options{Poll: scaled(power.DefaultPoll, w.speed, pollFloor), Gap: scaled(power.DefaultGap, w.speed, pollFloor),
		Soft: scaled(power.DefaultSoft, w.speed, pollFloor)}
	o.DiscoveryLimit, o.ScanEvery = scaled(discoveryLimit, w.speed, w.stepMin), scaled(scanEvery, w.speed, scanFloor)
	o.Registry, o.Logger = registry, slog.New(slog.NewTextHandler(notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.agent, err = rackagent.New(o); err == nil {
		err = w.connect(ctx, sim.Services{TFTP: tftp.LocalAddr(), HTTP: web.Addr()})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("build the agent: %w", err), web.Close(), tftp.Close())
	}
	return nil
}

// image runs the agent to the end of its run and shows it. The error is trouble
// with the showing; how the run ended is the outcome.
func (s *imaging) image(ctx context.Context, v view, advice adviser, start func(context.Context)) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	v.onQuit(func() { cancel(errors.New("you asked to stop")) })
	if err := v.begin(s.preamble); err != nil {
		return outcome{code: exitError, run: rack.NewRun(s.rack, s.platforms)}, err
	}
	shown := make(chan error, 1)
	show, foretold, err := s.foretell(ctx, v)
	if err != nil {
		return outcome{code: exitError, run: rack.NewRun(s.rack, s.platforms)}, err
	}
	go func() { shown <- journal.Tail(context.Background(), s.log, 1, show) }()
	start(ctx)
	runErr := s.agent.Run(ctx)
	// Nothing is journalled any more: let the view read to the end.
	runErr = errors.Join(runErr, s.log.Close())
	shownErr := <-shown
	foretold()
	o := s.outcome(advice, runErr)
	return o, errors.Join(shownErr, v.end(o))
}

// foretell lets a view that draws show an outlook as well. It returns what to
// call with events, and what ends it.
func (s *imaging) foretell(ctx context.Context, v view) (show func([]rack.Event) error, end func(), err error) {
	drawn, ok := v.(*tableView)
	if !ok || s.real == nil {
		return v.show, func() {}, nil
	}
	f, err := newForecaster(s.rack, s.real, s.plan, s.speed)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); f.loop(ctx, drawn.foretell) }()
	show = func(events []rack.Event) error {
		f.take(events)
		return v.show(events)
	}
	return show, func() { cancel(); <-done }, nil
}

// checkProtected refuses a rack with a device that would be overwritten, but
// must not be.
func checkProtected(r *rack.Rack) error {
	for i := range r.Devices {
		if r.Devices[i].Protect {
			return badInput(fmt.Errorf("%s is protected and would be overwritten: write protect: false, or take it out of the rack file", r.Devices[i].Name))
		}
	}
	return nil
}

// checkMetricsListen refuses to serve metrics to others than this machine.
func checkMetricsListen(address string) error {
	if host, _, err := net.SplitHostPort(address); err != nil || !loopback(host) {
		return badInput(fmt.Errorf("--metrics-listen %s is not a loopback address with a port: write 127.0.0.1:9464, or 127.0.0.1:0 for any free port", address))
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (s *imaging) serveMetrics(address string, registry prometheus.Gatherer) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return badInput(fmt.Errorf("--metrics-listen: %w: take another port, or 127.0.0.1:0 for any free one", err))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s.address = l.Addr().String()
	s.url = "http://" + s.address + "/metrics"
	s.web = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan error, 1)
	go func() { done <- s.web.Serve(l) }()
	s.closers = append(s.closers, func() error {
		err := s.web.Close()
		if e := <-done; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	})
	return nil
}
