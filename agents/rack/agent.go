package rackagent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/discovery"
	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/discovery/lease"
	dhcprelay "github.com/rackreach/rackreach/discovery/relay"
	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/answerfile"
	"github.com/rackreach/rackreach/internal/boot"
	"github.com/rackreach/rackreach/internal/deviceapi"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/snmp"
	"github.com/rackreach/rackreach/internal/web"
	"github.com/rackreach/rackreach/messages"
)

// Options are what an agent is built from. Every field without a default must
// be set.
type Options struct {
	Rack      *rack.Rack // validated
	Platforms map[string]rack.Platform
	Plan      *rack.Plan
	Images    boot.Images
	Bundle    string // where the images come from, and SignedBy who vouches for them (rack.Detail)
	SignedBy  string
	Log       journal.Log

	// RunID names the run when it starts; a run that goes on keeps the name that
	// its journal holds. Empty: a random one. Receipts on devices carry it.
	RunID string
	// Secret makes the tokens of the tickets. A run that goes on needs the one
	// that it began with, or devices in the middle of their job are turned away.
	// Empty: a random one.
	Secret []byte
	// Only are the devices that a run which starts is to image; empty: all.
	Only []string
	// Salvaged is the last sequence that came from a damaged journal; 0: none.
	Salvaged uint64
	// Stay lets the agent go on answering devices once the run has ended, until the
	// context of Run ends.
	Stay bool

	// One of both opens the wire of DHCP, again when the service is restarted: that of an
	// interface, or a connection of a simulation.
	Wire       func() (discovery.Wire, error)
	ListenDHCP func() (net.PacketConn, error)
	// BootWire opens the wire of a proxy's boot server, as Wire does. Nil: there is none,
	// and the rack's DHCP is no proxy.
	BootWire func() (discovery.Wire, error)
	// LeaseFile is where DHCP keeps the addresses that it acknowledged. Empty: in
	// memory only, for a rack whose state does not outlive the process.
	LeaseFile string
	TFTP      net.PacketConn
	HTTP      net.Listener
	// Loaders run boot scripts on firmware that cannot; nil: nothing does.
	Loaders boot.Loaders
	// Syslog is where devices log to; nil: nowhere. Run closes it.
	Syslog   net.PacketConn
	BaseURL  string     // "http://HOST:PORT" of HTTP, as devices reach it; empty: the address that HTTP listens on
	ServerID netip.Addr // the agent's own address, as devices reach it
	// Own are the addresses of the interface that is served: a device is told the one
	// in its network, if there is one. Empty: ServerID and BaseURL are for everybody.
	Own []netip.Prefix
	// Company is that of discovery.Options; nil: no other agent is on the segment.
	Company func() (known, heard bool)
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	// ARP asks once who answers for an address on the segment of the rack; its error says
	// that nobody does. Nil: there is no such segment.
	ARP func(ctx context.Context, address netip.Addr) (net.HardwareAddr, error)
	// Credentials resolves a reference of the rack file to a user and a password.
	Credentials func(reference string) (user, password string, err error)
	// Key resolves a reference of the rack file to a private key. Nil: none is read.
	Key func(reference string) ([]byte, error)
	// HostKeys is the file that keeps the host keys of devices. Empty: in memory only,
	// for a rack whose state does not outlive the process.
	HostKeys string
	// Hash resolves a reference of the rack file to the hash of a password, which
	// answer files hold. Nil: a device that needs one is not installed.
	Hash func(reference string) (answerfile.Secret, error)

	// Rules say what vendor strings in DHCP packets mean. Nil: those that rackreach
	// comes with.
	Rules *classify.Rules

	Power power.Options // Dial and Recovered are filled in

	DiscoveryLimit time.Duration
	ScanEvery      time.Duration

	// API is where the API of the rack is served; nil: nowhere. Run closes it.
	API net.Listener
	// Speed is how many times faster than real hardware the devices are, for
	// readers of the API; 0: 1.
	Speed float64
	// PlanJSON is what the run carries out, for readers of the API.
	PlanJSON []byte

	Registry    prometheus.Registerer // nil: metrics are kept but not registered
	Announce    func(rack.Event)      // nil: nobody is told
	Inject      func(device string, phase rack.Phase)
	At          func(actors.Point, uint64) // nil: nothing; crash tests end the process there
	Supervision *actors.Supervision        // nil: the default
	Logger      *slog.Logger               // nil: discarded
}

// Agent is one agent, built and not yet running, or running.
type Agent struct {
	o       Options
	metrics *metrics
	boot    *boot.Services
	exec    *executor
	table   atomic.Pointer[table]
	leases  *lease.Store // from the begin of Run to its end
	system  *actor.ActorSystem
	actor   *actors.Agent
	pid     *actor.PID
	ended   chan error
	up      chan struct{} // closed by born: orders find the actor, or that it is gone
	born    func()

	offered bool          // offer was called; what the first call knows is of an earlier life
	tickets []boot.Ticket // every ticket of this run, by its order of issue; used by offer only
}

// New builds an agent; nothing is served yet. Errors say what of the options
// does not do.
func New(o Options) (*Agent, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Announce == nil {
		o.Announce = func(rack.Event) {}
	}
	if o.RunID == "" {
		o.RunID = rand.Text()
	}
	if len(o.Secret) == 0 {
		o.Secret = []byte(rand.Text())
	}
	a := &Agent{o: o, ended: make(chan error, 1), up: make(chan struct{})}
	a.born = sync.OnceFunc(func() { close(a.up) })
	a.metrics = newMetrics(o.Rack, o.Platforms, a.Transferred, a.installing)
	if o.BaseURL == "" {
		o.BaseURL = "http://" + o.HTTP.Addr().String()
	}
	told := &native{rack: o.Rack, images: o.Images, hash: o.Hash, log: o.Logger, logins: logins{o.Credentials, o.Key}}
	services, err := boot.New(boot.Options{HTTP: o.HTTP, TFTP: o.TFTP, BaseURL: o.BaseURL, Images: o.Images,
		Report: a.report, Fetched: a.fetched, Native: told, Seed: told.seed, Log: o.Logger, Said: a.installerSaid, Found: a.machineFound, DeviceAt: a.deviceAt,
		Bandwidth: boot.Bandwidth{Rack: o.Rack.Services.Bandwidth.Rack / 8, Device: o.Rack.Services.Bandwidth.Device / 8}, Loaders: o.Loaders})
	if err != nil {
		return nil, fmt.Errorf("set up the boot services: %w", err)
	}
	a.boot, told.imageURL = services, services.InstallerURL
	o.Power.Dial, o.Power.Recovered = o.Dial, a.recovered
	bmcs, err := power.New(o.Power)
	if err != nil {
		return nil, fmt.Errorf("set up the access to BMCs: %w", err)
	}
	keys := hostKeys(o.HostKeys)
	shell, err := newShell(&o, a.images(), keys)
	if err != nil {
		return nil, fmt.Errorf("set up the access to devices: %w", err)
	}
	a.exec = &executor{rack: o.Rack, images: a.images(), credentials: o.Credentials, power: bmcs, device: deviceapi.New(o.Dial), shell: shell, snmp: snmp.New(o.Dial), ports: dhcprelay.NewPorts(o.Rack), logger: o.Logger, publish: a.publish, note: a.note,
		dial: o.Dial, arp: o.ARP, web: web.New(web.Options{Dial: o.Dial, Keys: keys, Logger: o.Logger}), webAsking: web.New(web.Options{Dial: o.Dial, Keys: unpinned{keys}, Logger: o.Logger})}
	a.table.Store(newTable(o.Rack, actors.Offer{Binder: rack.NewBinder(o.Rack, o.Platforms)}, o.ServerID, o.Own, nil, services))
	a.system = actors.NewSystem()
	a.pid = actor.NewPID(a.system.Address(), "agent-"+o.Rack.Name)
	a.actor = a.build()
	a.metrics.dropped = a.actor.Dropped
	if o.Registry != nil {
		if err := o.Registry.Register(a.metrics); err != nil {
			return nil, fmt.Errorf("register the metrics: %w", err)
		}
	}
	return a, nil
}

// Transferred is how many bytes of its image a device was sent, and of how
// many; zeros before its first byte. It may be called at any time.
func (a *Agent) Transferred(device string) (sent, size int64) { return a.boot.Progress(device) }

// installing is what rackreach's own installer says of a device; nil where it said
// nothing.
func (a *Agent) installing(device string) (*job.Progress, *job.Hardware) {
	return a.boot.InstallerProgress(device), a.boot.Hardware(device)
}

// images are what the plan gives each device.
func (a *Agent) images() map[string]rack.Image {
	images := map[string]rack.Image{}
	for _, d := range a.o.Plan.Devices {
		images[d.Name] = rack.Image(d.Image)
	}
	return images
}

// Run images the rack. It returns when the run has ended and everything is shut
// down: nil after rack-completed and after rack-halted (the events say which),
// otherwise why the agent could not go on. With Stay it returns when ctx ends,
// and that is no error.
func (a *Agent) Run(ctx context.Context) (err error) {
	if err := a.openLeases(); err != nil {
		a.born()
		return err
	}
	defer func() { err = errors.Join(err, a.leases.Close()) }()
	defer a.exec.power.Close()
	serving, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	go func() { served <- a.boot.Serve(serving) }()

	defer a.born() // whatever becomes of it
	if err := a.spawn(); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	a.born()
	listened := a.listenToLogs(serving)
	told := make(chan error, 1)
	go func() { told <- a.serveAPI(serving) }()
	for staying := true; staying; {
		select {
		case err = <-a.ended:
			staying = err == nil && a.o.Stay
		case <-ctx.Done():
			if !a.o.Stay {
				err = fmt.Errorf("stopped before the rack was done: %w", context.Cause(ctx))
			}
			staying = false
		case err = <-served:
			served <- nil
			err = fmt.Errorf("the boot services ended: %w", err)
			staying = false
		}
	}
	if stopErr := a.system.Root.StopFuture(a.pid).Wait(); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop the actors: %w", stopErr))
	}
	stop()
	if e := <-served; e != nil {
		err = errors.Join(err, fmt.Errorf("stop the boot services: %w", e))
	}
	err = errors.Join(err, <-told, <-listened)
	a.system.Shutdown()
	return err
}

// openLeases opens what DHCP acknowledged in earlier lives.
func (a *Agent) openLeases() (err error) {
	if a.o.LeaseFile == "" {
		a.leases = lease.Memory(lease.Options{})
	} else if a.leases, err = lease.Open(a.o.LeaseFile, lease.Options{}); err != nil {
		return fmt.Errorf("start DHCP: %w", err)
	}
	a.metrics.leases.store.Store(a.leases)
	return nil
}

// build makes the actor; it is spawned by Run.
func (a *Agent) build() *actors.Agent {
	supervision := actors.DefaultSupervision()
	if a.o.Supervision != nil {
		supervision = *a.o.Supervision
	}
	return actors.NewAgent(actors.Options{
		Log: a.o.Log, Rack: a.o.Rack, Platforms: a.o.Platforms, Images: a.images(), PlanHash: a.o.Plan.Hash, Bundle: a.o.Bundle, SignedBy: a.o.SignedBy, RunID: a.o.RunID,
		Only: a.o.Only, Salvaged: a.o.Salvaged, Stay: a.o.Stay, At: a.o.At,
		Executor: a.exec, Scanner: a.exec, Lamp: a.exec, DHCP: a.openDHCP, Offer: a.offer, Announce: a.announce, Ended: a.end,
		DiscoveryLimit: a.o.DiscoveryLimit, ScanEvery: a.o.ScanEvery,
		Supervision: supervision, Inject: a.o.Inject, Logger: a.o.Logger,
	})
}

// spawn starts the actor under a guardian that ends the run when it crashes: a
// second life in the same process would not know what the first one had begun.
func (a *Agent) spawn() error {
	root := a.system.Root.Copy().WithGuardian(&guardian{a.end})
	if _, err := root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return a.actor }), a.pid.Id); err != nil {
		return fmt.Errorf("spawn the agent of rack %s: %w", a.o.Rack.Name, err)
	}
	return nil
}

// guardian stops an Agent that crashed.
type guardian struct{ end func(error) }

// HandleFailure implements actor.SupervisorStrategy.
func (g *guardian) HandleFailure(_ *actor.ActorSystem, supervisor actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	g.end(fmt.Errorf("the agent crashed: %.300v", reason))
	supervisor.StopChildren(child)
}

// end takes the first word on how the run ended.
func (a *Agent) end(err error) {
	select {
	case a.ended <- err:
	default:
	}
}

func (a *Agent) announce(e rack.Event) {
	a.metrics.observe(e)
	a.o.Announce(e)
}

// offer swaps the boot table and the tickets. It runs on Agent's goroutine.
func (a *Agent) offer(o actors.Offer) {
	a.exec.remember(o)
	var live []boot.Ticket
	for _, t := range o.Tickets {
		d, _ := a.o.Rack.Device(t.Device)
		x := boot.Ticket{ID: t.ID, Token: boot.Token(a.o.Secret, t.ID), Rack: a.o.Rack.Name, Run: o.Run,
			Device: t.Device, Role: d.Role, Platform: d.Platform, Image: t.Image, Open: t.Open, Native: d.Answered(), Provision: a.o.Platforms[d.Platform].Provision, Base: a.baseFor(d), Install: diskImage(d.Install),
			Overwrites: t.Overwrites, Delivered: t.Delivered, Resumed: !a.offered}
		if n := slices.IndexFunc(a.tickets, func(y boot.Ticket) bool { return y.ID == t.ID }); n >= 0 {
			x.Resumed = a.tickets[n].Resumed
			a.tickets[n] = x
		} else {
			for n := range a.tickets { // a device has one ticket at a time
				a.tickets[n].Open = a.tickets[n].Open && a.tickets[n].Device != t.Device
			}
			a.tickets = append(a.tickets, x)
		}
		if t.Open {
			live = append(live, x)
		}
	}
	a.offered = true
	// First the bytes, then the pointer to them: a device that hears of its
	// ticket finds it open.
	if err := a.boot.SetTickets(slices.Clone(a.tickets)); err != nil {
		a.o.Logger.Error("the boot services keep serving the tickets they had", "error", err)
		return
	}
	a.table.Store(newTable(a.o.Rack, o, a.o.ServerID, a.o.Own, live, a.boot))
}

// report waits until a device's own word about its job is journalled.
func (a *Agent) report(ctx context.Context, r boot.Report) error {
	_, err := actors.Ask[actors.Reported](ctx, a.system, a.pid, &actors.Report{Ticket: r.Ticket.ID, Observation: r.Observation()})
	if errors.Is(err, actors.ErrTicketClosed) {
		return fmt.Errorf("%w: %w", boot.ErrClosed, err)
	}
	return err
}

// fetched publishes that a device was sent the whole of something.
func (a *Agent) fetched(t boot.Ticket, what rack.Evidence, by rack.Source) {
	a.publish(rack.Observation{Source: by, Device: t.Device, Proves: what})
}

// publish puts an observation of a known device on the event stream.
func (a *Agent) publish(o rack.Observation) {
	a.system.EventStream.Publish(&messages.DeviceSeen{Observation: messages.FromObservation(&o)})
}

// note hands something to the journal that nothing is decided by.
func (a *Agent) note(n *actors.Note) { a.system.Root.Send(a.pid, n) }

// recovered takes in what a BMC made necessary. That it forgot a session is usual, and
// counted only: the others come of commands, whose number is bounded.
func (a *Agent) recovered(t power.Target, r rack.Recovery) {
	if r == rack.SessionRenewed {
		a.metrics.recovery.WithLabelValues(a.o.Rack.Name, t.Device, string(r)).Inc()
		return
	}
	a.note(&actors.Note{Kind: rack.RecoveryMade, Device: t.Device, Detail: rack.Detail{Recovery: r}})
}

// baseFor is where a device reaches the boot services; empty: where all do.
func (a *Agent) baseFor(d *rack.Device) string {
	if at := within(a.o.Own, a.o.Rack.Prefix(d.Home()), netip.Addr{}); at.IsValid() {
		return base(at)
	}
	return ""
}

// wire opens the wire of DHCP.
func (a *Agent) wire() (discovery.Wire, error) {
	if a.o.Wire != nil {
		return a.o.Wire()
	}
	conn, err := a.o.ListenDHCP()
	if err != nil {
		return nil, err
	}
	return wire.Over(conn), nil
}

// inRole is what an observation proves of the device that it is of: the system that an
// address proves of a switch is its network operating system, whatever its DHCP client.
// Where there is a BMC it may be that of the BMC, many of which have such a client, too.
func (a *Agent) inRole(o rack.Observation) rack.Evidence {
	if d, ok := a.o.Rack.Device(o.Device); ok && d.Role.IsSwitch() && d.BMC == nil && o.Proves == rack.DHCPOS {
		return rack.DHCPNOS
	}
	return o.Proves
}

// alarmEvery bounds how often a problem that DHCP sees is logged: clients cause it.
const alarmEvery = time.Second

// openDHCP opens the wire and builds a DHCP engine on it.
func (a *Agent) openDHCP(publish func(*messages.DeviceSeen)) (actors.DHCPServer, error) {
	on, err := a.wire()
	if err != nil {
		return nil, err
	}
	var alarmed time.Time // used by OnSeen only, which is called once at a time
	server, err := newDHCP(a.o.Rack, discovery.Options{
		Wire: on, Ports: dhcprelay.NewPorts(a.o.Rack), Leases: a.leases, ServerID: a.o.ServerID, Authoritative: a.o.Rack.DHCP.Authoritative, Company: a.o.Company, Count: a.metrics.dhcp, Sleep: wire.Sleep,
		Table: func() discovery.Table { return a.table.Load() },
		Rules: a.o.Rules,
		OnPanic: func(reason any, stack []byte) {
			a.o.Logger.Error("a DHCP packet crashed its handler and was dropped", "reason", fmt.Sprint(reason), "stack", string(stack))
		},
		OnTrouble: func(err error) { a.o.Logger.Error("DHCP", "error", err) },
		OnSeen: func(s discovery.Seen) {
			if s.Alarm != "" && time.Since(alarmed) >= alarmEvery {
				alarmed = time.Now()
				a.o.Logger.Warn("DHCP", "mac", s.Keys.MAC, "problem", s.Alarm)
			}
			s.Observation.Proves = a.inRole(s.Observation)
			m := &messages.DeviceSeen{Observation: messages.FromObservation(&s.Observation), Direct: s.Keys.Direct}
			if s.Err != nil {
				if !errors.Is(s.Err, rack.ErrAmbiguous) {
					return // a stranger: counted, not journalled
				}
				m.Unbound, m.Ambiguous = s.Err.Error(), true
			}
			publish(m)
		},
	}, a.o.BootWire)
	if err != nil {
		return nil, errors.Join(err, on.Close())
	}
	return server, nil
}
