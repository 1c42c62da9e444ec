package sim

import (
	"context"
	"strings"
	"time"

	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

// Chassis control actions (IPMI 2.0 §28.3).
var powerActions = map[byte]string{0: "off", 1: "on", 2: "cycle", 3: "reset", 4: "diagnostic-interrupt", 5: "soft-off"}

// Short names of commands in the record; others by their own name.
var commandNames = map[string]string{
	types.CommandGetChassisStatus.Name: "get-power",
	types.CommandGetSystemGUID.Name:    "guid",
}

// ipmiCommands is the command table of every BMC: the library's, and what it
// lacks or simplifies. The table is shared and read-only once serving begins.
func ipmiCommands() *handlers.Registry {
	r := handlers.NewRegistry()
	r.Use(func(next handlers.Handler) handlers.Handler {
		return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
			if c, ok := h.BMC.HAL().(*controller); ok {
				c.record(kindBMCCommand, commandName(h.Command), "")
			}
			return next.Handle(ctx, h, q)
		})
	})
	handlers.RegisterAllHandlers(r)
	r.RegisterFunc(types.CommandGetSystemGUID, command(func(c *controller, _ []byte) ([]byte, types.CompletionCode) {
		return append([]byte(nil), c.dev.guid[:]...), types.CodeOK
	}))
	r.RegisterFunc(types.CommandGetChassisStatus, command((*controller).chassisStatus))
	r.RegisterFunc(types.CommandChassisControl, command((*controller).chassisControl))
	r.RegisterFunc(types.CommandChassisIdentify, command((*controller).identify))
	r.RegisterFunc(types.CommandGetSystemRestartCause, command(func(*controller, []byte) ([]byte, types.CompletionCode) {
		return []byte{1, 1}, types.CodeOK // chassis control, channel 1
	}))
	r.RegisterFunc(types.CommandSetSystemBootOptions, command((*controller).setBootOption))
	r.RegisterFunc(types.CommandGetSystemBootOptions, command((*controller).getBootOption))
	for _, reset := range []types.Command{types.CommandColdReset, types.CommandWarmReset} {
		r.RegisterFunc(reset, command(func(*controller, []byte) ([]byte, types.CompletionCode) {
			return nil, types.CodeOK // of the BMC: it keeps its sessions, the host does not notice
		}))
	}
	return r
}

func commandName(c types.Command) string {
	if n, ok := commandNames[c.Name]; ok {
		return n
	}
	return strings.ToLower(strings.ReplaceAll(c.Name, " ", "-"))
}

func command(f func(*controller, []byte) ([]byte, types.CompletionCode)) func(context.Context, *handlers.HandlerContext, []byte) ([]byte, types.CompletionCode, error) {
	return func(_ context.Context, h *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
		c, ok := h.BMC.HAL().(*controller)
		if !ok {
			return nil, types.CodeUnspecifiedError, nil
		}
		answer, code := f(c, q)
		return answer, code, nil
	}
}

// chassisStatus answers whether the host is on (IPMI 2.0 §28.2).
func (c *controller) chassisStatus([]byte) ([]byte, types.CompletionCode) {
	state := byte(0)
	if c.dev.host.isOn() {
		state = 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	light := byte(0x40) // it can tell how the light is
	if c.lit {
		light |= 0x20 // until told otherwise
	}
	return []byte{state, 0, light, 0}, types.CodeOK
}

// identify switches the light (IPMI 2.0 §28.5): for so many seconds, or, by bit 0 of the
// second byte, until told otherwise. Seconds are not counted here: it stays on.
func (c *controller) identify(q []byte) ([]byte, types.CompletionCode) {
	on := len(q) == 0 || q[0] > 0 || len(q) > 1 && q[1]&1 != 0
	c.mu.Lock()
	c.lit = on
	c.mu.Unlock()
	state := "off"
	if on {
		state = "on"
	}
	c.record(kindBMCCommand, "light-"+state, "")
	return nil, types.CodeOK
}

// takes uses up a fault of a host that is not discovered yet.
func (c *controller) takes(kind FaultKind) bool {
	return c.dev.phase() == rack.Discovery && c.dev.take(rack.Discovery, kind)
}

// refuses takes an error fault of the phase that the device is in.
func (c *controller) refuses() bool {
	if c.dev.onie || c.dev.phase() != rack.Discovery {
		return false
	}
	hit, _ := c.dev.sim.faults.take(c.dev.spec.Name, rack.Discovery, FaultError)
	return hit
}

func (c *controller) chassisControl(q []byte) ([]byte, types.CompletionCode) {
	if len(q) < 1 {
		return nil, types.CodeRequestDataTruncated
	}
	action, known := powerActions[q[0]&0x0f]
	if !known {
		return nil, types.CodeParameterOutOfRange
	}
	if c.refuses() {
		c.record(kindBMCPower, action, "refused")
		return nil, types.CodeNodeBusy
	}
	if phase := c.dev.phase(); phase != rack.Configuration && c.dev.take(phase, FaultBMCIdle) {
		c.record(kindBMCPower, action, "ignored")
		return nil, types.CodeOK
	}
	c.record(kindBMCPower, action, "")
	h := c.dev.host
	switch action {
	case "off", "soft-off":
		h.powerOff()
	case "on":
		h.powerOn(c.bootsNetwork)
	case "cycle", "reset":
		if !h.isOn() {
			return nil, types.CodeNotSupported // not in this state
		}
		h.powerCycle(c.bootsNetwork)
	default:
		return nil, types.CodeParameterOutOfRange
	}
	return nil, types.CodeOK
}

func (c *controller) setBootOption(q []byte) ([]byte, types.CompletionCode) {
	if len(q) < 1 {
		return nil, types.CodeRequestDataTruncated
	}
	data := q[1:]
	if q[0]&0x7f == 5 && len(data) >= 5 && data[0]&flagsValid != 0 {
		target := "other"
		if data[1]&deviceMask == devicePXE {
			target = "pxe"
		}
		if c.refuses() {
			c.record(kindBMCBootDevice, target, "refused")
			return nil, types.CodeNodeBusy
		}
		if c.takes(FaultLost) {
			c.record(kindBMCBootDevice, target, "ignored")
			return nil, types.CodeOK
		}
		c.record(kindBMCBootDevice, target, "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch q[0] & 0x7f {
	case 0:
		if len(data) < 1 {
			return nil, types.CodeOK // only marks the parameter valid or not
		}
		if data[0]&3 == 1 && c.setting == 1 {
			return nil, types.CodeParamConfigSetInProgressConflict
		}
		c.setting = data[0] & 3
	case 3:
		if len(data) > 0 {
			c.disable = data[0]
		}
	case 4:
		if len(data) >= 2 {
			copy(c.ack[:], data)
		}
	case 5:
		if len(data) >= 5 {
			copy(c.flags[:], data)
			c.setAt = time.Now()
		}
	default:
		return nil, types.CodeParameterNotSupported
	}
	return nil, types.CodeOK
}

func (c *controller) getBootOption(q []byte) ([]byte, types.CompletionCode) {
	if len(q) < 1 {
		return nil, types.CodeRequestDataTruncated
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	number := q[0] & 0x7f
	answer := []byte{1, number} // parameter version, selector
	switch number {
	case 0:
		return append(answer, c.setting), types.CodeOK
	case 3:
		return append(answer, c.disable), types.CodeOK
	case 4:
		return append(answer, c.ack[:]...), types.CodeOK
	case 5:
		c.expire()
		return append(answer, c.flags[:]...), types.CodeOK
	}
	return nil, types.CodeParameterNotSupported
}
