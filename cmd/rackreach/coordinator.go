package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/rackreach/rackreach/agents/coordinator"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/state"
)

// coordinating is a coordinator, as the flags ask for it.
type coordinating struct {
	state       string
	listen      string
	url         string
	nats        string
	credentials string
	replicas    int
	cert, key   string
	agentCA     string
	depot       string
	env         func(string) (string, bool)
}

// gcPercent trades CPU time, of which a coordinator uses little, for memory, which it
// holds for every rack (make bench-fleet).
const gcPercent = 30

func newCoordinator(env func(string) (string, bool)) *cobra.Command {
	k := coordinating{env: env}
	cmd := &cobra.Command{
		Use:   "coordinator",
		Short: "Run the coordinator that the agents of many racks report to",
		Long: `Run a coordinator until it is interrupted. It keeps the events of all racks, hands
orders to their agents, and serves the API and metrics. It may be killed at any
moment; agents image on without it and catch up later.

Without certificates it listens on loopback and on a unix socket in the state
directory only. rackreach coordinator init makes an authority; or give certificates by
file. With --nats its log is an existing NATS cluster, and several coordinators may
run on it.`,
		Example: `  rackreach coordinator
  rackreach coordinator init --name coordinator.example.net
  rackreach coordinator --listen :7443
  rackreach coordinator --listen :7443 --nats nats://n1,nats://n2,nats://n3`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.run(cmd.Context(), terminal{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), env: env})
		},
	}
	f := cmd.Flags()
	stateFlag(f, &k.state)
	f.StringVar(&k.listen, "listen", "", `serve on this address (default: ":7443" with certificates, else "127.0.0.1:7443")`)
	f.StringVar(&k.url, "url", "", "how agents reach this coordinator, https://HOST:PORT, for rackreach enroll (default: the first name of init, and the port)")
	f.StringVar(&k.nats, "nats", "", "keep the log in this NATS cluster (default: one in this process)")
	f.StringVar(&k.credentials, "nats-credentials", "", "file of credentials for the NATS cluster")
	f.IntVar(&k.replicas, "nats-replicas", 0, "copies that the NATS cluster keeps (default 3)")
	f.StringVar(&k.cert, "tls-cert", "", "file with the coordinator's certificate")
	f.StringVar(&k.key, "tls-key", "", "file with its key")
	f.StringVar(&k.agentCA, "agent-ca", "", "file with the authorities of the agents' certificates")
	f.StringVar(&k.depot, "depot", "", "directory of the bundle that agents fetch images from (default: coordinator/depot in the state directory)")
	cmd.AddCommand(newCoordinatorInit(env), newCoordinatorRotate(env))
	return cmd
}

func newCoordinatorInit(env func(string) (string, bool)) *cobra.Command {
	var stateDir string
	var names []string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the authority that certifies the coordinator and its agents",
		Long: `Make an authority in the state directory, so that the coordinator can serve others
than this machine. Name it as agents and people reach it: DNS names or addresses.`,
		Example: "  rackreach coordinator init --name coordinator.example.net --name 10.0.0.5",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := homeOf(stateDir, env)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				host, err := os.Hostname()
				if err != nil {
					return badInput(fmt.Errorf("this machine's name is not known (%w): give --name", err))
				}
				names = []string{host}
			}
			for _, name := range names {
				if err := pki.CheckHost(name); err != nil {
					return badInput(fmt.Errorf("--name %w", err))
				}
			}
			if err := mayWrite(home.CoordinatorDir()); err != nil {
				return err
			}
			dir := filepath.Join(home.CoordinatorDir(), "pki")
			// The names come first: with an authority and without them a coordinator would
			// start as if it had no certificates.
			if _, err := pki.OpenAuthorities(dir, slog.New(slog.DiscardHandler)); errors.Is(err, pki.ErrNoAuthority) {
				if err := state.WriteNames(home, names); err != nil {
					return err
				}
			}
			if err := pki.InitAuthorities(dir); err != nil {
				return badInput(err)
			}
			a, err := pki.OpenAuthorities(dir, slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			return printLines(cmd.OutOrStdout(), []string{
				"authority: " + filepath.Join(dir, a.Fingerprint()),
				"fingerprint: " + a.Fingerprint(),
				"names: " + strings.Join(names, ", "),
				"Next: rackreach coordinator, then rackreach enroll --rack NAME for every agent, and rackreach token create NAME for every person",
			})
		},
	}
	stateFlag(cmd.Flags(), &stateDir)
	cmd.Flags().StringArrayVar(&names, "name", nil, "DNS name or address by which the coordinator is reached; may be given more than once (default: this machine's name)")
	return cmd
}

// mayWrite makes the coordinator's directory.
func mayWrite(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return notMine(fmt.Errorf("create the state directory: %w", err))
	}
	return nil
}

func (k *coordinating) run(ctx context.Context, t terminal) (err error) {
	home, err := homeOf(k.state, k.env)
	if err != nil {
		return err
	}
	if v, ok := k.env("GOGC"); !ok || v == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := slog.New(slog.NewTextHandler(t.notes, &slog.HandlerOptions{Level: slog.LevelInfo}))
	names, err := state.ReadNames(home)
	if err != nil {
		return notMine(err)
	}
	secure := len(names) > 0 || k.cert != ""
	if err := k.check(secure); err != nil {
		return err
	}
	if k.listen == "" {
		k.listen = "127.0.0.1:7443"
		if secure {
			k.listen = ":7443"
		}
	}
	host, _, err := net.SplitHostPort(k.listen)
	if err != nil {
		return badInput(fmt.Errorf("--listen %s: write HOST:PORT, or :PORT for every address: %w", k.listen, err))
	}
	if !secure && !loopback(host) {
		return badInput(fmt.Errorf("--listen %s: without certificates a coordinator listens on loopback only: rackreach coordinator init makes an authority, or give --tls-cert, --tls-key and --agent-ca", k.listen))
	}
	if err := mayWrite(home.CoordinatorDir()); err != nil {
		return err
	}
	flog, err := fleetlog.Open(ctx, fleetlog.Options{Dir: filepath.Join(home.CoordinatorDir(), "log"), URL: k.nats, Credentials: k.credentials, Replicas: k.replicas, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, flog.Close()) }()
	unix, err := api.Listen(home.Coordinator())
	if err != nil {
		return err
	}
	network, err := net.Listen("tcp", k.listen)
	if err != nil {
		return errors.Join(badInput(fmt.Errorf("--listen: %w: take another port", err)), unix.Close())
	}
	url, err := k.reachedAs(names, network.Addr())
	if err != nil {
		return errors.Join(err, unix.Close(), network.Close())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o := coordinator.Options{Log: flog, Version: version(), Snapshots: filepath.Join(home.CoordinatorDir(), "snapshots"), Build: build(), Registry: registry, Logger: log, Unix: unix, Network: network}
	o.Security = coordinator.Security{Dir: home.CoordinatorDir(), Names: names, URL: url}
	if k.cert != "" {
		o.Security.Files = &pki.Files{Certificate: k.cert, Key: k.key, AgentCA: k.agentCA}
	}
	if o.Depot = k.depot; o.Depot == "" {
		o.Depot = home.Depot()
	}
	p := printer{w: t.out}
	o.Ready = func() {
		p.line("coordinator, serving at %s and %s", url, home.Coordinator())
		notify("READY=1")
	}
	c, err := coordinator.New(ctx, o)
	if err != nil {
		return errors.Join(err, unix.Close(), network.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	unwatched := watchdog(ctx, c.Alive, log)
	err = errors.Join(c.Run(ctx), p.err)
	stop()
	unwatched()
	return err
}

// reachedAs is the URL by which agents reach this coordinator.
func (k *coordinating) reachedAs(names []string, at net.Addr) (string, error) {
	if k.url != "" {
		return k.url, nil
	}
	_, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		if k.cert != "" {
			return "https://" + at.String(), nil
		}
		return "http://" + at.String(), nil
	}
	return "https://" + net.JoinHostPort(names[0], port), nil
}
