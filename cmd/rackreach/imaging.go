package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
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

// plug builds the agent on its ground and serves its metrics. o has what the ways to do
// this differ in.
func (s *imaging) plug(ctx context.Context, g ground, o rackagent.Options, notes io.Writer, metricsListen string) error {
	registry := prometheus.NewRegistry()
	if err := s.build(ctx, g, o, registry, notes); err != nil {
		return err
	}
	return s.serveMetrics(metricsListen, registry)
}

// build builds the agent on its ground.
func (s *imaging) build(ctx context.Context, g ground, o rackagent.Options, registry *prometheus.Registry, notes io.Writer) (err error) {
	if g.metrics != nil {
		if err := registry.Register(g.metrics); err != nil {
			return fmt.Errorf("register the metrics: %w", err)
		}
	}
	o.Rack, o.Platforms, o.Plan, o.Log, o.Salvaged = s.rack, s.platforms, s.plan, s.log, s.salvaged
	if err := g.plug(&o); err != nil {
		return err
	}
	s.speed, o.Speed = g.speed, g.speed
	o.DiscoveryLimit, o.ScanEvery = scaled(discoveryLimit, g.speed, g.stepMin), scaled(scanEvery, g.speed, scanFloor)
	o.Registry, o.Logger = registry, logger(notes)
	if s.agent, err = rackagent.New(o); err == nil {
		err = g.connected(ctx, &o)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("build the agent: %w", err), o.HTTP.Close(), o.TFTP.Close())
		if o.Syslog != nil {
			err = errors.Join(err, o.Syslog.Close())
		}
	}
	return err
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

// checkProtected refuses a rack with a device that must not be overwritten, on purpose: it
// would never be ready, and what it forwards would never open.
func checkProtected(r *rack.Rack) error {
	for i := range r.Devices {
		if r.Devices[i].Protect {
			return badInput(fmt.Errorf("%s is protected, and a rack is imaged as a whole: a device counts as ready only on evidence of this run, which nobody may get by overwriting it. Nothing was done. Next: take %s out of the rack file, with what is cabled through it; or write protect: false, if it may be overwritten", r.Devices[i].Name, r.Devices[i].Name))
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
