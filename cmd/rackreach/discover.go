package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/discovery/foreign"
	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/discovery/wire"
)

// discover is the discovery of a real rack, as the flags ask for it.
type discover struct {
	file    string
	output  string
	allow   []string
	metrics string
	hear    time.Duration
	rules   string
	scan    time.Duration
	state   string
	env     func(string) (string, bool)
}

// fewerCollections lets the heap, which is small, grow more between two collections:
// packets leave much behind, and the CPU is better spent on answering them.
const fewerCollections = 400

// processors is how many of them answer: what there is to do is one thing after the
// other, and a second one is woken up and put to sleep for each batch (measured with
// 15,800 clients a second: 39 to 42 µs of CPU for a client with two, 33 to 36 with one).
const processors = 1

// minHear is the shortest --hear: a server that asks by ARP first takes as long.
const minHear = time.Second

// minScan is the shortest pause between two scans for BMCs.
const minScan = 10 * time.Second

func newDiscover(env func(string) (string, bool)) *cobra.Command {
	d := discover{env: env}
	cmd := &cobra.Command{
		Use:   "discover FILE",
		Short: "Give the components of a rack their addresses, and say who is there",
		Long: `Answer DHCP on the interface that agent.interface of the rack file names, and print a
line for everything that is learnt: who was seen, by which evidence, and to which
slot it belongs. Every component of the rack gets the address that the rack file
gives it; others are met with silence. Nothing is imaged: nobody gets a boot file.

It also scans the management network for BMCs and says whose they are, hears by LLDP
where this machine is plugged in, and tells IPv6 nodes that there is no router, so that
iPXE does not wait for one.

Before it answers anybody it listens for other DHCP servers, and asks for them; where
one is heard it does not begin, unless --allow names it. One that comes later is told
and counted.

It needs the capabilities CAP_NET_RAW and CAP_NET_BIND_SERVICE, and ends at an
interrupt. rackreach preflight FILE says beforehand what would be in its way.`,
		Example: `  rackreach discover rack.yaml
  rackreach discover rack.yaml -o json
  rackreach discover rack.yaml --metrics-listen 127.0.0.1:9464`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			d.file = given[0]
			return d.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&d.output, "output", "o", "lines", "lines or json")
	f.StringArrayVar(&d.allow, "allow", nil, "an interface that is to be served although it holds the default route, or the address of another DHCP server that may be there; may be given more than once")
	f.DurationVar(&d.hear, "hear", foreign.DefaultWindow, "how long to listen for other DHCP servers before answering anybody")
	rulesFlag(f, &d.rules)

	f.DurationVar(&d.scan, "scan-every", 5*time.Minute, "how long to wait between two scans of the management network for BMCs")
	stateFlag(f, &d.state)
	f.StringVar(&d.metrics, "metrics-listen", "", "serve Prometheus metrics on this loopback address (default: nowhere)")
	return cmd
}

func (d *discover) run(ctx context.Context, out, notes io.Writer) (err error) {
	if err := checkLines(d.output); err != nil {
		return err
	}
	if d.hear < minHear {
		return badInput(fmt.Errorf("--hear %s is too short to hear another server: write %s or more", d.hear, minHear))
	}
	if d.scan < minScan {
		return badInput(fmt.Errorf("--scan-every %s asks too often: write %s or more", d.scan, minScan))
	}
	if d.metrics != "" {
		if err := checkMetricsListen(d.metrics); err != nil {
			return err
		}
	}
	r, known, err := loadKnown(d.file, d.env)
	if err != nil {
		return err
	}
	if r.Agent.Interface == "" {
		return badInput(fmt.Errorf("the rack file of %s names no interface: write agent: {cable: %q, interface: NAME}, with the interface that is cabled to that port\nNothing was begun. Mend the file, then: rackreach preflight %s", r.Name, r.Agent.Cable, d.file))
	}
	rules, _, err := loadRules(d.rules, d.env)
	if err != nil {
		return err
	}
	leases, err := d.leases(r.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leases.Close()) }()
	if _, set := d.env("GOGC"); !set {
		debug.SetGCPercent(fewerCollections)
	}
	if _, set := d.env("GOMAXPROCS"); !set {
		runtime.GOMAXPROCS(processors)
	}
	registry := prometheus.NewRegistry()
	lines := &noticeLines{out: out, json: d.output == "json"}
	x, err := rackagent.NewDiscoverer(rackagent.DiscoverOptions{
		Rack: r, Platforms: known, Allow: d.allow, Registry: registry, Tell: lines.tell, Hear: d.hear, Leases: leases, Rules: rules,
		Credentials: credentials(d.env), Key: keys(d.env), ScanPause: d.scan,
	})
	if err != nil {
		err = fmt.Errorf("%w\nNothing was begun. See: rackreach preflight %s", err, d.file)
		if errors.As(err, new(*wire.MissingError)) {
			return badInput(err)
		}
		return err
	}
	if d.metrics != "" {
		var web imaging
		if err := web.serveMetrics(d.metrics, registry); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, web.close()) }()
		if err := printLines(notes, []string{"metrics at " + web.url}); err != nil {
			return err
		}
	}
	return errors.Join(x.Run(ctx), lines.failed())
}

// leases opens the leases of a rack, which outlive the process.
func (d *discover) leases(name string) (*lease.Store, error) {
	home, err := homeOf(d.state, d.env)
	if err != nil {
		return nil, err
	}
	return lease.Open(home.Rack(name).Leases(), lease.Options{})
}

// checkLines checks -o of commands that print a line for each thing that happens.
func checkLines(output string) error {
	if output != "lines" && output != "json" {
		return badInput(fmt.Errorf("-o %q is not an output: write -o lines or -o json", output))
	}
	return nil
}

// noticeLines prints a line for each notice.
type noticeLines struct {
	out  io.Writer
	json bool
	who  string // what a line is about that is about no slot and no rack

	mu  sync.Mutex
	err error
}

func (l *noticeLines) tell(n rackagent.Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.json {
		l.err = json.NewEncoder(l.out).Encode(n)
		return
	}
	who := n.Device
	if who == "" {
		who = cmp.Or(n.Rack, l.who)
	}
	_, l.err = fmt.Fprintf(l.out, "%s  %-14s %-14s %s\n", n.Time.UTC().Format("15:04:05.000"), who, n.Kind, n.Text)
}

func (l *noticeLines) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return fmt.Errorf("write what was learnt: %w", l.err)
	}
	return nil
}
