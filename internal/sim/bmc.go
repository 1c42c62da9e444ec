package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/server"

	"github.com/rackreach/rackreach/internal/rack"
)

// controller is the BMC of a device: a real RMCP+ server, always powered.
type controller struct {
	dev    *device
	end    *end
	socket *net.UDPConn
	server *server.Server

	mu      sync.Mutex
	flags   [5]byte   // boot option parameter 5, as it was set
	setAt   time.Time // when
	disable byte      // parameter 3: when flags are not cleared
	setting byte      // parameter 0: set in progress
	ack     [2]byte   // parameter 4
	lit     bool      // the identify light
}

// Parts of boot option parameter 5 (IPMI 2.0 §28.13 table 28-14).
const (
	flagsValid      = 0x80 // byte 1
	flagsPersistent = 0x40
	deviceMask      = 0x3c // byte 2
	devicePXE       = 0x04
	keepOnTimeout   = 0x08 // parameter 3
)

var _ hal.HAL = (*controller)(nil)

// Chassis returns nil: power is handled by our own commands.
func (c *controller) Chassis() hal.ChassisHAL { return nil }

// Sensors returns nil: there are none.
func (c *controller) Sensors() hal.SensorHAL { return nil }

// Storage returns nil: there is none.
func (c *controller) Storage() hal.StorageHAL { return nil }

// Network returns nil: it cannot be configured in band.
func (c *controller) Network() hal.NetworkHAL { return nil }

// GPIO returns nil: there is none.
func (c *controller) GPIO() hal.GPIOHAL { return nil }

// I2C returns nil: there is none.
func (c *controller) I2C() hal.I2CHAL { return nil }

// Console returns nil: there is none.
func (c *controller) Console() hal.ConsoleHAL { return nil }

// Close does nothing: the controller's socket is closed by the simulator.
func (c *controller) Close() error { return nil }

func (s *Sim) newController(d *device) (*controller, error) {
	u, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		return nil, fmt.Errorf("open the BMC of %s: %w", d.spec.Name, err)
	}
	c := &controller{dev: d, end: d.bmcEnd, socket: u}
	b := bmc.New(bmc.DeviceInfo{DeviceID: 32, DeviceRevision: 1, FirmwareMajor: 2, FirmwareMinor: 0x15, IPMIVersion: 0x02, // 2.0: the digits are swapped (§20.1)

		ManufacturerID: 674, ProductID: 256, AdditionalDeviceSupport: 0xbf}, d.guid, c)
	password := s.password
	if s.faults.has(d.spec.Name, FaultLogin) {
		password = "not ours"
	}
	user, err := b.Users.Add(2, s.user)
	if err == nil {
		user.SetPassword([]byte(password))
		user.Enabled = true
		user.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
	} else {
		return nil, errors.Join(fmt.Errorf("the BMC of %s refuses the user name %q: %w", d.spec.Name, s.user, err), u.Close())
	}
	// Sessions of an agent that was killed are forgotten as fast as everything else goes.
	b.Sessions = bmc.NewSessionStoreWithOptions(b.Clock(), bmc.WithInactivityTimeout(s.tempo.scaled(bmc.DefaultInactivityTimeout, floorSession)))
	b.Sessions.SetOnRemove(b.SOL.DeactivateBySession)
	c.server = server.NewServer(b, &bmcWire{UDPConn: u, c: c}, server.WithHandlerRegistry(s.commands))
	return c, nil
}

// real is where the BMC's socket is.
func (c *controller) real() netip.AddrPort {
	return c.socket.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (c *controller) dead() bool {
	return c.dev.sim.faults.bmcDead(c.dev.spec.Name, c.dev.phase())
}

// bmcWire is the BMC's socket behind the fabric.
type bmcWire struct {
	*net.UDPConn
	c *controller
}

// ReadFrom returns the next datagram that gets through.
func (w *bmcWire) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.UDPConn.ReadFrom(b)
		if err != nil {
			return 0, nil, err
		}
		f := w.c.dev.sim.fabric
		if !f.pass(w.c.end, protoIPMI, toDevice) {
			continue
		}
		if w.c.dead() {
			f.drop(w.c.end.device, "bmc-dead", protoIPMI, toDevice)
			continue
		}
		if opensSession(b[:n]) {
			w.c.record(kindBMCCommand, "session", "")
		}
		return n, from, nil
	}
}

// opensSession recognises an RMCP+ Open Session Request (IPMI 2.0 §13.17): class
// IPMI, format RMCP+, payload type 10h.
func opensSession(b []byte) bool {
	return len(b) > 5 && b[3]&0x1f == 0x07 && b[4] == 0x06 && b[5]&0x3f == 0x10
}

// WriteTo sends an answer, if it gets through.
func (w *bmcWire) WriteTo(b []byte, to net.Addr) (int, error) {
	if !w.c.dev.sim.fabric.pass(w.c.end, protoIPMI, fromDevice) {
		return len(b), nil // lost
	}
	return w.UDPConn.WriteTo(b, to)
}

func (c *controller) record(kind, command, result string) {
	d := detail{"command": command}
	if result != "" {
		d["result"] = result
	}
	f := c.dev.sim.fabric
	f.mu.RLock()
	v := via(c.end.hops)
	f.mu.RUnlock()
	f.rec.add(kind, c.dev.spec.Name, v, d)
}

// serve answers IPMI until the simulator closes the server.
func (c *controller) serve(ctx context.Context) {
	if err := c.server.Serve(ctx); err != nil && ctx.Err() == nil {
		c.dev.sim.fail(fmt.Errorf("the BMC of %s stopped: %w", c.dev.spec.Name, err))
	}
}

// fixed reports whether the BMC was given its address by hand, as the management
// switch's was: it answers there at once, and asks DHCP all the same.
func (c *controller) fixed() bool { return c.end.direct() }

// address gets the BMC its address and asks for it anew from time to time, as
// the chatter of a real BMC would show that its link is up.
func (c *controller) address(ctx context.Context) {
	s := c.dev.sim
	name := c.dev.spec.Name
	r := retries{first: s.tempo.scaled(bmcFirst, floorBMC), most: s.tempo.scaled(bmcMost, floorBMC), tries: 4}
	for ctx.Err() == nil {
		wait := r.most
		if !c.dead() && !s.withoutDHCP(ctx, name, rack.Discovery, r.first) {
			l, err := s.acquire(ctx, c.end, bmcIdentity(), r, never)
			if err == nil && (c.fixed() || s.fabric.hold(l.address, c.end)) {
				wait = s.tempo.scaled(bmcRefresh, floorRefresh)
			} else if errors.Is(err, errNoAnswer) {
				wait = 0
			}
		}
		if pause(ctx, wait) != nil {
			return
		}
	}
}

func never() bool { return false }

// withoutDHCP takes a no-dhcp fault: it returns true after the time in which a
// packet would have been sent, or, if the fault never recovers, when ctx ends.
func (s *Sim) withoutDHCP(ctx context.Context, device string, phase rack.Phase, d time.Duration) bool {
	hit, endless := s.faults.take(device, phase, FaultNoDHCP)
	if !hit {
		return false
	}
	if endless {
		<-ctx.Done()
		return true
	}
	return pause(ctx, d) != nil || hit
}

// bootsNetwork reports whether the host about to start boots from the network,
// and uses up flags that are for one boot only.
func (c *controller) bootsNetwork() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	pxe := c.flags[0]&flagsValid != 0 && c.flags[1]&deviceMask == devicePXE
	if c.flags[0]&flagsPersistent == 0 {
		c.flags = [5]byte{}
	}
	return pxe && !c.takes(FaultIgnored)
}

// expire clears flags that no chassis control followed in time. c.mu is held.
func (c *controller) expire() {
	life := c.dev.sim.tempo.scaled(bootFlagLife, floorFlags)
	if c.flags[0]&flagsValid != 0 && c.disable&keepOnTimeout == 0 && time.Since(c.setAt) > life {
		c.flags[0] &^= flagsValid
	}
}
