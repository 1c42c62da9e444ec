package rackagent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/ordercheck"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/power"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/rackfile"
	"github.com/rackreach/rackreach/internal/sim"
	"github.com/rackreach/rackreach/internal/simimage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = "../../examples/rack-1.yaml"

// lab is an agent and the simulated rack in front of it.
type lab struct {
	agent    *Agent
	sim      *sim.Sim
	log      *journal.Memory
	registry *prometheus.Registry
	record   bytes.Buffer
}

func newLab(t *testing.T, platforms map[string]rack.Platform, change func(*Options), faults ...sim.Fault) *lab {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{log: journal.NewMemory(), registry: prometheus.NewRegistry()}
	r, err := rackfile.Read(example, platforms)
	check(err)
	images, err := simimage.New(simimage.Specs())
	check(err)
	plan, err := rack.NewPlan(r, platforms, images.Describe)
	check(err)
	l.sim, err = sim.New(sim.Options{Rack: r, Platforms: platforms, Speed: 600, Seed: 1, User: "admin", Password: "secret", Record: &l.record, Faults: faults})
	check(err)
	t.Cleanup(func() {
		if err := l.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	web, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	tftp, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(err)
	o := Options{Rack: r, Platforms: platforms, Plan: plan, Images: images, Log: l.log, TFTP: tftp, HTTP: web, Registry: l.registry,
		ListenDHCP: l.sim.ListenDHCP, ServerID: netip.MustParseAddr("127.0.0.1"), Dial: l.sim.Dial,
		Credentials:    func(string) (string, string, error) { return "admin", "secret", nil },
		DiscoveryLimit: 10 * time.Second, ScanEvery: 250 * time.Millisecond, Power: power.Options{Poll: 20 * time.Millisecond, Gap: 20 * time.Millisecond}}
	if change != nil {
		change(&o)
	}
	l.agent, err = New(o)
	check(err)
	l.sim.Connect(sim.Services{DHCP: l.sim.DHCPConn().LocalAddr(), TFTP: tftp.LocalAddr(), HTTP: web.Addr()})
	l.sim.Start(t.Context())
	return l
}

func (l *lab) violations(t *testing.T) []ordercheck.Violation {
	t.Helper()
	if err := l.sim.Close(); err != nil {
		t.Fatal(err)
	}
	yaml, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ordercheck.Check(bytes.NewReader(yaml), bytes.NewReader(l.record.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSabotagedGate takes the gates away from the servers' platform while a ToR
// switch is never seen, so that the servers have all the time to be powered on
// too early. Only the checker, from the simulator's own record, can tell that
// the order did not hold.
func TestSabotagedGate(t *testing.T) {
	for _, sabotaged := range []bool{false, true} {
		t.Run(fmt.Sprintf("sabotaged %v", sabotaged), func(t *testing.T) {
			t.Parallel()
			platforms := platform.Scaled(platform.All(), 600, 10*time.Second)
			if sabotaged {
				p := platforms[platform.SimServer]
				for i := range p.Steps {
					p.Steps[i].Needs = nil
				}
			}
			l := newLab(t, platforms, nil, sim.Fault{Device: "tor-1", Phase: rack.Discovery, Kind: sim.FaultNoDHCP})
			if err := l.agent.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v := l.violations(t); (len(v) > 0) != sabotaged {
				t.Errorf("%d violations: %v", len(v), v)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	var once sync.Once
	var during string
	var l *lab
	l = newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), func(o *Options) {
		o.Announce = func(e rack.Event) {
			if e.Kind == rack.TicketIssued && e.Role == rack.Server {
				once.Do(func() { during = scrape(t, l.registry) })
			}
		}
	})
	if err := l.agent.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := scrape(t, l.registry)
	for text, want := range map[*string][]string{
		&during: {`rackreach_devices{phase="ready",rack="r1",role="tor-switch"} 2`, `rackreach_rack_state{rack="r1",state="imaging"} 1`,
			`rackreach_step_failures_total{phase="installation",rack="r1",role="server",step="write"} 0`,
			`rackreach_device_progress_ratio{device="mgmt-1",rack="r1",role="management-switch"} 1`},
		&after: {`rackreach_devices{phase="ready",rack="r1",role="server"} 6`, `rackreach_devices{phase="waiting",rack="r1",role="server"} 0`,
			`rackreach_rack_state{rack="r1",state="completed"} 1`, `rackreach_devices_miscabled{rack="r1"} 0`, `rackreach_device_progress_ratio{device="server-06",rack="r1",role="server"} 1`,
			`rackreach_step_duration_seconds_count{phase="installation",rack="r1",role="server",step="write"} 6`,
			`rackreach_dhcp_packets_total{outcome="acknowledged",rack="r1",type="REQUEST"}`, `rackreach_dhcp_packets_total{outcome="acknowledged",rack="r1",type="INFORM"}`,
			`rackreach_image_sent_bytes{device="server-01",rack="r1",role="server"} 3.3554432e+07`},
	} {
		for _, w := range want {
			if !strings.Contains(*text, w) {
				t.Errorf("no %s in the metrics:\n%.3000s", w, *text)
			}
		}
	}
	if strings.Contains(after, "02:") || strings.Contains(after, "SN-") {
		t.Error("a MAC or a serial became a label")
	}
}

func scrape(t *testing.T, r *prometheus.Registry) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

func TestStoppedInTheMiddle(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), func(o *Options) {
		o.Announce = func(e rack.Event) {
			if e.Kind == rack.TicketIssued && e.Role == rack.ToRSwitch {
				stop()
			}
		}
	})
	err := l.agent.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "stopped before the rack was done") {
		t.Errorf("got %v", err)
	}
}

// dying is a socket whose first reads fail, after the service had begun.
type dying struct {
	net.PacketConn
	reads int
}

func (d *dying) ReadFrom(b []byte) (int, net.Addr, error) {
	if d.reads++; d.reads > 3 {
		return 0, nil, net.ErrClosed
	}
	return d.PacketConn.ReadFrom(b)
}

// The DHCP service cannot open its socket at first, and dies in the middle: it
// comes back, and the rack is imaged.
func TestDHCPServiceComesBack(t *testing.T) {
	var l *lab
	attempts := 0
	l = newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), func(o *Options) {
		o.ListenDHCP = func() (net.PacketConn, error) {
			if attempts++; attempts == 1 {
				return nil, fmt.Errorf("address in use")
			}
			conn, err := l.sim.ListenDHCP()
			if attempts == 2 && err == nil {
				conn = &dying{PacketConn: conn}
			}
			return conn, err
		}
	})
	if err := l.agent.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if attempts < 3 {
		t.Errorf("the DHCP service was opened %d times", attempts)
	}
}

// A bug in Agent itself ends the run; it is not driven on by a second life.
func TestACrashOfTheAgentEndsTheRun(t *testing.T) {
	var events int
	l := newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), func(o *Options) {
		o.Announce = func(e rack.Event) {
			if events++; events == 20 {
				panic("a bug in the agent")
			}
		}
	})
	err := l.agent.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the agent crashed: a bug in the agent") {
		t.Errorf("got %v", err)
	}
	if events != 20 {
		t.Errorf("%d events were announced, want 20", events)
	}
}

// Scrapes may come before, during and after the run.
func TestScrapesFromTheBeginning(t *testing.T) {
	l := newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), nil)
	ctx, stop := context.WithCancel(t.Context())
	var scraping sync.WaitGroup
	scraping.Go(func() {
		for ctx.Err() == nil {
			scrape(t, l.registry)
		}
	})
	err := l.agent.Run(t.Context())
	stop()
	scraping.Wait()
	if err != nil {
		t.Fatal(err)
	}
}

// logs is a socket that a switch logs to: what comes is what a test sends.
type logs struct {
	packets chan string
	closed  chan struct{}
	once    sync.Once
}

func (l *logs) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case text := <-l.packets:
		return copy(p, text), &net.UDPAddr{IP: net.IPv4(192, 168, 100, 2), Port: 514}, nil
	case <-l.closed:
		return 0, nil, net.ErrClosed
	}
}

func (l *logs) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

func (*logs) WriteTo([]byte, net.Addr) (int, error) { return 0, net.ErrClosed }
func (*logs) LocalAddr() net.Addr                   { return &net.UDPAddr{} }
func (*logs) SetDeadline(time.Time) error           { return nil }
func (*logs) SetReadDeadline(time.Time) error       { return nil }
func (*logs) SetWriteDeadline(time.Time) error      { return nil }

// What a switch logs from its address is an event of that switch, and the run goes on
// as if nothing had been said.
func TestLogsOfDevices(t *testing.T) {
	socket := &logs{packets: make(chan string), closed: make(chan struct{})}
	started := make(chan struct{})
	var l *lab
	var device string
	l = newLab(t, platform.Scaled(platform.All(), 600, 10*time.Second), func(o *Options) {
		o.Syslog = socket
		o.Announce = func(e rack.Event) {
			if e.Kind == rack.RackStarted {
				close(started)
			}
		}
		for i := range o.Rack.Devices {
			if o.Rack.Devices[i].Address == netip.MustParseAddr("192.168.100.2") {
				device = o.Rack.Devices[i].Name
			}
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- l.agent.Run(t.Context()) }()
	<-started
	socket.packets <- "<134>Jan  1 00:00:30 onie: Fetching \x1b[2Jimage"
	socket.packets <- "<134>Jan  1 00:00:31 onie: Fetching \x1b[2Jimage"
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var got []string
	completed := false
	events, err := l.log.Read(1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == rack.DeviceSaid && e.Detail.Seen.Source == rack.FromSyslog {
			got = append(got, fmt.Sprint(e.Device, " ", e.Detail.Seen.Address, " ", e.Detail.Seen.Message))
		}
		completed = completed || e.Kind == rack.RackCompleted
	}
	if want := device + " 192.168.100.2 onie: Fetching [2Jimage"; len(got) != 1 || got[0] != want || !completed {
		t.Errorf("%q, completed %t, want %q", got, completed, want)
	}
	if v := l.violations(t); len(v) > 0 {
		t.Error(v)
	}
	page := scrape(t, l.registry)
	for _, want := range []string{`rackreach_syslog_lines_total{outcome="taken",rack="r1"} 1`, `rackreach_syslog_lines_total{outcome="repeated",rack="r1"} 1`} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics without %s", want)
		}
	}
}
