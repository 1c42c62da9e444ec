//go:build bench

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// used is what a process has used.
type used struct {
	cpu       time.Duration
	rss, peak int64 // bytes
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
	u := used{cpu: time.Duration(number(11)+number(12)) * userTick, rss: number(21) * int64(os.Getpagesize())}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.run.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
		if kb, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64); err == nil {
			u.peak = kb << 10
		}
	}
	return u
}

// sample looks at the resident memory every second, until it is asked for the middle
// of what it saw.
func (b *benched) sample() (middle func() int64) {
	var all []int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-time.After(time.Second):
				all = append(all, b.usage().rss)
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		all = append(all, b.usage().rss)
		slices.Sort(all)
		return all[len(all)/2]
	}
}

const userTick = 10 * time.Millisecond // USER_HZ is 100

// machine is what all processors have done since the machine was started.
type machine struct{ busy, all float64 }

func machineUse(t *testing.T) (m machine) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		if m.all += n; i != 3 && i != 4 {
			m.busy += n
		}
	}
	return m
}

// since is the share of the time that the processors were busy.
func (m machine) since(before machine) float64 {
	return (m.busy - before.busy) / max(m.all-before.all, 1)
}

// profile writes a profile of the coordinator after a time, when one is asked for.
func (b *benched) profile(name, what string, after time.Duration) (done chan struct{}) {
	done = make(chan struct{})
	dir := os.Getenv("FLEET_PROFILE")
	if dir == "" {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		time.Sleep(after)
		c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", b.home.Coordinator())
		}}}
		defer c.CloseIdleConnections()
		answer, err := c.Get("http://coordinator/debug/pprof/" + what)
		if err != nil {
			b.t.Error(err)
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			b.t.Error(err)
		}
	}()
	return done
}

// controlCPUPerDevice is the CPU time of an agent's control path per device, in ms
// (actors/bench_test.go): the middle one of three.
func controlCPUPerDevice(t *testing.T) float64 {
	out, err := exec.Command("go", "test", "-tags", "bench", "-count=3", "-v", "-run", "TestControlPathCPU", "../../actors").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []float64
	for _, figure := range strings.Split(string(out), "CONTROL ")[1:] {
		ms, err := strconv.ParseFloat(strings.Fields(figure)[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ms)
	}
	if len(all) != 3 {
		t.Fatalf("no three figures in\n%s", out)
	}
	slices.Sort(all)
	fmt.Printf("an agent's control path, from discovery to ready, with a durable journal: CPU %.2f ms per device (the middle one of %.2f)\n", all[1], all)
	return all[1]
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
