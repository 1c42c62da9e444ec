package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/bougou/go-ipmi/pkg/handlers"

	"github.com/rackreach/rackreach/internal/rack"
)

// Options says what rack to simulate and how.
type Options struct {
	Rack      *rack.Rack               // validated
	Platforms map[string]rack.Platform // tells devices that install by ONIE from those that install by PXE
	Speed     float64                  // durations of real hardware are divided by it; 0: 1
	Faults    []Fault                  // checked by CheckFaults
	Record    io.Writer                // the simulator's record, JSON lines; nil: none
	Seed      uint64                   // of the variation of durations
	User      string                   // that BMCs accept
	Password  string                   // of that user
	Peers     map[string]string        // where other simulated racks serve, by name: their sockets; nil: there are none
	Swaps     []Swap                   // cables that were plugged wrongly, checked by CheckSwaps
	Holds     map[string]string        // foreign data on the disk of a device at first, checked by CheckHolds; nil: none anywhere
}

// Services is where the agent's services really listen.
type Services struct {
	DHCP net.Addr // nil: behind Sim.DHCPConn
	TFTP net.Addr // *net.UDPAddr; devices ask for port 69 of the server that DHCP names
	HTTP net.Addr // URLs carry it, or AgentHTTP, which leads here
}

// Stats counts what went through the fabric.
type Stats struct {
	Packets int64 // datagrams and connections let through
	Bytes   int64 // on TCP connections
	Dropped int64 // packets without a path
}

// Sim is a simulated rack. Its methods are safe for concurrent use.
type Sim struct {
	rack           *rack.Rack
	user, password string
	tempo          tempo
	record         *record
	faults         *faults
	fabric         *fabric
	wires          *wires
	commands       *handlers.Registry
	lldp           *lldp
	peers          map[string]string
	devices        []*device

	ctx    context.Context // ends at Close, or with Start's context
	cancel context.CancelFunc
	where  atomic.Pointer[Services]

	mu      sync.Mutex
	started bool
	closed  bool
	err     error          // first trouble of the simulator itself
	running sync.WaitGroup // goroutines; added to under mu while not closed
}

// New opens the sockets of a rack that is still switched off. The error names
// what is missing; no socket stays open then.
func New(o Options) (*Sim, error) {
	if o.Rack == nil {
		return nil, errors.New("simulate: no rack given")
	}
	if err := CheckFaults(o.Faults, o.Rack); err != nil {
		return nil, err
	}
	if err := CheckHolds(o.Holds, o.Rack, o.Platforms); err != nil {
		return nil, err
	}
	if err := CheckSwaps(o.Swaps, o.Rack); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Peers)) {
		if err := checkSocketPath(o.Peers[name]); err != nil {
			return nil, fmt.Errorf("rack %s: %w", name, err)
		}
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Speed < 0 {
		return nil, fmt.Errorf("simulate: speed %v: write a number above 0", o.Speed)
	}
	rec := &record{out: o.Record}
	s := &Sim{rack: o.Rack, user: o.User, password: o.Password, tempo: tempo{o.Speed, o.Seed}, record: rec,
		faults: newFaults(o.Faults, rec), fabric: newFabric(o.Rack, rec), commands: ipmiCommands(), peers: o.Peers}
	var err error
	if s.lldp, err = newLLDP(o.Rack, s.fabric, o.Swaps); err != nil {
		return nil, fmt.Errorf("simulate rack %s: %w", o.Rack.Name, err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.where.Store(&Services{})
	err = s.build(o.Platforms, o.Holds)
	for _, x := range o.Swaps {
		s.fabric.swap(x)
	}
	if err == nil {
		s.wires, err = s.openWires()
	}
	for _, d := range s.devices {
		if err == nil && d.bmcEnd != nil {
			if d.bmc, err = s.newController(d); err == nil {
				s.fabric.bmcs[d.bmcEnd] = d.bmc.real()
			}
		}
	}
	if err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("simulate rack %s: %w", o.Rack.Name, err), s.closeSockets())
	}
	return s, nil
}

// isONIE tells a platform that installs by ONIE from one that installs by PXE.
func isONIE(p rack.Platform) bool { return slices.Contains(p.Match.Stages, rack.StageONIE) }

// build makes the devices, their ends and what is on their disks.
func (s *Sim) build(platforms map[string]rack.Platform, holds map[string]string) error {
	for i := range s.rack.Devices {
		spec := &s.rack.Devices[i]
		p, ok := platforms[spec.Platform]
		if !ok {
			return fmt.Errorf("%s has platform %q, which is not in the table of platforms", spec.Name, spec.Platform)
		}
		d := &device{sim: s, spec: spec, onie: isONIE(p), mimic: p.Simulated() != nil || len(p.Steps) == 0, serial: spec.Serial,
			guid: derivedGUID(s.rack.Name, spec.Name), stage: rack.Discovery}
		if len(p.Match.Machines) > 0 {
			d.machine = p.Match.Machines[0]
		}
		if d.conduct = conducts[spec.Platform]; d.conduct != nil && d.machine == "" {
			d.machine = d.conduct.machine
		}
		if d.serial == "" {
			d.serial = "SN-" + spec.Name
		}
		d.host = &host{dev: d, disk: disk{foreign: holds[spec.Name], bootable: d.ships()}}
		s.cable(d)
		s.devices = append(s.devices, d)
	}
	return nil
}

// cable attaches the ends of a device. A MAC that the inventory lists belongs to
// the host's interfaces, in their order.
func (s *Sim) cable(d *device) {
	listed := d.spec.MACs
	add := func(n rack.Network, near rack.Port, what string, mac bool) *end {
		e := &end{device: d.spec.Name, network: n, mac: derivedMAC(s.rack.Name, d.spec.Name, what)}
		e.plug.Store(&near)
		if mac && len(listed) > 0 {
			if m, err := net.ParseMAC(listed[0]); err == nil {
				e.mac = m
			}
			listed = listed[1:]
		}
		return s.fabric.attach(e)
	}
	isSwitch := d.spec.Role.IsSwitch()
	if isSwitch {
		d.nics = append(d.nics, add(rack.Management, d.spec.Management, "management", true))
	}
	for i, p := range d.spec.Data {
		e := add(rack.Data, p, "data-"+strconv.Itoa(i), !isSwitch)
		if isSwitch {
			d.ups = append(d.ups, e)
		} else {
			d.nics = append(d.nics, e)
		}
	}
	if d.spec.BMC != nil {
		d.bmcEnd = add(rack.Management, d.spec.Management, "bmc", false)
	}
}

// DHCPConn is what the agent's DHCP server listens on: a UDP socket on
// 127.0.0.1, and the agent's own cable, on which broadcasts and unicasts to
// client ports reach the management switch.
func (s *Sim) DHCPConn() net.PacketConn { return s.wires.server.Load() }

// ListenDHCP is DHCPConn, opened anew on the same port when a server that ended
// has closed it. One server may listen at a time.
func (s *Sim) ListenDHCP() (net.PacketConn, error) { return s.wires.listen() }

// Connect tells the devices where the agent's services are. Call it before
// Start; calling it again moves the services.
func (s *Sim) Connect(v Services) { s.where.Store(&v) }

func (s *Sim) services() Services { return *s.where.Load() }

// Start switches the rack on: BMCs, and every device that has no BMC. It may be
// called once; the rack runs until ctx ends or Close.
func (s *Sim) Start(ctx context.Context) {
	s.mu.Lock()
	again := s.started || s.closed
	s.started = true
	s.mu.Unlock()
	if again {
		return
	}
	s.spawn(func() {
		select {
		case <-ctx.Done():
			s.cancel()
		case <-s.ctx.Done():
		}
	})
	s.wires.start()
	for name, path := range s.peers {
		s.spawn(func() { s.seek(name, path) })
	}
	for _, d := range s.devices {
		if d.bmc != nil {
			if d.bmc.fixed() {
				s.fabric.hold(d.spec.BMC.Address, d.bmc.end)
			}
			s.spawn(func() { d.bmc.serve(s.ctx) })
			s.spawn(func() { d.bmc.address(s.ctx) })
		}
		if d.bmc == nil || d.onie {
			d.host.powerOn(func() bool { return !d.onie && !d.ships() })
		}
	}
}

// Stats counts what went through the fabric so far.
func (s *Sim) Stats() Stats {
	return Stats{s.fabric.packets.Load(), s.fabric.bytes.Load(), s.fabric.dropped.Load()}
}

// Close switches the rack off, closes every socket, waits for every goroutine
// and ends the record. It returns the first trouble that the simulator itself
// had; calling it again returns the same.
func (s *Sim) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	err := s.closeSockets()
	s.running.Wait()
	if !again {
		s.record.add(kindDroppedTotal, "", nil, detail{"count": strconv.FormatInt(s.fabric.dropped.Load(), 10)})
		err = errors.Join(err, s.record.end())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
	return s.err
}

func (s *Sim) closeSockets() error {
	var errs []error
	for _, d := range s.devices {
		if d.bmc != nil {
			errs = append(errs, ignoreClosed(d.bmc.server.Close()))
		}
	}
	if s.wires != nil {
		errs = append(errs, s.wires.close())
	}
	s.fabric.resetAll()
	return errors.Join(errs...)
}

// spawn runs f in a goroutine that Close waits for; false after Close.
func (s *Sim) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Go(f)
	return true
}

// fail notes trouble of the simulator itself, as opposed to that of a device.
func (s *Sim) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !s.closed {
		s.err = err
	}
}

// recordVia records what happened at an end, with the switches on its path.
func (s *Sim) recordVia(kind string, e *end, d detail) {
	s.fabric.mu.RLock()
	v := via(e.hops)
	s.fabric.mu.RUnlock()
	s.record.add(kind, e.device, v, d)
}
