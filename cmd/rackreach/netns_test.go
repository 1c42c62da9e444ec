//go:build netns || bench

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/state"
)

// Hosts that are network namespaces on one bridge: the real binary runs in each,
// with a state directory, a loopback interface and devices of its own. It needs
// root and iproute2. What is made is named after this process; what a test run
// that was killed left over is removed by the next. See "make netns" and "make
// fleet-faults".

const (
	nsPatience = 3 * time.Minute // for a rack to be imaged
	nsSoon     = 30 * time.Second
	nsTick     = 50 * time.Millisecond // between two looks at a condition
)

// world is a few hosts on one bridge.
type world struct {
	t      *testing.T
	name   string // of its namespaces, as a prefix
	dir    string
	binary string
	hosts  map[string]*host
	ran    []*process
	told   sync.Mutex
	log    bytes.Buffer // what all processes said, in order
}

var (
	worlds atomic.Int32
	oldNS  = regexp.MustCompile(`^rr([0-9]+)-`)
)

// newWorld builds the binary and makes the bridge.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.build(w.binary, ".")
	return w
}

// emptyWorld makes the bridge.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("network namespaces need root: run make netns as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("network namespaces need the command ip: install iproute2: ", err)
	}
	name := fmt.Sprintf("rr%d-%d", os.Getpid(), worlds.Add(1))
	dir := filepath.Join(os.TempDir(), name) // short: a unix socket's path is bounded
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, name: name, dir: dir, binary: filepath.Join(dir, "rackreach"), hosts: map[string]*host{}}
	t.Cleanup(func() {
		if t.Failed() {
			w.told.Lock()
			defer w.told.Unlock()
			t.Logf("what the processes said:\n%s", w.log.Bytes())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	swept.Do(w.sweep) // tests that run side by side would remove the same
	w.namespace(w.lan())
	w.ip("-n", w.lan(), "link", "add", "lan", "type", "bridge")
	w.ip("-n", w.lan(), "link", "set", "lan", "up")
	return w
}

// build builds a program.
func (w *world) build(path, from string) {
	w.t.Helper()
	if out, err := exec.Command("go", "build", "-o", path, from).CombinedOutput(); err != nil {
		w.t.Fatalf("build %s: %v\n%s", from, err, out)
	}
}

func (w *world) lan() string { return w.name + "-lan" }

// namespace makes a network namespace, which the end of the test removes.
func (w *world) namespace(name string) {
	w.t.Helper()
	w.ip("netns", "add", name)
	w.t.Cleanup(func() {
		w.clear(name)
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			w.t.Errorf("remove the namespace %s: %v: %s", name, err, out)
		}
	})
	w.ip("-n", name, "link", "set", "lo", "up")
}

// clear ends everything that runs in a namespace.
func (w *world) clear(namespace string) {
	w.t.Helper()
	for p := range strings.FieldsSeq(w.ip("netns", "pids", namespace)) {
		if n, err := strconv.Atoi(p); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL) // it may have ended meanwhile
		}
	}
}

func (w *world) ip(args ...string) string {
	w.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// swept is done once a process.
var swept sync.Once

// sweep removes what test runs that were killed have left over.
func (w *world) sweep() {
	for line := range strings.Lines(w.ip("netns", "list")) {
		if !leftOver(line) {
			continue
		}
		name := strings.Fields(line)[0]
		w.clear(name)
		w.ip("netns", "del", name)
	}
	entries, err := os.ReadDir(os.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if !leftOver(e.Name()) {
			continue
		}
		path := filepath.Join(os.TempDir(), e.Name())
		_ = syscall.Unmount(filepath.Join(path, smallDisk), syscall.MNT_DETACH) // most have none
		if err := os.RemoveAll(path); err != nil {
			w.t.Error(err)
		}
	}
}

// smallDisk is where in its directory a world may mount a disk.
const smallDisk = "disk"

// leftOver reports whether a name is one of ours, of a process that has ended.
func leftOver(name string) bool {
	m := oldNS.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	pid, err := strconv.Atoi(m[1])
	return err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// host is a machine: a namespace with one cable to the bridge.
type host struct {
	w       *world
	name    string
	address string
	in      string // its namespace
	home    state.Home
	clock   time.Duration // how far its clock is ahead, for what buildSkewed built
}

// clockVariable says how many seconds the clock of such a process is ahead; less than 0:
// behind.
const clockVariable = "RACKREACH_TEST_CLOCK_AHEAD"

// machine makes a machine without a cable.
func (w *world) machine(name string) *host {
	w.t.Helper()
	h := &host{w: w, name: name, in: w.name + "-" + name, home: state.Home(filepath.Join(w.dir, name))}
	if err := os.Mkdir(string(h.home), 0o700); err != nil {
		w.t.Fatal(err)
	}
	w.namespace(h.in)
	w.hosts[name] = h
	return h
}

// host makes a machine that is cabled to the bridge.
func (w *world) host(name, address string) *host {
	w.t.Helper()
	h := w.machine(name)
	h.address = address
	w.ip("-n", w.lan(), "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", h.in)
	w.ip("-n", w.lan(), "link", "set", name, "master", "lan", "up")
	w.ip("-n", h.in, "addr", "add", address+"/24", "dev", "eth0")
	w.ip("-n", h.in, "link", "set", "eth0", "up")
	return h
}

// replaced is another machine in the place of this one, with all of its cables and
// nothing that it knew.
func (h *host) replaced(name, address string) *host {
	h.w.t.Helper()
	n := &host{w: h.w, name: name, address: address, in: h.in, home: state.Home(filepath.Join(h.w.dir, name))}
	if err := os.Mkdir(string(n.home), 0o700); err != nil {
		h.w.t.Fatal(err)
	}
	h.w.ip("-n", h.in, "addr", "flush", "dev", "eth0")
	h.w.ip("-n", h.in, "addr", "add", address+"/24", "dev", "eth0")
	return n
}

// unplug pulls the machine's cable; plug puts it back.
func (h *host) unplug() { h.w.t.Helper(); h.w.ip("-n", h.w.lan(), "link", "set", h.name, "down") }
func (h *host) plug()   { h.w.t.Helper(); h.w.ip("-n", h.w.lan(), "link", "set", h.name, "up") }

// process is a program that runs on a host.
type process struct {
	h     *host
	what  string
	cmd   *exec.Cmd
	out   transcript
	ended chan struct{}
	err   error // how it ended; once ended is closed
}

// transcript is what a process said, which also goes into the log of the world.
type transcript struct {
	mu  sync.Mutex
	b   bytes.Buffer
	who string
	w   *world
}

func (s *transcript) Write(p []byte) (int, error) {
	s.w.told.Lock()
	fmt.Fprintf(&s.w.log, "%s %s: %s\n", time.Now().Format("15:04:05.000"), s.who, bytes.TrimRight(p, "\n"))
	s.w.told.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// command is a command on the host that knows no other configuration than ours.
func (h *host) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.in, program}, args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "RACKREACH_") && !strings.HasPrefix(v, "XDG_") && !strings.HasPrefix(v, "HOME=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+string(h.home), "RACKREACH_STATE="+string(h.home), fmt.Sprintf("%s=%d", clockVariable, h.clock/time.Second))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts a program that the end of the test kills, if it runs by then.
func (h *host) start(program string, args ...string) *process {
	h.w.t.Helper()
	p := &process{h: h, what: h.name + " " + args[0], cmd: h.command(context.Background(), program, args...), ended: make(chan struct{})}
	p.cmd.WaitDelay = time.Second // a child of it that lives on may hold its output
	p.out.w, p.out.who = h.w, p.what
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		h.w.t.Fatal(err)
	}
	go func() { defer close(p.ended); p.err = p.cmd.Wait() }()
	h.w.ran = append(h.w.ran, p)
	h.w.t.Cleanup(p.kill)
	return p
}

// signal sends a signal; a process that has ended gets none.
func (p *process) signal(s os.Signal) {
	p.h.w.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.h.w.t.Errorf("%s: %v", p.what, err)
	}
}

// kill ends it by SIGKILL.
func (p *process) kill() {
	p.h.w.t.Helper()
	p.signal(os.Kill)
	<-p.ended
}

// wait waits for it to end by itself, and returns what it said and its exit code.
func (p *process) wait(limit time.Duration) (string, int) {
	p.h.w.t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.ended:
		return p.out.String(), p.cmd.ProcessState.ExitCode()
	case <-late.C:
		p.h.w.t.Fatalf("%s did not end within %s; it said:\n%s", p.what, limit, p.out.String())
	}
	return "", 0
}

// stop tells it to end, which it must do with 0.
func (p *process) stop() {
	p.h.w.t.Helper()
	p.signal(os.Interrupt)
	if out, code := p.wait(nsSoon); code != 0 {
		p.h.w.t.Errorf("%s ended with %d (%v); it said:\n%s", p.what, code, p.err, out)
	}
}

// says waits until it has said something.
func (p *process) says(text string) {
	p.h.w.t.Helper()
	p.h.w.until(nsSoon, p.what+" says "+text, func() bool {
		select {
		case <-p.ended:
			if !strings.Contains(p.out.String(), text) {
				p.h.w.t.Fatalf("%s ended (%v) and did not say %q:\n%s", p.what, p.err, text, p.out.String())
			}
		default:
		}
		return strings.Contains(p.out.String(), text)
	})
}

// try runs rackreach to its end.
func (h *host) try(args ...string) (stdout, stderr []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), nsSoon)
	defer cancel()
	cmd := h.command(ctx, h.w.binary, args...)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	err = cmd.Run()
	return out.Bytes(), notes.Bytes(), err
}

// run runs rackreach, which must succeed, and returns what it printed.
func (h *host) run(args ...string) []byte {
	h.w.t.Helper()
	out, notes, err := h.try(args...)
	if err != nil {
		h.w.t.Fatalf("%s: rackreach %s: %v\n%s%s", h.name, strings.Join(args, " "), err, out, notes)
	}
	return out
}

// until waits for a condition.
func (w *world) until(limit time.Duration, what string, ok func() bool) {
	w.t.Helper()
	w.reaches(limit, what, ok)
}

// reaches waits for a condition and returns how long that took.
func (w *world) reaches(limit time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	late := time.NewTimer(limit)
	defer late.Stop()
	tick := time.NewTicker(nsTick)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			w.t.Fatalf("within %s it did not come true that %s", limit, what)
		}
	}
	return time.Since(began)
}
