package simulate

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Bounds of a simulation. The samples of all racks are held in memory, about
// 150 bytes a device.
const (
	MaxRacks   = 10_000
	MaxDevices = 1_000_000 // racks times devices
	MaxWorkers = 256
)

// Defaults of Options: those of a real run.
const (
	DefaultDiscoveryLimit = 10 * time.Minute
	DefaultScanEvery      = 30 * time.Second
)

// Options say what is simulated.
type Options struct {
	Rack      *rack.Rack               // validated
	Platforms map[string]rack.Platform // with the limits of real hardware, not scaled
	Images    map[string]rack.Image    // by slot, as the plan says; a slot that is missing has an image of unknown size
	Racks     int                      // how many racks are simulated; 1 to MaxRacks
	Seed      uint64
	Faults    Faults
	Workers   int // racks that are simulated at once; 0: one per CPU; at most MaxWorkers

	DiscoveryLimit time.Duration // from a route becoming ready until its device must have been seen; 0: DefaultDiscoveryLimit
	ScanEvery      time.Duration // between two rounds of probing BMCs; 0: DefaultScanEvery
}

// setup is what all racks of a simulation share. It does not change.
type setup struct {
	o       Options
	devices []*spec
	byName  map[string]int
	keys    []Key // steps by role, in the order of the roles and of their steps
	keyOf   map[Key]int
	pause   Distribution // between two rounds of ONIE
	timeout Distribution // of the firmware on a silent port
}

// Key names a step of a role: one of its platforms' steps, first-contact, or retry-pause.
type Key struct {
	Role rack.Role `json:"role"`
	Step string    `json:"step"`
}

// retryPause is the time between a failed attempt and the next one.
const retryPause = "retry-pause"

// spec is what is known about a device before anything happens.
type spec struct {
	index    int
	dev      *rack.Device
	platform rack.Platform
	image    rack.Image
	takes    []Distribution // by step: of its action, or until its evidence
	faults   [][]*Fault     // by step
	absent   []*Fault       // first-contact
	cables   []*Fault       // data-cable
	keys     []int          // by step
	step     map[string]int // by name
	contact  Distribution
	onie     bool // an installer of its own, ONIE, asks for an image
	ztp      bool // its system, which is there before, asks at its first boot what to install
	netboot  int  // the step that waits for its firmware's request; -1: none
	install  []int
	behind   []int // devices whose management cable ends at it
	gate     int   // the device at the near end of its management cable; -1: the agent
}

// newSetup checks the options and resolves the tables for every device.
func newSetup(o Options) (*setup, error) {
	switch {
	case o.Rack == nil || len(o.Rack.Devices) == 0:
		return nil, errors.New("simulate: there is no rack: give a rack file with devices")
	case o.Racks < 1 || o.Racks > MaxRacks:
		return nil, fmt.Errorf("simulate: %d racks: give a number from 1 to %d", o.Racks, MaxRacks)
	case o.Racks*len(o.Rack.Devices) > MaxDevices:
		return nil, fmt.Errorf("simulate: %d racks of %d devices are more than %d devices: simulate fewer racks", o.Racks, len(o.Rack.Devices), MaxDevices)
	case o.Workers < 0 || o.Workers > MaxWorkers:
		return nil, fmt.Errorf("simulate: %d workers: give a number from 1 to %d, or 0 for one per CPU", o.Workers, MaxWorkers)
	case o.DiscoveryLimit < 0 || o.ScanEvery < 0:
		return nil, errors.New("simulate: a limit is below zero: leave it out")
	}
	if o.Workers == 0 {
		o.Workers = min(runtime.NumCPU(), MaxWorkers)
	}
	if o.DiscoveryLimit == 0 {
		o.DiscoveryLimit = DefaultDiscoveryLimit
	}
	if o.ScanEvery == 0 {
		o.ScanEvery = DefaultScanEvery
	}
	s := &setup{o: o, byName: map[string]int{}, keyOf: map[Key]int{}}
	table := durations{Durations()}
	for i := range o.Rack.Devices {
		d, err := newSpec(&o, i, table)
		if err != nil {
			return nil, fmt.Errorf("simulate %s: %w", o.Rack.Devices[i].Name, err)
		}
		s.devices = append(s.devices, d)
		s.byName[d.dev.Name] = i
	}
	for i, d := range s.devices {
		d.gate = -1
		if gate, ok := s.byName[d.dev.Management.Device]; ok {
			d.gate = gate
			s.devices[gate].behind = append(s.devices[gate].behind, i)
		}
	}
	s.number()
	var err error
	if s.pause, err = table.find(oniePause, "", 0); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	if s.timeout, err = table.find(pxeTimeout, "", 0); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	if err := s.faults(); err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	return s, nil
}

func newSpec(o *Options, i int, table durations) (*spec, error) {
	dev := &o.Rack.Devices[i]
	p, ok := o.Platforms[dev.Platform]
	if !ok {
		return nil, fmt.Errorf("there is no platform %q: mend platform: in the rack file", dev.Platform)
	}
	d := &spec{index: i, dev: dev, platform: p, image: o.Images[dev.Name], step: map[string]int{}, netboot: -1,
		faults: make([][]*Fault, len(p.Steps)), takes: make([]Distribution, len(p.Steps))}
	for n := range p.Steps {
		s := &p.Steps[n]
		d.step[s.Name] = n
		if s.Action == rack.IssueTicket {
			continue
		}
		of := string(s.Action)
		if s.Action == rack.Wait {
			of = string(s.Until)
		}
		if _, said := s.Until.Line(); said {
			of = loggedLine
		}
		var err error
		if d.takes[n], err = table.find(of, dev.Role, d.image.Size); err != nil {
			return nil, fmt.Errorf("step %s: %w", s.Name, err)
		}
		switch {
		case s.Action != rack.Wait:
		case s.Until == rack.DHCPPXE && d.netboot < 0:
			d.netboot = n
		case s.Until == rack.DHCPONIE:
			d.onie = true
		case s.Until == rack.DHCPNOS && s.Phase == rack.Discovery:
			d.ztp = true
		case s.Phase == rack.Installation:
			d.install = append(d.install, n)
		}
	}
	of := string(rack.DHCPPXE) // nothing but its firmware speaks
	switch {
	case d.onie, d.ztp:
		of = onieContact
	case dev.BMC != nil:
		of = bmcContact
	}
	var err error
	d.contact, err = table.find(of, dev.Role, 0)
	return d, err
}

// number gives every step of every role its place in the results.
func (s *setup) number() {
	key := func(k Key) int {
		if i, ok := s.keyOf[k]; ok {
			return i
		}
		s.keyOf[k] = len(s.keys)
		s.keys = append(s.keys, k)
		return len(s.keys) - 1
	}
	for _, role := range rack.Roles() {
		for _, d := range s.devices {
			if d.dev.Role != role {
				continue
			}
			key(Key{role, FirstContact})
			for i := range d.platform.Steps {
				d.keys = append(d.keys, key(Key{role, d.platform.Steps[i].Name}))
			}
			key(Key{role, retryPause})
		}
	}
}

// faults hands every device what may befall it.
func (s *setup) faults() error {
	for i := range s.o.Faults.list {
		f := &s.o.Faults.list[i]
		hit := false
		var whyNot []string
		for _, d := range s.devices {
			ok, why := f.befalls(d.dev, &d.platform)
			if why != "" && !slices.Contains(whyNot, why) {
				whyNot = append(whyNot, why)
			}
			if !ok {
				continue
			}
			hit = true
			switch f.Step {
			case FirstContact:
				d.absent = append(d.absent, f)
			case DataCable:
				d.cables = append(d.cables, f)
			default:
				n := d.step[f.Step]
				d.faults[n] = append(d.faults[n], f)
			}
		}
		if !hit && s.o.Faults.strict {
			if len(whyNot) == 0 {
				whyNot = append(whyNot, fmt.Sprintf("no device of rack %s can have it; its roles must be in the rack, and %s is for servers with data cables", s.o.Rack.Name, DataCable))
			}
			return fmt.Errorf("fault %d (%s at %s): %s", i+1, f.Kind, f.Step, strings.Join(whyNot, "; "))
		}
	}
	return nil
}
