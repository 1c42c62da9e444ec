//go:build bench

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/journal"
	"github.com/rackreach/rackreach/internal/pki"
	"github.com/rackreach/rackreach/internal/platform"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/internal/state"
	"github.com/rackreach/rackreach/messages"
)

// The fleet bench: one coordinator in a process of its own, the real binary, with
// mTLS and a durable log; the agents' ends of the streams in this process. Behind each
// stream is no rack of its own: there is one journal, of one run of a rack of 42
// devices that the simulator imaged once, and every agent sends it under its rack's
// name, spread over the time of a run. So the racks differ in nothing but name and
// beginning, none is disturbed, and no agent decides anything: what that costs is
// measured beside, as the control path's CPU (actors/bench_test.go). The events are sent
// at a pace, for which the figures of the last size are the result; and at last as fast
// as it can, for the most that goes. See "make bench-fleet".
//
//	FLEET_RACKS    sizes of the fleets, default "10 100 1000"
//	FLEET_SECONDS  how long a run takes in the bench, default 300; a real one takes about an hour
//	FLEET_FASTEST  "no" leaves out the run that is as fast as it can
//	FLEET_PROFILE  a directory for profiles of the coordinator, by size: CPU in the middle of a run, heap at its end

const (
	benchRack = "../../examples/rack-42u.yaml"
	realRun   = time.Hour // about; rackreach plan forecasts it
)

// Goals of the fleet, on two cores. Linear or better: of the CPU of the coordinator per
// device, and of the memory per rack, the largest fleet needs no more than the smallest.
const (
	goalP99      = time.Second
	goalMemory   = 300 // KiB of a rack, less than
	goalRestart  = 5 * time.Second
	goalFleetCPU = 10 // ms of a device: the coordinator's and an agent's control path's
)

// recording is what every agent sends, and the plan that it carries out.
type recording struct {
	events []rack.Event
	plan   *state.Plan
}

// benched is one fleet in the bench.
type benched struct {
	recording
	t      *testing.T
	binary string
	home   state.Home
	url    string
	run    *exec.Cmd
	client *api.Client // on the coordinator's socket
	leave  func()      // ends the agents

	mu     sync.Mutex
	hashes map[string]string      // of the plans, by rack
	at     map[string][]time.Time // when an event was journalled, by rack and sequence
	late   []time.Duration        // from there to the API
	heard  atomic.Int64
}

func TestFleetBench(t *testing.T) {
	var sizes []int
	for _, size := range strings.Fields(envOr("FLEET_RACKS", "10 100 1000")) {
		n, err := strconv.Atoi(size)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	seconds, err := strconv.Atoi(envOr("FLEET_SECONDS", "300"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "rackreach")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	agentCPUPerDevice(t, binary)
	control := controlCPUPerDevice(t)
	recorded := record(t, binary)
	takes := time.Duration(seconds) * time.Second
	fmt.Printf("the pace: a run of %d events takes %s, %.0f times as fast as a real one of about an hour\n", len(recorded.events), takes, realRun.Seconds()/takes.Seconds())
	var first, last result
	for i, n := range sizes {
		b := newBenched(t, binary, recorded)
		last = b.image(n, takes)
		if i == 0 {
			first = last
		}
		if i == len(sizes)-1 {
			last.restart, last.whole = b.restart(n)
		}
		b.end()
	}
	if envOr("FLEET_FASTEST", "yes") != "no" {
		b := newBenched(t, binary, recorded)
		b.image(sizes[len(sizes)-1], 0)
		b.end()
	}
	fmt.Printf("the result: %d racks at %.0f times the real pace; the CPU is the coordinator's and, of an agent, its control path's\n", sizes[len(sizes)-1], realRun.Seconds()/takes.Seconds())
	fmt.Println(goals(first, last, len(sizes) > 1, control))
	fmt.Printf("RESULT event_p99_seconds %.3f\nRESULT memory_per_rack_kb %.0f\nRESULT restart_seconds %.2f\nRESULT cpu_ms_per_device %.2f\n",
		last.p99.Seconds(), last.memory, last.restart.Seconds(), last.cpu+control)
}

func envOr(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return other
}

// record images one rack.
func record(t *testing.T, binary string) (x recording) {
	dir := t.TempDir()
	if out, err := exec.Command(binary, "demo", "--rack", benchRack, "--speed", "600", "--state", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var err error
	if _, x.events, err = journal.Events(dir); err != nil {
		t.Fatal(err)
	}
	r, err := load(benchRack, platform.All())
	if err == nil {
		x.plan, err = resolved(r, platform.All())
	}
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func newBenched(t *testing.T, binary string, x recording) *benched {
	b := &benched{t: t, recording: x, binary: binary, home: state.Home(t.TempDir()), at: map[string][]time.Time{}, hashes: map[string]string{}}
	if out, err := exec.Command(binary, "coordinator", "init", "--state", string(b.home), "--name", "127.0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.start()
	return b
}

// end ends the fleet and removes what it has kept.
func (b *benched) end() {
	b.leave()
	b.kill()
	if err := os.RemoveAll(string(b.home)); err != nil {
		b.t.Error(err)
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

func benchName(i int) string { return fmt.Sprintf("r%04d", i+1) }

// result are the figures of a fleet.
type result struct {
	p99, restart time.Duration
	memory       float64 // KiB of a rack
	cpu          float64 // ms of a device
	whole        bool    // every event could be read once more after a restart
}

// goals says which goals are met by the largest fleet, beside the smallest.
func goals(first, last result, both bool, control float64) string {
	linear := "not known, of one size"
	if both {
		linear = met(last.cpu <= first.cpu && last.memory <= first.memory)
	}
	return fmt.Sprintf("goals: event to API %s, memory per rack %s, linear %s, serving again %s, every event again %s, CPU per device %s",
		met(last.p99 < goalP99), met(last.memory < goalMemory), linear, met(last.restart < goalRestart), met(last.whole), met(last.cpu+control < goalFleetCPU))
}

// TestFleetBenchGoals: each goal is told as missed by the figure that misses it.
func TestFleetBenchGoals(t *testing.T) {
	small := result{cpu: 2, memory: 400}
	good := result{p99: 200 * time.Millisecond, restart: time.Second, memory: 100, cpu: 1, whole: true}
	const all = "goals: event to API met, memory per rack met, linear met, serving again met, every event again met, CPU per device met"
	if got := goals(small, good, true, 1); got != all {
		t.Error(got)
	}
	for name, change := range map[string]func(*result){
		"event to API":      func(r *result) { r.p99 = goalP99 },
		"memory per rack":   func(r *result) { r.memory = goalMemory },
		"linear":            func(r *result) { r.cpu = 3 },
		"serving again":     func(r *result) { r.restart = goalRestart },
		"every event again": func(r *result) { r.whole = false },
		"CPU per device":    func(r *result) { r.cpu, small.cpu = 10, 10 },
	} {
		r := good
		change(&r)
		if got, want := goals(small, r, true, 1), strings.Replace(all, name+" met", name+" MISSED", 1); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// image lets n racks be imaged at once, each within a time, and says what it cost;
// 0: all has happened already when the agents connect.
func (b *benched) image(n int, takes time.Duration) result {
	t := b.t
	idle := b.usage()
	b.prepare(n)
	before, machine := b.usage(), machineUse(t)
	watching, stop := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	go func() { watched <- b.watch(watching) }()
	name := fmt.Sprint(n)
	if takes == 0 {
		name += "-fastest"
	}
	profiled := b.profile(name+".cpu", "profile?seconds=30", takes/2)
	begin, samples := time.Now(), b.sample()
	b.leave = b.agents(n, takes)
	total := int64(n * len(b.events))
	for end := time.Now().Add(10 * time.Minute); b.heard.Load() < total; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d events came out of the API", b.heard.Load(), total)
		}
	}
	took, resident := time.Since(begin), samples()
	<-profiled
	<-b.profile(name+".heap", "heap", 0)
	after, busy := b.usage(), machineUse(t).since(machine)
	stop()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	slices.Sort(b.late)
	quantile := func(permille int) time.Duration { return b.late[min(len(b.late)*permille/1000, len(b.late)-1)] }
	cpu := (after.cpu - before.cpu).Seconds()
	r := result{p99: quantile(990), memory: float64(resident-idle.rss) / float64(n) / 1024, cpu: 1000 * cpu / float64(n*len(b.plan.Rack.Devices))}
	latency := fmt.Sprintf("event to API: half within %.3f s, 99 %% within %.3f s, all within %.3f s", quantile(500).Seconds(), r.p99.Seconds(), quantile(1000).Seconds())
	if takes == 0 {
		latency = "as fast as it can"
	}
	fmt.Printf("%d racks x %d devices, %d events in %.0f s: %.0f events/s; %s; coordinator: CPU %.1f s (%.2f ms per device), resident at most times %.0f MiB, %.0f KiB per rack, at the end %.0f MiB, at most %.0f MiB; the machine was busy to %.0f %%\n",
		n, len(b.plan.Rack.Devices), total, took.Seconds(), float64(total)/took.Seconds(), latency, cpu, r.cpu, float64(resident)/1024/1024, r.memory, float64(after.rss)/1024/1024, float64(after.peak)/1024/1024, 100*busy)
	return r
}

// each does something for every rack, a few at once.
func each(n int, do func(name string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() { defer func() { <-slots }(); do(benchName(i)) })
	}
	wg.Wait()
}

// watch reads the events of all racks from the API, over TLS with a token.
func (b *benched) watch(ctx context.Context) error {
	a, err := b.client.Access.CreateToken(ctx, connect.NewRequest(&messages.CreateTokenRequest{Name: "bench", Role: "viewer"}))
	if err != nil {
		return err
	}
	signer, err := os.ReadFile(filepath.Join(string(b.home), "coordinator", "pki", "signer"))
	if err != nil {
		return err
	}
	config, err := pki.ClientTLS("127.0.0.1", filepath.Join(string(b.home), "coordinator", "pki", strings.TrimSpace(string(signer)), "ca.crt"), "")
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
