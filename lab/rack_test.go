//go:build lab

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// labRack is a rack of machines, and an agent's host that one cable leads to.
type labRack struct {
	layout
	t     *testing.T
	stock rackStock
	dir   string
	state string // the product's state directory
	file  string // rack file

	hall  *nstest.Host // where all machines run: nothing leads in or out but their cables
	agent *nstest.Host
	gate  *nstest.Host // the wall box: the agent's cable, the switch's port, its BMC
	nodes map[string]*node
	bmcs  map[string]string // MACs of the servers' BMCs, by the name of their cables' ends

	mgmtBMC *exec.Cmd // of the management switch
	heard   string    // the recording of the segment at the agent's cable

	began time.Time
	mu    sync.Mutex
	notes []note

	reported sync.Once
}

// note is something that a machine did, for the report.
type note struct {
	At   time.Time `json:"at"`
	Who  string    `json:"who"`
	What string    `json:"what"`
}

func (r *labRack) note(who, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note{time.Now(), who, what})
}

// newLabRack builds the rack that stands alone.
func newLabRack(t *testing.T) *labRack {
	t.Helper()
	return newRack(t, newHall(t), folder(t), single)
}

// newHall is where machines run: the cables between them need no network.
func newHall(t *testing.T) *nstest.Host {
	t.Helper()
	hall := nstest.New(t)
	var err error
	hall.Do(func() { err = os.WriteFile("/proc/sys/net/unix/max_dgram_qlen", []byte(socketQueue), 0) })
	if err != nil {
		t.Fatal(err)
	}
	return hall
}

// newRack builds a rack in a hall, and keeps what is its own in a folder: everything is off
// but the switches with ONIE, which are in it as soon as they have power.
func newRack(t *testing.T, hall *nstest.Host, dir string, l layout) *labRack {
	t.Helper()
	r := &labRack{layout: l, t: t, stock: newRackStock(t), dir: dir, hall: hall, nodes: map[string]*node{}, bmcs: map[string]string{}, began: time.Now()}
	r.state = filepath.Join(r.dir, "state")
	for _, d := range []string{"site", "pcap", "cable"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.stock.trusted(t, r.state)
	r.agent, r.gate = nstest.New(t), nstest.New(t)
	r.wire()
	r.site()
	t.Cleanup(r.report)
	t.Cleanup(func() {
		if t.Failed() {
			r.tell()
		}
	})
	return r
}

// cable is the path of one end of a cable.
func (r *labRack) cable(end string) string { return filepath.Join(r.dir, "cable", end) }

// command is the product's program on the agent's host.
func (r *labRack) command(args ...string) *exec.Cmd {
	return r.stock.command(r.dir, r.state, args...)
}

// ask runs it to its end.
func (r *labRack) ask(args ...string) (string, int) {
	cmd := r.command(args...)
	var b []byte
	r.agent.Do(func() { b, _ = cmd.CombinedOutput() })
	return string(b), cmd.ProcessState.ExitCode()
}

// life is one life of the agent, a command that images the rack, or of another process.
type life struct {
	*said
	r     *labRack
	ended chan struct{}
}

// image begins or goes on with the imaging.
func (r *labRack) image(args ...string) *life {
	r.t.Helper()
	return r.start(r.agent, r.command(args...))
}

// start starts a program of the product on a host. It ends with the test.
func (r *labRack) start(h *nstest.Host, cmd *exec.Cmd) *life {
	r.t.Helper()
	l := &life{said: &said{cmd: cmd}, r: r, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = l, l
	var err error
	h.Do(func() { err = cmd.Start() })
	if err != nil {
		r.t.Fatal(err)
	}
	go func() { defer close(l.ended); _ = cmd.Wait() }()
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-l.ended
	})
	return l
}

// apply is how an operator begins: listening for other DHCP servers is cut short.
func (r *labRack) apply(bundle string, more ...string) *life {
	return r.image(append([]string{"apply", r.file, "--bundle", bundle, "--hear", "1s", "--json"}, more...)...)
}

// await waits for a line of the journal that holds all of the texts.
func (l *life) await(limit time.Duration, texts ...string) {
	l.r.t.Helper()
	await(l.r.t, limit, fmt.Sprintf("there is an event with %q", texts), func() bool {
		if l.has(texts...) {
			return true
		}
		select {
		case <-l.ended:
			if !l.has(texts...) {
				l.r.t.Fatalf("it ended without %q, and said:\n%s", texts, l.said)
			}
		default:
		}
		return false
	})
	l.r.t.Logf("%6.1f s  %s", time.Since(l.r.began).Seconds(), strings.Join(texts, " "))
}

// awaitReady waits until all devices are ready.
func (l *life) awaitReady() {
	l.r.t.Helper()
	for _, s := range l.r.switches() {
		l.await(2*rackLimit, `"device-ready"`, `"`+s+`"`)
	}
	for _, s := range l.r.hosts() {
		l.await(2*rackLimit, `"device-ready"`, `"`+s+`"`)
	}
}

func (l *life) has(texts ...string) bool { return l.count(texts...) > 0 }

// count is of how many lines each holds all of the texts.
func (l *life) count(texts ...string) (n int) {
	for line := range strings.Lines(l.said.String()) {
		fits := true
		for _, text := range texts {
			fits = fits && strings.Contains(line, text)
		}
		if fits {
			n++
		}
	}
	return n
}

// end waits for the end of the command, and returns its exit code.
func (l *life) end(limit time.Duration) int {
	l.r.t.Helper()
	select {
	case <-l.ended:
	case <-time.After(limit):
		l.r.t.Fatalf("it did not end within %s, and said:\n%s", limit, l.said)
	}
	return l.cmd.ProcessState.ExitCode()
}

// rackLimit bounds each stage, several times over what it takes alone on two cores.
const rackLimit = 6 * time.Minute

// TestRack: a whole rack, from power-off to ready.
func TestRack(t *testing.T) {
	r := newLabRack(t)
	r.powerUp()
	run := r.apply(r.stock.bundle)
	run.awaitReady()
	if code := run.end(rackLimit); code != 0 {
		t.Errorf("it ended with %d and said:\n%s", code, run)
	}
	seconds := time.Since(r.began).Seconds()
	r.judge()
	r.restart()
	r.judgeReport()
	if file := os.Getenv("LAB_RESULT"); file != "" && !t.Failed() { // what make prints last
		if err := os.WriteFile(file, fmt.Appendf(nil, "RESULT lab_happy_seconds %.0f\n", seconds), 0o644); err != nil {
			t.Error(err)
		}
	}
	t.Logf("all are ready after %.0f s", seconds)
}

// restart takes the management switch's power away for a moment: it starts with the
// configuration that was confirmed, and what is behind it is reachable again.
func (r *labRack) restart() {
	r.t.Helper()
	r.nodes["mgmt-1"].reset()
	if conn, err := r.dial("server-01", time.Second); err == nil {
		r.t.Error("server-01 is reached although the management switch starts")
		_ = conn.Close() // nothing was said
	}
	await(r.t, rackLimit, "server-01 is reached again", func() bool {
		_, _, err := r.login("server-01", "true")
		return err == nil
	})
	said, _, err := r.login("mgmt-1", "sh /etc/rackreach/switch show")
	if err != nil || !strings.Contains(said, "everything is in force") {
		r.t.Errorf("the management switch says %q, %v", said, err)
	}
}

// powerUp gives the switches power that have no board controller: all but the first.
func (r *labRack) powerUp() {
	for _, name := range r.switches()[1:] {
		r.nodes[name].power(true)
	}
}
