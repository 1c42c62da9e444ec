package rackagent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/syslog"
	"github.com/rackreach/rackreach/internal/web"
)

// looker is an executor for one switch.
func looker(t *testing.T) *executor {
	t.Helper()
	r := &rack.Rack{Name: "r1", Management: netip.MustParsePrefix("192.168.100.0/24"), Data: netip.MustParsePrefix("10.0.1.0/24"),
		Devices: []rack.Device{{Name: "tor-1", Role: rack.ToRSwitch, Platform: "p", Address: netip.MustParseAddr("192.168.100.2"), Access: &rack.Access{Credentials: "env:X"}}}}
	return &executor{rack: r, credentials: func(string) (string, string, error) { return "admin", "hunter2", nil }}
}

func do(t *testing.T, x *executor, s rack.Step) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.Limit)
	defer cancel()
	return x.Do(ctx, actors.Job{Device: "tor-1", Step: s, Attempt: 1})
}

// A port is looked at until somebody listens there, at the device's own address, within
// the limit of the step.
func TestAwaitPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, tries := looker(t), 0
		x.dial = func(_ context.Context, network, address string) (net.Conn, error) {
			if tries++; network != "tcp" || address != "192.168.100.2:22" {
				t.Errorf("%s %s", network, address)
			}
			if tries < 4 {
				return nil, errors.New("connection refused")
			}
			a, b := net.Pipe()
			return a, b.Close()
		}
		begun := time.Now()
		if err := do(t, x, rack.Step{Action: rack.AwaitPort, Port: 22, Limit: time.Minute}); err != nil || tries != 4 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if took := time.Since(begun); took != 3*lookSeldom {
			t.Errorf("took %s", took)
		}
		x.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() } // no packet comes back
		begun = time.Now()
		if err := do(t, x, rack.Step{Action: rack.AwaitPort, Port: 22, Limit: 12 * time.Second}); err == nil || time.Since(begun) != 12*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

func TestAwaitARP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, asked := looker(t), 0
		step := rack.Step{Action: rack.AwaitARP, Limit: time.Minute}
		var f interface{ Final() bool }
		if err := do(t, x, step); !errors.Is(err, errNoARP) || !errors.As(err, &f) || !f.Final() {
			t.Errorf("without a segment: %v", err)
		}
		ask := func(_ context.Context, name string, from, address netip.Addr) (net.HardwareAddr, error) {
			if asked++; name != "rr0" || from.String() != "192.168.100.254" || address.String() != "192.168.100.2" {
				t.Errorf("%s from %s for %s", name, from, address)
			}
			if asked < 3 {
				return nil, errors.New("nobody")
			}
			return net.HardwareAddr{2, 0, 0, 0, 0, 1}, nil
		}
		x.arp = arpOn("rr0", []netip.Prefix{netip.MustParsePrefix("10.0.1.254/24"), netip.MustParsePrefix("192.168.100.254/24")}, ask)
		if err := do(t, x, step); err != nil || asked != 3 {
			t.Errorf("%v after %d questions", err, asked)
		}
	})
}

// Somebody else who answers for the address of a device is no sign of the device.
func TestARPOfSomebodyElse(t *testing.T) {
	for _, c := range []struct {
		name, mac string
		listed    []string
		taken     bool
	}{
		{"nothing is known of it", "02:00:00:00:00:09", nil, true},
		{"its own", "02:00:00:00:00:01", []string{"02:00:00:00:00:01"}, true},
		{"another device of the rack", "02:00:00:00:00:02", nil, false},
		{"a stranger, and its MACs are listed", "02:00:00:00:00:09", []string{"02:00:00:00:00:01"}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			x := looker(t)
			x.rack.Devices[0].MACs = c.listed
			x.rack.Devices = append(x.rack.Devices, rack.Device{Name: "tor-2", Role: rack.ToRSwitch, Platform: "p", MACs: []string{"02:00:00:00:00:02"}})
			x.binder = rack.NewBinder(x.rack, nil)
			mac, err := net.ParseMAC(c.mac)
			if err != nil {
				t.Fatal(err)
			}
			x.arp = func(context.Context, netip.Addr) (net.HardwareAddr, error) { return mac, nil }
			err = do(t, x, rack.Step{Action: rack.AwaitARP, Limit: time.Minute})
			if c.taken != (err == nil) || err != nil && !strings.Contains(err.Error(), c.mac) {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

// What a request is filled in with, and which failures another attempt would only make
// worse.
func TestRequestOfAStep(t *testing.T) {
	x := looker(t)
	x.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	x.web = web.New(web.Options{Dial: x.dial})
	x.webAsking = x.web
	step := rack.Step{Action: rack.Request, Limit: time.Minute, HTTP: &rack.WebRequest{Method: "GET", Scheme: "https", Path: "/{{.Device}}", Status: []int{200}, Login: true}}
	err := do(t, x, step)
	if !errors.Is(err, web.ErrSilent) || !strings.Contains(err.Error(), "https://admin:xxxxx@192.168.100.2/tor-1") && !strings.Contains(err.Error(), "https://192.168.100.2/tor-1") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	x.rack.Devices[0].Access = nil
	if err := do(t, x, step); err == nil || !strings.Contains(err.Error(), "add access:") {
		t.Error(err)
	}
	step.HTTP.Path = "/{{.Nothing}}"
	if err := do(t, x, step); err == nil {
		t.Error("a template that cannot be filled in")
	}
}

// The key of an installer is not that of the system that it installs.
func TestInstallersKeyIsNotPinned(t *testing.T) {
	x := looker(t)
	dead := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
	pinned := 0
	x.web = web.New(web.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		pinned++
		return dead(ctx, network, address)
	}})
	x.webAsking = web.New(web.Options{Dial: dead})
	x.tickets = map[string]string{"tor-1": "r1/tor-1/1"}
	for phase, want := range map[rack.Phase]int{rack.Installation: 0, rack.Configuration: 1} {
		pinned = 0
		step := rack.Step{Action: rack.Request, Phase: phase, Limit: time.Minute, HTTP: &rack.WebRequest{Method: "GET", Scheme: "https", Path: "/", Status: []int{200}}}
		if err := do(t, x, step); !errors.Is(err, web.ErrSilent) || pinned != want {
			t.Errorf("%s: %v, pinned %d times", phase, err, pinned)
		}
	}
}

// A line is evidence of each text in it that a step of the platform of the device waits
// for, and then only; a BMC's line says nothing of the system.
func TestAwaitedLines(t *testing.T) {
	x := looker(t)
	x.rack.Devices[0].BMC = &rack.BMC{Address: netip.MustParseAddr("192.168.100.102")}
	a := &Agent{o: Options{Rack: x.rack, Platforms: map[string]rack.Platform{"p": {Steps: []rack.Step{{Name: "a", Until: rack.Said("ready")}, {Name: "b", Until: rack.DHCPNOS}, {Name: "c", Until: rack.Said("system ready")}, {Name: "d", Until: rack.Said("ready")}}}}}}
	for _, c := range []struct {
		device, from, text string
		want               []rack.Evidence
	}{
		{"tor-1", "192.168.100.2", "the system ready at last", []rack.Evidence{rack.Said("ready"), rack.Said("system ready")}},
		{"tor-1", "192.168.100.2", "port ready", []rack.Evidence{rack.Said("ready")}},
		{"tor-1", "192.168.100.2", "nothing", nil},
		{"tor-1", "192.168.100.102", "system ready", nil},
		{"tor-2", "192.168.100.3", "system ready", nil},
	} {
		if got := a.awaited(c.device, netip.MustParseAddr(c.from), syslog.Line{Severity: 3, Tag: "init", Text: c.text}); !slices.Equal(got, c.want) {
			t.Errorf("%s at %s, %s: %q", c.device, c.from, c.text, got)
		}
	}
}
