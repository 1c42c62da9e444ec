package power

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/bmc"
	"github.com/bougou/go-ipmi/pkg/hal"
	"github.com/bougou/go-ipmi/pkg/handlers"
	"github.com/bougou/go-ipmi/pkg/server"
	"github.com/bougou/go-ipmi/pkg/types"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testGUID = "0bad77cd000040008000525400770001"

// fakeBMC is go-ipmi's own server on a loopback socket, with faults.
type fakeBMC struct {
	hal.HAL // nil: only what is overridden is used

	t      *testing.T
	target Target
	bmc    *bmc.BMC
	srv    *server.Server

	mu           sync.Mutex
	on           bool
	power        []bool // every power command carried out
	options      []byte // parameters that were set
	flags        [5]byte
	forgetsFirst int                                       // how many boot flags it accepts without keeping them
	forgets      bool                                      // accepts boot flags without keeping them
	tellsAll     bool                                      // answers Get System GUID without a session
	deaf         bool                                      // accepts power commands without carrying them out
	refuseOn     int                                       // how often power-on is refused with D5h
	soft         int                                       // how often it was asked to shut its host down
	obeys        bool                                      // its host shuts itself down then
	light        []uint8                                   // seconds of each command for the identify light
	code         map[types.CommandKey]types.CompletionCode // answers
	lose         map[types.CommandKey]int                  // replies still to lose
	tamper       func(reply []byte) []byte                 // on the wire; nil: none
	waits        chan struct{}                             // commands wait for it; nil: none
	commands     []types.CommandKey                        // seen, in order
	session      uint32                                    // the last that was used
	dropNext     map[string]int                            // by console address
}

func newBMC(t *testing.T, options ...server.ServerOption) *fakeBMC {
	t.Helper()
	wire, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return newBMCOn(t, wire, options...)
}

func newBMCOn(t *testing.T, wire net.PacketConn, options ...server.ServerOption) *fakeBMC {
	t.Helper()
	f := &fakeBMC{t: t, code: map[types.CommandKey]types.CompletionCode{}, lose: map[types.CommandKey]int{}, dropNext: map[string]int{}}
	guid := [16]byte{0x0b, 0xad, 0x77, 0xcd, 0, 0, 0x40, 0, 0x80, 0, 0x52, 0x54, 0, 0x77, 0, 1}
	b := bmc.New(bmc.DeviceInfo{DeviceID: 32, DeviceRevision: 1, FirmwareMajor: 2, IPMIVersion: 0x20, ManufacturerID: 674, ProductID: 256, AdditionalDeviceSupport: 0xbf}, guid, f)
	u, err := b.Users.Add(2, "admin")
	if err != nil {
		t.Fatal(err)
	}
	u.SetPassword([]byte("secret"))
	u.Enabled = true
	u.ChannelAccess[1] = bmc.UserChannelAccess{MaxPrivilege: bmc.PrivilegeLevelAdministrator, Enabled: true}
	at := netip.MustParseAddrPort(wire.LocalAddr().String())
	f.bmc = b
	f.target = Target{Device: "server-01", Address: at.Addr(), Port: at.Port(), User: "admin", Password: "secret"}
	f.srv = server.NewServer(b, &fakeWire{wire, f}, append(options, server.WithHandlerRegistry(f.registry()))...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.srv.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := f.srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return f
}

// fakeWire loses and falsifies replies.
type fakeWire struct {
	net.PacketConn
	f *fakeBMC
}

func (w *fakeWire) WriteTo(b []byte, a net.Addr) (int, error) {
	w.f.mu.Lock()
	if w.f.dropNext[a.String()] > 0 {
		w.f.dropNext[a.String()]--
		w.f.mu.Unlock()
		return len(b), nil
	}
	out := b
	if w.f.tamper != nil {
		out = w.f.tamper(slices.Clone(b))
	}
	w.f.mu.Unlock()
	if _, err := w.PacketConn.WriteTo(out, a); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *fakeBMC) registry() *handlers.Registry {
	r := handlers.NewRegistry()
	r.Use(func(next handlers.Handler) handlers.Handler {
		return handlers.HandlerFunc(func(ctx context.Context, h *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
			key := h.Command.Key()
			f.mu.Lock()
			f.commands = append(f.commands, key)
			if h.Session != nil {
				f.session = h.Session.BMCID
			}
			cc, refuse := f.code[key]
			if f.lose[key] > 0 && h.Session != nil {
				f.lose[key]--
				f.dropNext[h.Session.GetAddr().String()]++
			}
			waits, stranger := f.waits, f.tellsAll && h.Session == nil && key == keyGUID
			f.mu.Unlock()
			if key == keyControl && len(q) > 0 && q[0] == 1 {
				f.mu.Lock()
				if f.refuseOn > 0 {
					f.refuseOn--
					cc, refuse = types.CodeNotSupported, true
				}
				f.mu.Unlock()
			}
			if waits != nil {
				<-waits
			}
			if stranger {
				return slices.Clone(h.BMC.GUID[:]), types.CodeOK, nil
			}
			if refuse {
				return nil, cc, nil
			}
			return next.Handle(ctx, h, q)
		})
	})
	handlers.RegisterAllHandlers(r)
	r.RegisterFunc(types.CommandGetSystemGUID, func(_ context.Context, h *handlers.HandlerContext, _ []byte) ([]byte, types.CompletionCode, error) {
		return slices.Clone(h.BMC.GUID[:]), types.CodeOK, nil
	})
	r.RegisterFunc(types.CommandSetSystemBootOptions, func(_ context.Context, _ *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
		return nil, f.setOption(q), nil
	})
	r.RegisterFunc(types.CommandGetSystemBootOptions, func(_ context.Context, _ *handlers.HandlerContext, q []byte) ([]byte, types.CompletionCode, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(q) < 1 || q[0] != 5 {
			return nil, types.CodeParameterNotSupported, nil
		}
		return append([]byte{1, 5}, f.flags[:]...), types.CodeOK, nil
	})
	return r
}

// setOption is a BMC that knows parameter 5 alone.
func (f *fakeBMC) setOption(q []byte) types.CompletionCode {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(q) < 2 {
		return types.CodeRequestDataTruncated
	}
	f.options = append(f.options, q[0])
	if q[0] != 5 {
		return types.CodeParameterNotSupported
	}
	if f.forgetsFirst > 0 {
		f.forgetsFirst--
	} else if !f.forgets {
		copy(f.flags[:], q[1:])
	}
	return types.CodeOK
}

func (f *fakeBMC) Chassis() hal.ChassisHAL { return (*fakeChassis)(f) }
func (f *fakeBMC) Sensors() hal.SensorHAL  { return nil }
func (f *fakeBMC) Storage() hal.StorageHAL { return nil }
func (f *fakeBMC) Network() hal.NetworkHAL { return nil }
func (f *fakeBMC) GPIO() hal.GPIOHAL       { return nil }
func (f *fakeBMC) I2C() hal.I2CHAL         { return nil }
func (f *fakeBMC) Console() hal.ConsoleHAL { return nil }
func (f *fakeBMC) Close() error            { return nil }

// fakeChassis is the host's power.
type fakeChassis fakeBMC

func (c *fakeChassis) PowerState(context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on, nil
}

func (c *fakeChassis) SetPower(_ context.Context, on bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.power = append(c.power, on)
	if !c.deaf {
		c.on = on
	}
	return nil
}

func (c *fakeChassis) PowerCycle(context.Context) error { return hal.ErrNotSupported }
func (c *fakeChassis) ColdReset(context.Context) error  { return hal.ErrNotSupported }

// WarmReset is how the library passes a soft shutdown on.
func (c *fakeChassis) WarmReset(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.soft++
	if c.obeys {
		c.on = false
	}
	return nil
}

func (c *fakeChassis) Identify(_ context.Context, seconds uint8) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.light = append(c.light, seconds)
	return nil
}

func (c *fakeChassis) IntrusionState(context.Context) (bool, error) {
	return false, hal.ErrNotSupported
}
func (c *fakeChassis) SetBootFlags(context.Context, *types.BootOptionParam_BootFlags) error {
	return nil
}
func (c *fakeChassis) GetBootFlags(context.Context) (*types.BootOptionParam_BootFlags, error) {
	return nil, hal.ErrNotSupported
}
func (c *fakeChassis) SetBootInfoAcknowledge(context.Context, *types.BootOptionParam_BootInfoAcknowledge) error {
	return nil
}
func (c *fakeChassis) GetBootInfoAcknowledge(context.Context) (*types.BootOptionParam_BootInfoAcknowledge, error) {
	return &types.BootOptionParam_BootInfoAcknowledge{}, nil
}

// with changes or reads the BMC while it serves.
func (f *fakeBMC) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// powers are the power commands that were carried out.
func (f *fakeBMC) powers() []bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.power)
}

// testClient dials for real, with limits that fit a test.
func testClient(t *testing.T, change ...func(*Options)) *Client {
	t.Helper()
	var d net.Dialer
	o := Options{Dial: d.DialContext, Timeout: 100 * time.Millisecond, Retries: 2, Settle: 300 * time.Millisecond, Poll: 20 * time.Millisecond, Soft: -1, Gap: -1}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func loopback(port uint16) Target {
	return Target{Device: "server-09", Address: netip.MustParseAddr("127.0.0.1"), Port: port, User: "admin", Password: "secret"}
}
