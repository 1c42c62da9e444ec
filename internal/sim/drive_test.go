package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
)

func (a *agent) evidence(what string, n int) {
	a.t.Helper()
	a.seen.wait(a.t, what, n, func(s string) bool { return strings.HasPrefix(s, what) })
}

// bmc opens a session with a device's BMC and does something.
func (a *agent) bmc(device string, do func(context.Context, *client.Client) error) error {
	return a.session(device, 5*time.Second, do)
}

// answers reports whether a device's BMC lets anybody in.
func (a *agent) answers(device string) bool {
	return a.session(device, 200*time.Millisecond, func(context.Context, *client.Client) error { return nil }) == nil
}

func (a *agent) session(device string, limit time.Duration, do func(context.Context, *client.Client) error) error {
	d, _ := a.rack.Device(device)
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	c, err := client.NewClient(d.BMC.Address.String(), portIPMI, testUser, testPassword)
	if err != nil {
		return err
	}
	c.WithUDPProxy(proxy{a.wire.Dial, ctx}).WithCipherSuiteID(17, 3).WithTimeout(limit).WithRetry(1)
	if err := c.Connect(ctx); err != nil {
		return err
	}
	err = do(ctx, c)
	return errors.Join(err, c.Close(ctx))
}

type proxy struct {
	dial func(context.Context, string, string) (net.Conn, error)
	ctx  context.Context
}

func (p proxy) Dial(network, address string) (net.Conn, error) {
	return p.dial(p.ctx, network, address)
}

// bootPXE sets the boot device and switches the device on, or off and on.
func (a *agent) bootPXE(device string) error {
	return a.bmc(device, func(ctx context.Context, c *client.Client) error {
		if err := c.SetBootDevice(ctx, types.BootDeviceSelectorForcePXE, types.BIOSBootTypeEFI, false); err != nil {
			return err
		}
		st, err := c.GetChassisStatus(ctx)
		if err != nil {
			return err
		}
		control := chassis.ChassisControlPowerUp
		if st.PowerIsOn {
			control = chassis.ChassisControlPowerCycle
		}
		_, err = c.ChassisControl(ctx, control)
		return err
	})
}

func (a *agent) api(device, method, path string, body []byte, limit time.Duration) (int, string, error) {
	d, _ := a.rack.Device(device)
	ctx, cancel := context.WithTimeout(a.t.Context(), limit)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, "http://"+d.Address.String()+":80/rackreach/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	h := http.Client{Transport: &http.Transport{DialContext: a.wire.Dial, DisableKeepAlives: true}}
	r, err := h.Do(q)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), errors.Join(err, r.Body.Close())
}

// config is a configuration with every port that the rack file names.
func (a *agent) config(device string) []byte {
	var names []string
	add := func(p rack.Port) {
		if p.Device == device && p.Name != a.omit {
			names = append(names, fmt.Sprintf(`{"name":%q}`, p.Name))
		}
	}
	add(a.rack.Agent.Cable)
	for _, d := range a.rack.Devices {
		add(d.Management)
		for _, p := range d.Data {
			add(p)
		}
	}
	return []byte(fmt.Sprintf(`{"rack":"r1","device":%q,"run":"run-1","ticket":"t-%s","ports":[%s]}`, device, device, strings.Join(names, ",")))
}

func (a *agent) configure(device string) {
	a.t.Helper()
	code, text, err := a.api(device, http.MethodPut, "config", a.config(device), patience)
	if err != nil || code != http.StatusNoContent {
		a.t.Fatalf("PUT config of %s: %d %s %v", device, code, text, err)
	}
}

// installPXE takes a device from off to its installed system.
func (a *agent) installPXE(device string) {
	a.t.Helper()
	a.ticket(device, true)
	if err := a.bootPXE(device); err != nil {
		a.t.Fatal(err)
	}
	a.evidence("reported:installed "+device, 1)
}

// imageSwitches brings the switches of the test rack up.
func (a *agent) imageSwitches() {
	a.t.Helper()
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	a.ticket("tor-1", true)
	a.evidence("dhcp:nos tor-1", 1)
	a.ticket("tor-1", false)
	a.configure("tor-1")
}

func digits(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// each does something for every device of two roles at the same time.
func (a *agent) each(one, other rack.Role, do func(device string)) {
	var running sync.WaitGroup
	for _, d := range a.rack.Devices {
		if d.Role == one || d.Role == other {
			running.Go(func() { do(d.Name) })
		}
	}
	running.Wait()
}

// imageSwitchesWithout is imageSwitches with a port left out of configurations.
func (a *agent) imageSwitchesWithout(name string) {
	a.t.Helper()
	a.mu.Lock()
	a.omit = name
	a.mu.Unlock()
	a.imageSwitches()
}
