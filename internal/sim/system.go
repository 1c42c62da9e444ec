package sim

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// system is a running, imaged operating system.
type system struct {
	host *host
	ctx  context.Context // ends at power-off, and at a reboot
	stop func()          // reboots
	once sync.Once       // of the first configuration
}

// runSystem boots what is on the disk: network operating system or server OS. It
// returns when the power goes, and when the system reboots.
func (h *host) runSystem(ctx context.Context) {
	d := h.dev
	took, what, id := bootOS, "os", osIdentity()
	if d.spec.Role.IsSwitch() {
		took, what, id = bootNOS, "nos", nosIdentity()
	}
	k := d.conduct
	if k != nil && k.identity != nil {
		id = k.identity(d)
	}
	if pause(ctx, d.sim.tempo.around(took, d.spec.Name, what, h.boot())) != nil {
		return
	}
	h.booted(what)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	y := &system{host: h, ctx: ctx, stop: stop}
	defer d.sim.fabric.block(d.spec.Name)
	if c := h.readDisk().config; c != nil {
		if ports, err := portsOf(c); err == nil && d.spec.Role.IsSwitch() {
			d.sim.fabric.forward(d.spec.Name, ports)
		}
	}
	if n := personas[h.readDisk().system]; n != nil {
		id = n
	}
	e, l := y.addressed(id)
	if l == nil {
		return
	}
	h.christen(l.hostname)
	if k != nil && k.firstBoot != nil && !h.readDisk().first.done {
		if k.ships { // nobody is let in, and it restarts when it is done
			y.provision(e, l, k)
			return
		}
		if !d.sim.spawn(func() { y.provision(e, l, k) }) {
			return
		}
	}
	d.enter(rack.Configuration)
	if err := y.serve(e, l.address, id); err != nil {
		d.sim.fail(err)
	}
}

// addressed gets an address: the one that it was configured with, or by DHCP.
func (y *system) addressed(id identity) (*end, *lease) {
	d := y.host.dev
	if a := y.host.readDisk().first.address; d.conduct != nil && d.conduct.static && a.IsValid() && y.host.readDisk().first.done {
		if e := d.nics[0]; d.sim.fabric.hold(a.Addr(), e) {
			return e, &lease{address: a.Addr()}
		}
	}
	return y.network(id)
}

// network gets an address for the first interface that has an answer; nil when
// the system goes down before.
func (y *system) network(id identity) (*end, *lease) {
	d := y.host.dev
	s := d.sim
	first, most := s.tempo.scaled(pxeFirst, floorDHCP), s.tempo.scaled(bmcMost, floorDHCP)
	phase := rack.Installation
	if d.ships() && !y.host.readDisk().first.done {
		phase = rack.Discovery // nothing was installed yet
	}
	for n := 0; y.ctx.Err() == nil; n++ {
		if s.withoutDHCP(y.ctx, d.spec.Name, phase, first) {
			continue
		}
		e := d.nics[n%len(d.nics)]
		l, err := s.acquire(y.ctx, e, id, retries{first, most, 3}, never)
		if err == nil && s.fabric.hold(l.address, e) {
			return e, l
		}
		if !errors.Is(err, errNoAnswer) && pause(y.ctx, first) != nil {
			break
		}
	}
	return nil, nil
}

// serve runs the device API at an address until the system goes down, and
// meanwhile shows the agent the other links.
func (y *system) serve(e *end, address netip.Addr, id identity) error {
	d := y.host.dev
	s := d.sim
	l, err := net.Listen("tcp4", loopback().String())
	if err != nil {
		return err
	}
	console, err := net.Listen("tcp4", loopback().String())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	at, shellAt := l.Addr().(*net.TCPAddr).AddrPort(), console.Addr().(*net.TCPAddr).AddrPort()
	shell, err := y.newShell(e, address, id, at, shellAt)
	if err != nil {
		return errors.Join(err, l.Close(), console.Close())
	}
	srv := &http.Server{Handler: y.api(address, id), ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	if !s.spawn(func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	}) || !s.spawn(func() {
		if err := shell.serve(console); err != nil {
			s.fail(err)
		}
	}) {
		return errors.Join(srv.Close(), ignoreClosed(l.Close()), ignoreClosed(console.Close()))
	}
	if x := y.host.readDisk(); x.system != "" { // there is no API of the simulation on it
		at = netip.AddrPort{}
		if x.system == systemESXi && !x.console {
			shellAt = netip.AddrPort{}
		}
	}
	s.fabric.offer(e, at, shellAt)
	if !d.spec.Role.IsSwitch() {
		for _, other := range d.nics {
			if other != e {
				y.show(other, address, id)
			}
		}
	}
	<-y.ctx.Done()
	s.fabric.release(e)
	return srv.Close()
}

// show sends INFORMs through a link until one is answered: the agent may be away
// for as long as it likes.
func (y *system) show(e *end, address netip.Addr, id identity) {
	s := y.host.dev.sim
	r := retries{s.tempo.scaled(pxeFirst, floorDHCP), s.tempo.scaled(pxeMost, floorDHCP), 0}
	s.spawn(func() {
		if err := s.inform(y.ctx, e, address, id, r); err != nil && y.ctx.Err() == nil && !errors.Is(err, errNoAnswer) {
			s.fail(err)
		}
	})
}
