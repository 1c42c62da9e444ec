//go:build bench

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/bus"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// The fleet bench: one coordinator in a process of its own, the real binary, with
// mTLS and a durable log; the agents' ends of the streams in this process. What each
// of them sends is the journal of a run of a rack of 42 devices, recorded from the
// simulator, at the pace of the bench. See "make bench-fleet".
//
//	FLEET_RACKS    sizes of the fleets, default "10 100 1000"
//	FLEET_SECONDS  how long a run takes in the bench, default 180: 20 times faster than real

const benchRack = "../../examples/rack-42u.yaml"

// benched is one fleet in the bench.
type benched struct {
	t      *testing.T
	binary string
	home   state.Home
	url    string
	run    *exec.Cmd
	events []rack.Event // of a run of one rack
	plan   *state.Plan
	client *api.Client // on the coordinator's socket

	mu     sync.Mutex
	hashes map[string]string      // of the plans, by rack
	at     map[string][]time.Time // when an event was journalled, by rack and sequence
	late   []time.Duration        // from there to the API
	heard  atomic.Int64
}

func TestFleetBench(t *testing.T) {
	sizes := strings.Fields(envOr("FLEET_RACKS", "10 100 1000"))
	seconds, err := strconv.Atoi(envOr("FLEET_SECONDS", "180"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "rackreach")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	agentCPUPerDevice(t, binary)
	control := controlCPUPerDevice(t)
	for i, size := range sizes {
		n, err := strconv.Atoi(size)
		if err != nil {
			t.Fatal(err)
		}
		b := newBenched(t, binary)
		b.image(n, time.Duration(seconds)*time.Second, control, i == len(sizes)-1)
	}
}

func envOr(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return other
}

func newBenched(t *testing.T, binary string) *benched {
	b := &benched{t: t, binary: binary, home: state.Home(t.TempDir()), at: map[string][]time.Time{}, hashes: map[string]string{}}
	b.must(exec.Command(binary, "coordinator", "init", "--state", string(b.home), "--name", "127.0.0.1"))
	recorded := t.TempDir()
	b.must(exec.Command(binary, "demo", "--rack", benchRack, "--speed", "600", "--state", recorded))
	var err error
	if _, b.events, err = journal.Events(recorded); err != nil {
		t.Fatal(err)
	}
	r, err := load(benchRack)
	if err != nil {
		t.Fatal(err)
	}
	if b.plan, err = resolved(r); err != nil {
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *benched) must(c *exec.Cmd) {
	b.t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
}

// start starts the coordinator and returns once it serves.
func (b *benched) start() {
	b.t.Helper()
	listen := "127.0.0.1:0"
	if u, err := url.Parse(b.url); err == nil && u.Host != "" {
		listen = u.Host // where its agents look for it
	}
	b.run = exec.Command(b.binary, "coordinator", "--state", string(b.home), "--listen", listen)
	b.run.Stderr = &lines{b.t}
	out, err := b.run.StdoutPipe()
	if err == nil {
		err = b.run.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	b.url = strings.Fields(strings.TrimPrefix(line, "coordinator, serving at "))[0]
	if b.client, err = api.Dial(context.Background(), b.home.Coordinator()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *benched) kill() {
	b.client.Close()
	if err := b.run.Process.Kill(); err == nil {
		_ = b.run.Wait() // it says that it was killed
	}
}

// lines puts what a process says into the test's own log, unless it is of no interest.
type lines struct{ t *testing.T }

func (l *lines) Write(p []byte) (int, error) {
	if s := string(p); !strings.Contains(s, "level=INFO") {
		l.t.Log(s)
	}
	return len(p), nil
}

// image lets n racks be imaged at once, and says what it cost.
func (b *benched) image(n int, takes time.Duration, control float64, last bool) {
	t := b.t
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("r%04d", i+1))
	}
	idle := b.usage()
	b.each(names, func(name string) { b.put(name) })
	tls := map[string]*tls.Config{}
	var mu sync.Mutex
	b.each(names, func(name string) {
		c := b.enroll(name)
		mu.Lock()
		tls[name] = c
		mu.Unlock()
	})
	before := b.usage()
	watching, stop := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	go func() { watched <- b.watch(watching) }()

	ctx, cancel := context.WithCancel(context.Background())
	var agents, runs sync.WaitGroup
	begin := time.Now()
	for i, name := range names {
		log := &journalled{Memory: journal.NewMemory()}
		agents.Go(func() { b.agent(ctx, name, log, tls[name]) })
		// Racks do not begin at one moment: as many wait their first tenth as there are.
		offset := takes / 10 * time.Duration(i) / time.Duration(n)
		runs.Go(func() { b.live(name, log, offset, takes-takes/10) })
	}
	runs.Wait()
	total := int64(n * len(b.events))
	for end := time.Now().Add(2 * time.Minute); b.heard.Load() < total; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d events came out of the API", b.heard.Load(), total)
		}
	}
	took := time.Since(begin)
	after := b.usage()
	stop()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	slices.Sort(b.late)
	p99, worst := b.late[len(b.late)*99/100], b.late[len(b.late)-1]
	cpu := (after.cpu - before.cpu).Seconds()
	memory := float64(after.rss-idle.rss) / float64(n) / 1024
	devices := float64(n * len(b.plan.Rack.Devices))
	perDevice := 1000 * cpu / devices
	fmt.Printf("%d racks x %d devices, %d events in %.0f s: %.0f events/s; event to API p99 %.3f s, worst %.3f s; coordinator: CPU %.1f s (%.2f ms per device), %.0f MiB resident, %.0f KiB per rack\n",
		n, len(b.plan.Rack.Devices), total, took.Seconds(), float64(total)/took.Seconds(), p99.Seconds(), worst.Seconds(), cpu, perDevice, float64(after.rss)/1024/1024, memory)
	if !last {
		cancel()
		agents.Wait()
		return
	}
	restart := b.restart(names, total)
	cancel()
	agents.Wait()
	fmt.Printf("RESULT event_p99_seconds %.3f\nRESULT memory_per_rack_kb %.0f\nRESULT restart_seconds %.2f\nRESULT cpu_ms_per_device %.2f\n", p99.Seconds(), memory, restart.Seconds(), perDevice+control)
}

// each does something for every rack, a few at once.
func (b *benched) each(names []string, do func(name string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, name := range names {
		slots <- struct{}{}
		wg.Go(func() { defer func() { <-slots }(); do(name) })
	}
	wg.Wait()
}

// put gives the coordinator the plan of a rack.
func (b *benched) put(name string) {
	r := *b.plan.Rack
	r.Name = name
	p, err := resolved(&r)
	if err == nil {
		_, err = put(context.Background(), b.client, p)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.hashes[name] = p.Plan.Hash
	b.mu.Unlock()
}

// enroll gets an agent its certificate, as an agent does.
func (b *benched) enroll(name string) *tls.Config {
	a, err := b.client.Access.CreateEnrollment(context.Background(), connect.NewRequest(&messages.CreateEnrollmentRequest{Rack: name}))
	if err != nil {
		b.t.Error(err)
		return nil
	}
	id, err := pki.Enroll(context.Background(), a.Msg.GetToken(), b.home.Identity(name))
	if err != nil {
		b.t.Error(err)
		return nil
	}
	return id.ClientTLS("127.0.0.1")
}

// agent is the agent's end of the stream, over a connection of its own.
func (b *benched) agent(ctx context.Context, name string, log *journalled, config *tls.Config) {
	client, err := bus.Dial(b.url, config)
	if err != nil {
		b.t.Error(err)
		return
	}
	defer client.Close()
	err = bus.NewUplink(bus.UplinkOptions{Client: client, Rack: name, Name: "j-" + name, Journal: log,
		Hello:     func() *messages.Hello { return &messages.Hello{Version: "bench"} },
		Welcomed:  func(uint64, []string) error { return nil },
		Obey:      func(context.Context, *messages.Order) {},
		Heartbeat: func() *messages.Heartbeat { return &messages.Heartbeat{LastSeq: log.Last(), Driven: true, Speed: 1} },
	}).Run(ctx)
	if err != nil {
		b.t.Errorf("%s: %v", name, err)
	}
}

// journalled is a journal in memory that knows its newest event.
type journalled struct {
	*journal.Memory
	last atomic.Uint64
}

// Last implements bus.Journal.
func (c *journalled) Last() uint64 { return c.last.Load() }

// live journals the events of a run at the pace of the bench.
func (b *benched) live(name string, log *journalled, offset, takes time.Duration) {
	b.mu.Lock()
	b.at[name] = make([]time.Time, len(b.events)+1)
	at, hash := b.at[name], b.hashes[name]
	b.mu.Unlock()
	first := b.events[0].Time
	whole := b.events[len(b.events)-1].Time.Sub(first)
	begin := time.Now().Add(offset)
	for i, e := range b.events {
		due := begin.Add(time.Duration(float64(e.Time.Sub(first)) / float64(whole) * float64(takes)))
		if d := time.Until(due); d > time.Millisecond {
			time.Sleep(d)
		}
		e.Rack, e.Seq = name, 0
		if e.Kind == rack.RackStarted {
			e.Detail.PlanHash = hash
		}
		b.mu.Lock()
		at[i+1] = time.Now()
		b.mu.Unlock()
		if _, err := log.Append(e); err != nil {
			b.t.Error(err)
			return
		}
		log.last.Store(uint64(i + 1))
	}
}

// watch reads the events of all racks from the API, over TLS with a token.
func (b *benched) watch(ctx context.Context) error {
	a, err := b.client.Access.CreateToken(ctx, connect.NewRequest(&messages.CreateTokenRequest{Name: "bench", Role: "viewer"}))
	if err != nil {
		return err
	}
	config, err := pki.ClientTLS("127.0.0.1", filepath.Join(string(b.home), "coordinator", "pki", b.authority(), "ca.crt"), "")
	if err != nil {
		return err
	}
	client, err := api.Connect(api.Server{URL: b.url, TLS: config, Token: a.Msg.GetSecret()})
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.Fleet.WatchFleet(ctx, connect.NewRequest(&messages.WatchFleetRequest{Follow: true}))
	if err != nil {
		return err
	}
	for stream.Receive() {
		now := time.Now()
		b.mu.Lock()
		for _, e := range stream.Msg().GetEvents() {
			b.late = append(b.late, now.Sub(b.at[e.GetRack()][e.GetSeq()]))
		}
		b.mu.Unlock()
		b.heard.Add(int64(len(stream.Msg().GetEvents())))
	}
	err = errors.Join(stream.Err(), stream.Close())
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// authority is the fingerprint of the authority that signs.
func (b *benched) authority() string {
	text, err := os.ReadFile(filepath.Join(string(b.home), "coordinator", "pki", "signer"))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// restart ends the coordinator by SIGKILL and starts it again, on the history of all
// racks. It returns how long it took until the API told where every rack stands;
// then every event is read once more.
func (b *benched) restart(names []string, total int64) time.Duration {
	b.kill()
	begin := time.Now()
	b.start()
	served := time.Since(begin)
	var took time.Duration
	for took == 0 {
		a, err := b.client.Fleet.GetFleet(context.Background(), connect.NewRequest(&messages.GetFleetRequest{}))
		if err != nil { // it answers once it knows where every rack stands
			b.t.Log(err)
		}
		done := 0
		for _, r := range racksOf(a) {
			if r.GetStatus() == "completed" && r.GetLastSeq() == uint64(len(b.events)) {
				done++
			}
		}
		if done == len(names) {
			took = time.Since(begin)
		} else if time.Since(begin) > 5*time.Minute {
			b.t.Fatalf("%d of %d racks are known", done, len(names))
		}
	}
	next := map[string]uint64{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := b.client.Fleet.WatchFleet(ctx, connect.NewRequest(&messages.WatchFleetRequest{}))
	if err != nil {
		b.t.Fatal(err)
	}
	for stream.Receive() {
		for _, e := range stream.Msg().GetEvents() {
			next[e.GetRack()]++
			if e.GetSeq() != next[e.GetRack()] {
				b.t.Fatalf("%s: event %d where %d is due", e.GetRack(), e.GetSeq(), next[e.GetRack()])
			}
		}
	}
	var sum uint64
	for n := range maps.Values(next) {
		sum += n
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil || int64(sum) != total {
		b.t.Errorf("%d of %d events can be read again: %v", sum, total, err)
	}
	fmt.Printf("restart with the history of %d racks, %d events: the API answers after %.2f s, tells where every rack stands after %.2f s; every event was read once more\n",
		len(names), total, served.Seconds(), took.Seconds())
	return took
}

// racksOf are the racks of an answer; none when there was none.
func racksOf(a *connect.Response[messages.GetFleetResponse]) []*messages.FleetRack {
	if a == nil {
		return nil
	}
	return a.Msg.GetFleet().GetRacks()
}

// used is what a process has used.
type used struct {
	cpu time.Duration
	rss int64 // bytes
}

func (b *benched) usage() used {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.run.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	number := func(i int) int64 {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			b.t.Fatal(err)
		}
		return n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100
	return used{cpu: time.Duration(number(11)+number(12)) * tick, rss: number(21) * int64(os.Getpagesize())}
}

// controlCPUPerDevice is the CPU time of an agent's control path per device, in ms
// (actors/bench_test.go).
func controlCPUPerDevice(t *testing.T) float64 {
	out, err := exec.Command("go", "test", "-tags", "bench", "-count=1", "-v", "-run", "TestControlPathCPU", "../../actors").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, figure, ok := strings.Cut(string(out), "CONTROL ")
	if !ok {
		t.Fatalf("no figure in\n%s", out)
	}
	ms, err := strconv.ParseFloat(strings.Fields(figure)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("an agent's control path, from discovery to ready, with a durable journal: CPU %.2f ms per device\n", ms)
	return ms
}

// agentCPUPerDevice prints the CPU time of a whole agent that images the rack: the
// real binary, which speaks to BMCs and serves 1.2 GB of images besides. The devices
// are in another process.
func agentCPUPerDevice(t *testing.T, binary string) {
	home := t.TempDir()
	dir, err := os.MkdirTemp("", "bench") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "rack.sock")
	devices := exec.Command(binary, "simulated-rack", benchRack, "--speed", "60", "--socket", socket, "--state", home)
	if err := devices.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = devices.Process.Signal(syscall.SIGINT)
		_ = devices.Wait()
	}()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the simulated rack does not serve")
		}
	}
	agent := exec.Command(binary, "apply", benchRack, "--simulate", "--socket", socket, "--state", home)
	if out, err := agent.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := agent.ProcessState
	cpu := p.UserTime() + p.SystemTime()
	fmt.Printf("a whole agent that images 42 devices, BMCs and images and all: CPU %.2f s, %.1f ms per device\n", cpu.Seconds(), float64(cpu.Microseconds())/1000/42)
}
