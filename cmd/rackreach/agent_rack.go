package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/state"
)

const (
	lineEvery = 5 * time.Second        // between two looks for an interface that is not there
	joinEvery = 500 * time.Millisecond // between two looks for a simulated rack that is not there
	joinSaid  = 30 * time.Second       // for one that was just started, to be there
	endLimit  = 10 * time.Second       // for one that is told to end
)

// can says why this agent cannot carry out a plan; nil: it can. It completes the plan
// with where its images come from.
func (a *agent) can(p *state.Plan) error {
	if a.simulate {
		p.Simulated = &state.Simulated{Socket: a.socket}
	} else if name := simulatedPlatform(p); name != "" {
		return fmt.Errorf("platform %s is simulated, and images nothing that is real: start the agent with --simulate, or name a real platform", name)
	} else if err := checkLogins(p.Rack, a.env); err != nil {
		return err
	}
	if err := checkHashes(p.Rack, a.env); err != nil {
		return err
	}
	return a.bundled(p)
}

// simulatedPlatform is one of a plan that speaks to simulated devices only, or "".
func simulatedPlatform(p *state.Plan) string {
	for name, x := range p.Platforms {
		if x.Simulated() != nil {
			return name
		}
	}
	return ""
}

// open makes a life of the agent in front of its rack: a simulated one, which it waits
// for, or a real one.
func (a *agent) open(ctx context.Context, t terminal, kept *rackagent.Kept, shown *lifeMetrics, say *printer) (rackagent.Life, error) {
	socket := a.socket
	if socket == "" && kept.Carried.Simulated != nil {
		socket = kept.Carried.Simulated.Socket // it was begun with apply --simulate
	}
	p := kept.Carried
	switch {
	case socket == "" && simulatedPlatform(p) != "":
		return nil, badInput(fmt.Errorf("the run of rack %s is one of simulated devices (platform %s): start the agent with --simulate", p.Rack.Name, simulatedPlatform(p)))
	case a.simulate && p.Simulated == nil && simulatedPlatform(p) == "":
		return nil, badInput(fmt.Errorf("the run of rack %s was begun on the real rack: start the agent without --simulate, or give another --state", p.Rack.Name))
	}
	s := &imaging{rack: p.Rack, platforms: map[string]rack.Platform{}, plan: p.Plan, log: kept.Journal, salvaged: kept.Journal.Meta().Salvaged}
	g, gone, err := a.stand(ctx, s, socket, t, say)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	for name, x := range p.Platforms {
		s.platforms[name] = x.Scaled(g.speed, g.stepMin)
	}
	secret, err := kept.Dir.Secret()
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	images, err := a.served(ctx, s, kept, say)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	bundled, signedBy := p.Bundle.Words()
	o := rackagent.Options{Images: images, Bundle: bundled, SignedBy: signedBy, Secret: secret, Hash: hashes(t.env), RunID: kept.Journal.Meta().Run, Stay: true, At: crashPoint(t.env), LeaseFile: kept.Dir.Leases(), HostKeys: kept.Dir.HostKeys()}
	registry := prometheus.NewRegistry()
	if err := s.build(ctx, *g, o, registry, t.notes); err != nil {
		return nil, errors.Join(err, s.close())
	}
	shown.life.Store(registry)
	return &plugged{Agent: s.agent, gone: gone, close: s.close}, nil
}

// stand finds the ground of a life; gone gets the reason once it has gone.
func (a *agent) stand(ctx context.Context, s *imaging, socket string, t terminal, say *printer) (*ground, <-chan error, error) {
	if socket == "" {
		if err := checkLogins(s.rack, t.env); err != nil {
			return nil, nil, err
		}
		return a.online(ctx, s, t, say)
	}
	remote, err := a.join(ctx, socket, say)
	if err != nil {
		return nil, nil, err
	}
	s.closers = append(s.closers, remote.Close)
	gone := make(chan error, 1)
	go func() {
		<-remote.Done() // closed by Close at the latest
		gone <- fmt.Errorf("the simulated rack at %s has gone", socket)
	}()
	g := onSimulation(remote, remote.Speed, stepFloor, remote.User, remote.Password, remote.Connect)
	return &g, gone, nil
}

// online stands on the interface, and waits for one that is not there yet as long as ctx
// lasts: at boot it may come late, and one that was pulled may come back.
func (a *agent) online(ctx context.Context, s *imaging, t terminal, say *printer) (*ground, <-chan error, error) {
	again := time.NewTicker(lineEvery)
	defer again.Stop()
	for said := false; ; {
		g, gone, err := a.site.onLine(ctx, s, t.env, t.notes)
		if missing := (*wire.MissingError)(nil); !errors.As(err, &missing) {
			return g, gone, err
		}
		if !said {
			said = true
			say.line("waiting for the interface %s", s.rack.Agent.Interface)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// join joins the simulated rack, and waits for it as long as ctx lasts.
func (a *agent) join(ctx context.Context, socket string, say *printer) (*sim.Remote, error) {
	again := time.NewTicker(joinEvery)
	defer again.Stop()
	for said := false; ; {
		remote, err := sim.Join(ctx, socket)
		switch {
		case err == nil && remote.Rack != a.rack:
			return nil, errors.Join(badInput(fmt.Errorf("%s is the simulated rack %s, not %s: give its --socket", socket, remote.Rack, a.rack)), remote.Close())
		case err == nil:
			return remote, nil
		case !errors.Is(err, sim.ErrNobody):
			return nil, err
		case !said:
			said = true
			say.line("waiting for the simulated rack at %s: rackreach simulated-rack FILE", socket)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// plugged is a life with its wires.
type plugged struct {
	*rackagent.Agent
	gone  <-chan error // gets why, once its ground has gone
	close func() error
}

// Run implements rackagent.Life.
func (p *plugged) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lost := make(chan error, 1)
	go func() {
		select {
		case err := <-p.gone:
			stop()
			lost <- err
		case <-ctx.Done():
			lost <- nil
		}
	}()
	err := p.Agent.Run(ctx)
	stop()
	gone := <-lost
	err = errors.Join(err, p.close())
	if gone != nil {
		return errors.Join(fmt.Errorf("%w: %w", rackagent.ErrUnplugged, gone), err)
	}
	return err
}

// startRack starts the simulated rack as a process of its own, unless somebody
// serves it. end ends it if the agent was told to stop; whatever else ends the
// agent, the devices live on. An agent that is told to stop meanwhile is no error.
func (a *agent) startRack(ctx context.Context, dir state.Dir, say *printer) (end func() error, err error) {
	if _, err := sim.Look(ctx, a.socket); err == nil {
		return func() error { return nil }, nil
	} else if !errors.Is(err, sim.ErrNobody) {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the simulated rack: %w", err)
	}
	log := filepath.Join(string(dir), "simulated.log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the simulated rack: %w", err)
	}
	rack := exec.Command(self, "simulated-rack", a.file, "--socket", a.socket, "--speed", strconv.FormatFloat(a.speed, 'g', -1, 64))
	rack.Args[0] = "rackreach"
	rack.Stdout, rack.Stderr = out, out
	rack.SysProcAttr = apart() // an interrupt from the terminal is the agent's alone
	err = rack.Start()
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("start the simulated rack: %w", err)
	}
	say.line("the simulated rack is process %d, its log %s", rack.Process.Pid, log)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = rack.Wait() // how it ended stands in its log
	}()
	finish := func() error {
		if err := rack.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end the simulated rack: %w", err)
		}
		late := time.NewTimer(endLimit)
		defer late.Stop()
		select {
		case <-ended:
			return nil
		case <-late.C:
			return fmt.Errorf("the simulated rack, process %d, did not end within %s: %s says why", rack.Process.Pid, endLimit, log)
		}
	}
	if err := a.appeared(ctx, ended, log); err != nil && ctx.Err() == nil {
		return nil, errors.Join(err, finish())
	}
	return func() error {
		if ctx.Err() == nil {
			return nil
		}
		return finish()
	}, nil
}

// appeared waits until the rack that was started is there.
func (a *agent) appeared(ctx context.Context, ended <-chan struct{}, log string) error {
	ctx, cancel := context.WithTimeout(ctx, joinSaid)
	defer cancel()
	again := time.NewTicker(joinEvery / 10)
	defer again.Stop()
	for {
		if _, err := sim.Look(ctx, a.socket); err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ended:
			return fmt.Errorf("the simulated rack ended at once: %s says why", log)
		case <-ctx.Done():
			return fmt.Errorf("the simulated rack is not there: %w: %s says why", context.Cause(ctx), log)
		}
	}
}
