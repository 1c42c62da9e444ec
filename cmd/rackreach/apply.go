package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/simimage"
	"github.com/rackreach/rackreach/internal/state"
)

// apply images a rack, or goes on with it, as the flags ask for it.
type apply struct {
	file     string
	state    string
	plan     string
	only     []string
	simulate bool
	socket   string
	detach   bool
	json     bool
	metrics  string
	images   bundling
	site     lineFlags
	env      func(string) (string, bool)
}

func newApply(env func(string) (string, bool)) *cobra.Command {
	a := apply{env: env}
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Image a rack, or go on with one where it was interrupted",
		Long: `Image the rack of a rack file. What is done is journalled before it is done: after
a crash or a power cut the same command goes on where it was. A run carries out
the plan that it was begun with; a rack file that has changed since is refused.

With a coordinator (--server, a context, or one on this machine) the rack's agent is
ordered to do it, and watched. A fleet file is for a coordinator: it begins its racks
in their order, as many at once as the file says.

A real rack hangs on the interface that the rack file names (agent.interface); its
images come out of a bundle. It needs the capabilities CAP_NET_RAW and
CAP_NET_BIND_SERVICE: rackreach preflight FILE says beforehand what would be in its way.
For a simulated rack start "rackreach simulated-rack FILE", and give --simulate.`,
		Example: `  rackreach apply examples/rack-1.yaml --simulate
  rackreach apply examples/rack-1.yaml --simulate --plan 8454012aaaa4c340
  rackreach apply examples/rack-1.yaml --simulate --only mgmt-1
  rackreach apply rack.yaml --bundle images
  rackreach apply examples/fleet.yaml
  rackreach apply examples/rack-1.yaml --server https://10.0.0.5:7443 --detach`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			a.file = given[0]
			return a.run(cmd.Context(), terminal{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env})
		},
	}
	f := cmd.Flags()
	stateFlag(f, &a.state)
	f.StringVar(&a.plan, "plan", "", "hash of the plan that was looked at; any other is refused")
	f.StringArrayVar(&a.only, "only", nil, "image this device only; may be given more than once")
	f.BoolVar(&a.simulate, "simulate", false, "image the simulated rack that rackreach simulated-rack runs")
	f.StringVar(&a.socket, "socket", "", "unix socket of the simulated rack (default: its own default)")
	a.images.flags(f)
	a.site.flags(f)
	f.BoolVar(&a.detach, "detach", false, "with a coordinator: order it, and do not watch")
	driveFlags(f, &a.json, &a.metrics)
	return cmd
}

func (a *apply) run(ctx context.Context, t terminal) (err error) {
	if err := errors.Join(checkMetricsListen(a.metrics), a.images.check()); err != nil {
		return err
	}
	home, err := homeOf(a.state, a.env)
	if err != nil {
		return err
	}
	set, err := platformsOf(a.env)
	if err != nil {
		return err
	}
	known := set.Platforms()
	fleet, r, err := loadAny(a.file, known)
	if err != nil {
		return err
	}
	from, err := a.images.open(ctx, home, a.images.opener(a.env), nil)
	if err != nil {
		return err
	}
	// Whoever images opens it again: how long that takes nobody knows.
	defer func() { err = errors.Join(err, from.close()) }()
	if fleet != nil {
		return a.orderFleet(ctx, t, fleet, known, from)
	}
	if err := checkProtected(r); err != nil {
		return err
	}
	if err := checkBundled(a.file, r, known, from); err != nil {
		return err
	}
	now, err := from.resolve(r, known)
	if err != nil {
		return err
	}
	if a.plan != "" && a.plan != now.Plan.Hash {
		return badInput(stale(home, a.plan, now))
	}
	if err := a.checkOnly(r); err != nil {
		return err
	}
	if !a.simulate {
		client, _, err := findCoordinator(ctx, a.state, a.env)
		if err != nil {
			return err
		}
		if client != nil {
			defer client.Close()
			return a.order(ctx, t, client, now)
		}
		if err := a.real(r, set, from); err != nil {
			return err
		}
	}
	if err := checkHashes(r, a.env); err != nil {
		return err
	}
	if a.simulate {
		now.Simulated = &state.Simulated{Socket: a.socket}
		if a.socket == "" {
			now.Simulated.Socket = home.Simulated(r.Name)
		}
	}
	k, err := rackagent.OpenKept(home.Rack(r.Name), r.Name, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if k.Carried.Plan.Hash != now.Plan.Hash {
		return badInput(fmt.Errorf("apply %s: rack %s was begun with plan %s, and this is plan %s:\n  %s\nNothing was done. Next: rackreach resume %s goes on with what was begun; or put the file back",
			a.file, r.Name, k.Carried.Plan.Hash, now.Plan.Hash, strings.Join(state.Changes(k.Carried, now), "\n  "), r.Name))
	}
	if begun := k.Carried.Simulated; (begun != nil) != a.simulate {
		was, next := map[bool]string{true: "the simulated rack", false: "the real rack"}[begun != nil], map[bool]string{true: "without --simulate", false: "with --simulate"}[a.simulate]
		return badInput(fmt.Errorf("apply %s: rack %s was begun on %s, and this asks for the other. Nothing was done. Next: apply %s, rackreach resume %s, or another --state for the other rack", a.file, r.Name, was, next, r.Name))
	}
	if k.Run.Status != rack.Idle && len(a.only) > 0 {
		return badInput(fmt.Errorf("--only: the run of rack %s was begun already. Next: rackreach resume %s --only %s", r.Name, r.Name, a.only[0]))
	}
	d := driving{only: a.only, json: a.json, metrics: a.metrics, open: a.images.opener(a.env), site: &a.site}
	if racks, err := racksIn(home); err == nil && len(racks) > 1 {
		d.rack = r.Name
	}
	return drive(ctx, k, t, d)
}

// checkBundled refuses a rack whose devices get images that only a bundle has.
func checkBundled(file string, r *rack.Rack, known map[string]rack.Platform, from *chosen) error {
	for i := range r.Devices {
		d := &r.Devices[i]
		if p := known[d.Platform]; from == nil && p.Simulated() == nil && d.Image == "" && !simulatedImage(p.Image) {
			return badInput(fmt.Errorf("%s: %s gets the image %s, and real devices are imaged out of a bundle: give --bundle (docs/images.md tells how one is made)", file, d.Name, p.Image))
		}
	}
	return nil
}

// simulatedImage reports whether an image is one of the simulation.
func simulatedImage(name string) bool {
	return slices.ContainsFunc(simimage.Specs(), func(s simimage.Spec) bool { return s.Name == name })
}

// real says what speaks against imaging a rack that is not simulated; nil: nothing.
func (a *apply) real(r *rack.Rack, set *platform.Set, from *chosen) error {
	for i := range r.Devices {
		d := &r.Devices[i]
		if p, ok := set.Definition(d.Platform); ok && p.Status == platform.Simulated {
			return badInput(fmt.Errorf("apply %s: platform %s of %s is simulated, and images nothing that is real: start rackreach simulated-rack %s, then give --simulate; or name a real platform: rackreach platform list", a.file, d.Platform, d.Name, a.file))
		}
	}
	if from == nil {
		return badInput(fmt.Errorf("apply %s: real devices are imaged out of a bundle: give --bundle (docs/images.md tells how one is made)", a.file))
	}
	return errors.Join(checkLogins(r, a.env), a.site.check())
}

func (a *apply) checkOnly(r *rack.Rack) error {
	for _, name := range a.only {
		if _, ok := r.Device(name); !ok {
			return badInput(fmt.Errorf("--only %s: rack %s has no such device: write one of %s", name, r.Name, deviceNames(r)))
		}
	}
	return nil
}

// stale says that a plan is not the one that was looked at, and what changed.
func stale(home state.Home, hash string, now *state.Plan) error {
	old, err := home.Shown(hash)
	if err != nil || old.Rack.Name != now.Rack.Name {
		return fmt.Errorf("--plan %s: this is plan %s now. What changed cannot be told: that plan of rack %s was not shown here. Nothing was done. Next: rackreach plan, look at it, and give its hash", hash, now.Plan.Hash, now.Rack.Name)
	}
	return fmt.Errorf("--plan %s is out of date, this is plan %s now:\n  %s\nNothing was done. Next: rackreach plan, look at it, and give its hash",
		hash, now.Plan.Hash, strings.Join(state.Changes(old, now), "\n  "))
}

// driving is how a run is driven from here on.
type driving struct {
	rack    string // named in advice; empty: there is only one
	only    []string
	json    bool
	metrics string
	open    opener
	site    *lineFlags
}

var applyAdvice = adviser{
	unfinished: "rackreach resume: it goes on where it was",
	halted: func(run *rack.Run, by string) string {
		if d := run.Device(by); d.Status != rack.Failed {
			return "rackreach resume" // somebody has seen to it since
		}
		return run.Remedy(by)
	},
	operator: "rackreach resume",
	only:     "rackreach resume --all: it images the others",
	partial:  "mend what is named above, then: rackreach retry DEVICE, rackreach resume",
	ordered:  "rackreach resume",
}

// drive images the rack until its run ends, unless it has ended already.
func drive(ctx context.Context, k *rackagent.Kept, t terminal, d driving) (err error) {
	s := &imaging{rack: k.Carried.Rack, platforms: k.Carried.Platforms, real: k.Carried.Platforms, plan: k.Carried.Plan, log: k.Journal, salvaged: k.Journal.Meta().Salvaged}
	defer func() { err = errors.Join(err, s.close()) }()
	if k.Run.Status == rack.Halted || k.Run.Status == rack.Completed {
		o := s.outcome(applyAdvice.in(d.rack), nil)
		return o.exit(printLines(t.out, o.last))
	}
	for i := range k.Carried.Rack.Devices {
		if n := k.Carried.Rack.Devices[i].Name; k.Run.Uncertain(n) {
			return badInput(fmt.Errorf("%s is uncertain: its journal was salvaged, and what came after its last event is not known. Nothing was done. Next: look at it, then rackreach retry %s to go on where the journal ends, or rackreach reimage %s", n, n, n))
		}
	}
	secret, err := k.Dir.Secret()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	g, err := s.stand(ctx, stop, k.Carried, d.site, t)
	if err != nil {
		return err
	}
	s.platforms = map[string]rack.Platform{}
	for name, p := range k.Carried.Platforms {
		s.platforms[name] = p.Scaled(g.speed, g.stepMin)
	}
	from := &carrying{plan: k.Carried, dir: k.Dir, open: d.open, cacheSize: defaultCache}
	s.closers = append(s.closers, from.close)
	say := &printer{w: t.notes}
	images, err := imagesOf(ctx, from, say.line)
	if err = errors.Join(err, say.err); err != nil {
		return err
	}
	bundled, signedBy := k.Carried.Bundle.Words()
	l, err := api.Listen(k.Dir.Socket())
	if err != nil {
		return err
	}
	o := rackagent.Options{Images: images, Bundle: bundled, SignedBy: signedBy, Secret: secret, Hash: hashes(t.env), RunID: k.Journal.Meta().Run, Only: d.only, API: l, PlanJSON: k.Plan(), At: crashPoint(t.env), LeaseFile: k.Dir.Leases(), HostKeys: k.Dir.HostKeys()}
	if err := s.plug(ctx, *g, o, t.notes, d.metrics); err != nil {
		return errors.Join(err, l.Close())
	}
	how, after := "begins", k.Journal.Last()
	if after > 0 {
		how = fmt.Sprintf("goes on after event %d", after)
	}
	s.preamble = []string{
		fmt.Sprintf("rack %s, %d devices, plan %s, %s, run %s %s", s.rack.Name, len(s.rack.Devices), s.plan.Hash, g.about, k.Journal.Meta().Run, how),
		"metrics: " + s.url, "",
	}
	outcome, trouble := s.image(ctx, newView(d.json, t, s.rack, s.platforms, s.agent.Transferred, after), applyAdvice.in(d.rack), func(context.Context) {})
	return outcome.exit(trouble)
}

// stand finds the ground of a run: the simulated rack that it was begun with, or the
// interface of a real one. stop ends the run when that has gone.
func (s *imaging) stand(ctx context.Context, stop context.CancelCauseFunc, p *state.Plan, on *lineFlags, t terminal) (*ground, error) {
	if p.Simulated == nil {
		if err := checkLogins(p.Rack, t.env); err != nil {
			return nil, err
		}
		g, gone, err := on.onLine(ctx, s, t.env, t.notes)
		if err != nil {
			return nil, err
		}
		go func() {
			select {
			case err := <-gone:
				stop(err)
			case <-ctx.Done():
			}
		}()
		return g, nil
	}
	remote, err := sim.Join(ctx, p.Simulated.Socket)
	if err != nil {
		return nil, badInput(fmt.Errorf("%w. Start it with: rackreach simulated-rack FILE, and leave it running", err))
	}
	s.closers = append(s.closers, remote.Close)
	go func() {
		select {
		case <-remote.Done():
			stop(fmt.Errorf("the simulated rack at %s has gone", p.Simulated.Socket))
		case <-ctx.Done():
		}
	}()
	if remote.Rack != p.Rack.Name {
		return nil, badInput(fmt.Errorf("%s is the simulated rack %s, not %s: give its --socket", p.Simulated.Socket, remote.Rack, p.Rack.Name))
	}
	g := onSimulation(remote, remote.Speed, stepFloor, remote.User, remote.Password, remote.Connect)
	return &g, nil
}
