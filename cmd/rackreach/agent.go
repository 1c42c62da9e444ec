package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
)

// agent is the process that keeps a rack, as the flags ask for it.
type agent struct {
	rack         string
	coordinators []string
	state        string
	simulate     bool
	socket       string
	file         string  // of the simulated rack that it starts
	speed        float64 // of that
	adopt        bool
	force        bool
	token        string
	cert, key    string
	ca           string
	metrics      string
	json         bool
	images       bundling
	site         lineFlags
	cache        string // how large it may become
	env          func(string) (string, bool)

	home    state.Home // from run on
	to      *door      // as well
	checked bundle.Checked
}

func newAgent(env func(string) (string, bool)) *cobra.Command {
	a := agent{env: env}
	cmd := &cobra.Command{
		Use:   "agent --rack NAME",
		Short: "Keep a rack: carry out what a coordinator and operators order, run after run",
		Long: `Keep a rack until it is stopped: wait for a plan, image the rack, and stay to answer
its devices and to take orders. Each rack has one agent, on a machine that is
cabled to it. rackreach status, watch, halt, retry and the other orders work on this
machine at any time; without a coordinator the agent goes on by itself.

It is made for a service manager: it says when it is ready, answers a watchdog, ends
with 0 when it is told to stop, and goes on where it was when it is started again.

--adopt takes over a rack whose agent is lost: its history comes from the
coordinator, and devices that were not ready by then are left alone until an
operator has said what to do with each. It is refused while the lost agent seems to
be alive: it is connected, another machine has its address, or another DHCP server is
heard on the interface of the plan. --force is the word of who knows that it is off.

--bundle says where images come from; "depot" is the one of the coordinator. They are
fetched once, checked, and kept in the state directory of the rack. A bundle that no
trusted key has signed is refused.

--simulated-rack starts a simulated rack in a process of its own unless one is
served already. It is ended when the agent is told to stop. When the agent is
killed it lives on, as real devices would; the next agent joins it, and leaves it
running. What it says is in simulated.log in the rack's state directory.`,
		Example: `  rackreach agent --rack r1 --simulate
  rackreach agent --rack r1 --simulated-rack examples/rack-1.yaml
  rackreach agent --rack r1 --simulate --bundle depot
  rackreach agent --rack r1 --simulate --adopt`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), terminal{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env})
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.rack, "rack", "", "the rack that this agent keeps; required")
	f.StringArrayVar(&a.coordinators, "coordinator", nil, "URL of the coordinator, or unix://PATH; several that share one log may be given, each with the flag again: while one is away the others are tried (default: the one that enrolled this machine, else coordinator.sock in the state directory)")
	stateFlag(f, &a.state)
	f.BoolVar(&a.simulate, "simulate", false, "keep the simulated rack that rackreach simulated-rack runs")
	f.StringVar(&a.socket, "socket", "", "unix socket of the simulated rack (default: its own default)")
	f.StringVar(&a.file, "simulated-rack", "", "start the simulated rack of this rack file, if none is served; implies --simulate")
	f.Float64Var(&a.speed, "speed", 60, "how many times faster than real devices those of --simulated-rack are")
	f.StringVar(&a.token, "token", "", "one-time token of rackreach enroll, with which this machine gets its certificate")
	f.StringVar(&a.cert, "tls-cert", "", "file with the agent's certificate, made by somebody else")
	f.StringVar(&a.key, "tls-key", "", "file with its key")
	f.StringVar(&a.ca, "ca", "", "file with the authority of the coordinator's certificate")
	f.BoolVar(&a.adopt, "adopt", false, "take over the rack from an agent that is lost")
	f.BoolVar(&a.force, "force", false, "with --adopt: although an agent of the rack seems to be alive; nobody is looked for")
	a.images.flags(f)
	a.site.flags(f)
	f.StringVar(&a.cache, "cache-size", "64GiB", "how much room images may take that come from elsewhere; those of the plan always stay")
	driveFlags(f, &a.json, &a.metrics)
	f.Lookup("metrics-listen").Usage = "serve Prometheus metrics on this address, without TLS"
	return cmd
}

// rackName is what can be the name of a rack, and so of its directory.
var rackName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (a *agent) check() error {
	if err := together([]given{{"--tls-cert", a.cert}, {"--tls-key", a.key}, {"--ca", a.ca}}); err != nil {
		return badInput(err)
	}
	switch {
	case !rackName.MatchString(a.rack):
		return badInput(fmt.Errorf("--rack %q: write the name of the rack that this agent keeps, as its rack file says it", a.rack))
	case a.force && !a.adopt:
		return badInput(errors.New("--force goes with --adopt: nothing else is forced"))
	case a.cert != "" && a.token != "":
		return badInput(errors.New("--token, --tls-cert: give one or the other: a token is for a machine that has no certificate yet"))
	case a.cert != "" && (len(a.coordinators) == 0 || slices.ContainsFunc(a.coordinators, func(u string) bool { return !strings.HasPrefix(u, "https://") })):
		return badInput(errors.New("--tls-cert: a certificate is shown to a coordinator on the network: give --coordinator https://HOST:PORT as well"))
	case a.file != "":
		a.simulate = true
		r, _, err := loadKnown(a.file, a.env)
		if err != nil {
			return err
		}
		if r.Name != a.rack {
			return badInput(fmt.Errorf("--simulated-rack %s is the rack %s, not %s", a.file, r.Name, a.rack))
		}
		if err := checkSpeed(a.speed); err != nil {
			return err
		}
	}
	if err := errors.Join(a.images.check(), a.site.check()); err != nil {
		return err
	}
	if _, err := parseSize(a.cache); err != nil {
		return badInput(fmt.Errorf("--cache-size: %w", err))
	}
	if _, _, err := net.SplitHostPort(a.metrics); err != nil {
		return badInput(fmt.Errorf("--metrics-listen %s: write HOST:PORT, or 127.0.0.1:0 for any free port of this machine: %w", a.metrics, err))
	}
	return nil
}

func (a *agent) run(ctx context.Context, t terminal) (err error) {
	if err := a.check(); err != nil {
		return err
	}
	home, err := homeOf(a.state, a.env)
	if err != nil {
		return err
	}
	if a.socket == "" && a.simulate {
		a.socket = home.Simulated(a.rack)
	}
	d, err := a.door(ctx, home)
	if err != nil {
		return err
	}
	defer d.Close()
	a.home, a.to = home, d
	if a.adopt {
		if err := a.takeOver(ctx, t, home, d); err != nil {
			return err
		}
	}
	say := &printer{w: t.out}
	if a.json {
		say.w = t.notes
	}
	kept, err := rackagent.OpenWaiting(home.Rack(a.rack), a.rack)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	if a.file != "" {
		end, err := a.startRack(ctx, kept.Dir, say)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	return a.keep(ctx, t, kept, d, say)
}

// announced is where others read the metrics: of a machine that listens on all of
// its addresses, by its name.
func announced(metrics string) string {
	u, err := url.Parse(metrics)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
		if host, err := os.Hostname(); err == nil {
			return net.JoinHostPort(host, u.Port())
		}
	}
	return u.Host
}

// keep keeps the rack until ctx ends.
func (a *agent) keep(ctx context.Context, t terminal, kept *rackagent.Kept, door *door, say *printer) (err error) {
	log := slog.New(slog.NewTextHandler(t.notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
	life := &lifeMetrics{own: prometheus.NewRegistry()}
	web := &imaging{}
	defer func() { err = errors.Join(err, web.close()) }()
	l, err := api.Listen(kept.Dir.Socket())
	if err != nil {
		return err
	}
	k, err := rackagent.NewKeeper(rackagent.KeeperOptions{Kept: kept, API: l, Logger: log, Check: a.can, At: crashPoint(t.env),
		Uplink: func(ctx context.Context, k *rackagent.Keeper) error {
			return a.uplink(ctx, k, door, announced(web.url), log)
		},
		Open: func(ctx context.Context, kept *rackagent.Kept) (rackagent.Life, error) {
			return a.open(ctx, t, kept, life, say)
		}})
	if err != nil {
		err = errors.Join(err, l.Close())
		var other *rackagent.Superseded
		if errors.As(err, &other) {
			return badInput(err)
		}
		return err
	}
	a.site.siblings = k.Siblings() // before the first life is opened
	if err := web.serveMetrics(a.metrics, life); err != nil {
		return errors.Join(err, l.Close())
	}
	own := k.Metrics()
	if door.who != nil {
		own = append(own, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rackreach_certificate_expiry_timestamp_seconds", Help: "When a certificate of this process expires.",
			ConstLabels: prometheus.Labels{"subject": "agent of " + a.rack}}, func() float64 { return float64(door.who.Expires().Unix()) }))
	}
	for _, m := range own {
		if err := life.own.Register(m); err != nil {
			return errors.Join(fmt.Errorf("register the metrics: %w", err), l.Close())
		}
	}
	say.line("agent of rack %s, journal %s, event %d", a.rack, kept.Journal.Meta().Run, kept.Journal.Last())
	say.line("metrics: %s", web.url)
	say.line("%s", k.Summary())
	if say.err != nil {
		return errors.Join(say.err, l.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	told := make(chan error, 1)
	go func() { told <- a.tell(ctx, t, k, stop) }()
	unwatched := watchdog(ctx, k.Alive, log)
	err = k.Run(ctx)
	stop()
	unwatched()
	return errors.Join(err, <-told)
}

// tell shows the events from now on, a line each, until ctx ends. Trouble with
// that ends the agent.
func (a *agent) tell(ctx context.Context, t terminal, k *rackagent.Keeper, stop func()) error {
	var v interface {
		show([]rack.Event) error
	} = &agentView{out: t.out}
	if a.json {
		v = &jsonView{out: t.out, notes: t.notes}
	}
	notify("READY=1\nSTATUS=" + k.Summary())
	err := journal.Tail(ctx, k.Journal(), k.Journal().Last()+1, func(events []rack.Event) error {
		notify("STATUS=" + k.Summary())
		return v.show(events)
	})
	notify("STOPPING=1")
	if err != nil {
		stop()
	}
	return err
}
