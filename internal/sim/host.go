package sim

import (
	"context"
	"sync"

	"github.com/rackreach/rackreach/internal/rack"
)

// device is one slot of the simulated rack: its ends, its BMC, its host.
type device struct {
	sim     *Sim
	spec    *rack.Device
	onie    bool     // installs by ONIE, else by PXE, unless its system is there before
	mimic   bool     // its platform speaks to simulated devices only
	machine string   // its hardware, as ONIE and its system name it
	conduct *conduct // of its system; nil: the simulation's own
	serial  string
	guid    [16]byte

	bmcEnd *end
	nics   []*end // the host's, in boot order: a switch's management interface, a server's data ends
	ups    []*end // a switch's data uplinks
	bmc    *controller
	host   *host

	mu    sync.Mutex
	stage rack.Phase
}

// phase is how far the device has come; faults belong to a phase.
func (d *device) phase() rack.Phase {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stage
}

func (d *device) enter(p rack.Phase) {
	d.mu.Lock()
	d.stage = p
	d.mu.Unlock()
}

// ships reports whether the device comes with a system.
func (d *device) ships() bool { return d.conduct != nil && d.conduct.ships }

// take uses up a fault of this device.
func (d *device) take(p rack.Phase, kind FaultKind) bool {
	hit, _ := d.sim.faults.take(d.spec.Name, p, kind)
	return hit
}

// host is the computer that the BMC switches on and off. One goroutine runs it
// from power-on to power-off.
type host struct {
	dev *device

	mu    sync.Mutex
	on    bool
	stop  context.CancelFunc // of the running session
	ended chan struct{}      // closed when it has ended
	boots int
	disk  disk

	installer bool // ONIE: the next boot is one into it
}

func (h *host) isOn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.on
}

// powerOn starts the host unless it is on. fromNetwork is asked then, and only
// then, where it boots from.
func (h *host) powerOn(fromNetwork func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.on {
		h.start(fromNetwork())
	}
}

func (h *host) powerOff() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.on {
		h.on = false
		h.stop()
	}
}

func (h *host) powerCycle(fromNetwork func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.on {
		h.stop()
	}
	h.start(fromNetwork())
}

// start begins a session after the one before has ended. h.mu is held.
func (h *host) start(fromNetwork bool) {
	before, ended := h.ended, make(chan struct{})
	ctx, stop := context.WithCancel(h.dev.sim.ctx)
	h.on, h.stop, h.ended = true, stop, ended
	if !h.dev.sim.spawn(func() {
		defer close(ended)
		defer stop()
		if before != nil {
			<-before
		}
		h.run(ctx, fromNetwork)
	}) {
		stop()
		close(ended)
	}
}

// boot counts the boots of a host, so that each has durations of its own.
func (h *host) boot() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.boots++
	return h.boots
}

func (h *host) readDisk() disk {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.disk
}

func (h *host) writeDisk(f func(*disk)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.disk)
}

// run is one session, from power-on until ctx ends.
func (h *host) run(ctx context.Context, fromNetwork bool) {
	defer func() {
		for _, e := range h.dev.nics {
			h.dev.sim.fabric.release(e)
		}
	}()
	if h.dev.onie {
		h.runONIE(ctx)
		return
	}
	if h.dev.ships() {
		for first := true; ctx.Err() == nil && h.selfTest(ctx, first) == nil; first = false {
			h.runSystem(ctx)
			h.dev.sim.fabric.release(h.dev.nics[0])
		}
		return
	}
	for first := true; ; first = false {
		if h.selfTest(ctx, first) != nil {
			return
		}
		if fromNetwork {
			if !h.bootNetwork(ctx) {
				<-ctx.Done() // the installer halted: only the BMC gets it out
				return
			}
			fromNetwork = false
			continue // reboot
		}
		if h.readDisk().bootable {
			h.runSystem(ctx)
		}
		<-ctx.Done()
		return
	}
}

// selfTest is the power-on self test. A host with a hanging fault never leaves it.
func (h *host) selfTest(ctx context.Context, first bool) error {
	d := h.dev
	n := h.boot()
	if first && d.phase() == rack.Discovery && d.take(rack.Discovery, FaultHang) {
		<-ctx.Done()
		return ctx.Err()
	}
	took := postServer
	if d.spec.Role.IsSwitch() {
		took = postSwitch
	}
	return pause(ctx, d.sim.tempo.around(took, d.spec.Name, "post", n))
}

func (h *host) booted(what string) {
	h.dev.sim.record.add(kindBooted, h.dev.spec.Name, nil, detail{"what": what})
}
