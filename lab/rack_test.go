//go:build lab

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// agentManagement and agentData are the agent's addresses on the rack's networks.
const (
	agentManagement = "192.168.104.254"
	agentData       = "10.0.4.254"
)

// labRack is a rack of machines, and an agent's host that one cable leads to.
type labRack struct {
	t     *testing.T
	stock rackStock
	dir   string
	state string // the product's state directory
	file  string // rack file

	hall  *nstest.Host // where all machines run: nothing leads in or out but their cables
	agent *nstest.Host
	gate  *nstest.Host // the wall box: the agent's cable, the switch's port, its BMC
	nodes map[string]*node

	mgmtBMC *exec.Cmd // of the management switch

	began time.Time
	mu    sync.Mutex
	notes []note
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

// newLabRack builds the rack: everything is off but the ToR switches, which are in ONIE
// as soon as they have power.
func newLabRack(t *testing.T) *labRack {
	t.Helper()
	r := &labRack{t: t, stock: newRackStock(t), dir: folder(t), nodes: map[string]*node{}, began: time.Now()}
	r.state = filepath.Join(r.dir, "state")
	for _, d := range []string{"site", "pcap", "cable", "state/trust"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key, err := os.ReadFile(r.stock.trust)
	if err == nil {
		err = os.WriteFile(filepath.Join(r.state, "trust/release.pub"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.hall, r.agent, r.gate = nstest.New(t), nstest.New(t), nstest.New(t)
	r.hall.Do(func() { err = os.WriteFile("/proc/sys/net/unix/max_dgram_qlen", []byte(socketQueue), 0) })
	if err != nil {
		t.Fatal(err)
	}
	r.wire()
	r.site()
	if to := os.Getenv("LAB_REPORT"); to != "" {
		t.Cleanup(func() { r.report(filepath.Join(to, filepath.Base(t.Name()))) })
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.tell()
		}
	})
	return r
}

// cable is the path of one end of a cable.
func (r *labRack) cable(end string) string { return filepath.Join(r.dir, "cable", end) }

// wire makes machines, cables and BMCs.
func (r *labRack) wire() {
	r.agent.Do(func() {
		if err := r.agent.IPv6("default", true); err != nil {
			r.t.Error(err)
		}
	})
	r.agent.Cable("rr0", r.gate, "rr1")
	bmc := nstest.New(r.t)
	bmc.Cable("rr9", r.gate, "rr3")
	bmc.Address("rr9", "192.168.104.100/24")
	longCable(r.t, r.gate, "rr2", r.cable("agent"), r.cable("mgmt-1.swp48"))
	r.gate.Bridge("br0", "rr1", "rr2", "rr3")
	r.agent.Address("rr0", agentManagement+"/24")
	r.agent.Address("rr0", agentData+"/24")

	mgmt := r.add("mgmt-1", 0xa1, bios, "768")
	mgmt.plug(r, 48, "agent", true)
	for i := 1; i <= 4; i++ {
		mgmt.plug(r, i, fmt.Sprintf("server-0%d.bmc", i), false)
	}
	for i := 1; i <= 2; i++ {
		mgmt.plug(r, 42+i, fmt.Sprintf("tor-%d.swp54", i), false)
		mgmt.plug(r, 44+i, fmt.Sprintf("tor-%d.eth0", i), false)
	}
	r.blank(mgmt, 200*mib)
	r.mgmtBMC = mgmt.bmc(bmc, "192.168.104.100")
	for i := 1; i <= 2; i++ {
		tor := r.add(fmt.Sprintf("tor-%d", i), byte(0xb0+i), bios, "320")
		tor.plug(r, 0, fmt.Sprintf("mgmt-1.swp%d", 44+i), false)
		tor.plug(r, 54, fmt.Sprintf("mgmt-1.swp%d", 42+i), false)
		for s := 1; s <= 4; s++ {
			tor.plug(r, s, fmt.Sprintf("server-0%d.eth%d", s, i-1), false)
		}
		if out, err := exec.Command("cp", "--sparse=always", r.stock.onie, tor.disk).CombinedOutput(); err != nil {
			r.t.Fatalf("%v: %s", err, out)
		}
	}
	for i := 1; i <= 4; i++ {
		firm := bios
		if i == 4 {
			firm = uefiHTTP
		}
		s := r.add(fmt.Sprintf("server-0%d", i), byte(0xc0+i), firm, "640")
		if i == 3 {
			s.cpu = "qemu64,+svm,+npt" // a hypervisor's
		}
		s.attach(r, "eth0", fmt.Sprintf("tor-1.swp%d", i), 1, true)
		s.attach(r, "eth1", fmt.Sprintf("tor-2.swp%d", i), 2, false)
		r.blank(s, 200*mib)
		h := nstest.New(r.t)
		longCable(r.t, h, "rr0", r.cable(s.name+".bmc"), r.cable(fmt.Sprintf("mgmt-1.swp%d", i)))
		address := fmt.Sprintf("192.168.104.%d", 100+i)
		h.Address("rr0", address+"/24")
		s.bmc(h, address)
	}
}

// add makes a machine without cables and disk.
func (r *labRack) add(name string, number byte, firm firmware, memory string) *node {
	n := &node{t: r.t, hall: r.hall, name: name, dir: filepath.Join(r.dir, name), pcap: filepath.Join(r.dir, "pcap"), firm: firm, mem: memory, cpu: "qemu64", sku: "standard", note: r.note,
		uuid: fmt.Sprintf("0bad77cd-0000-4000-8000-5254000000%02x", number), life: make(chan struct{}, 1)}
	n.disk = filepath.Join(n.dir, "disk")
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.nodes[name] = n
	r.t.Cleanup(func() { n.power(false) })
	return n
}

// plug cables a port of a switch, whose number is the last byte of its MAC.
func (n *node) plug(r *labRack, number int, to string, boots bool) {
	name := fmt.Sprintf("swp%d", number)
	if number == 0 {
		name = "eth0"
	}
	n.attach(r, name, to, number, boots)
}

func (n *node) attach(r *labRack, name, to string, number int, boots bool) {
	n.nics = append(n.nics, port{mac: fmt.Sprintf("02:%s:00:00:00:%02x", n.uuid[len(n.uuid)-2:], number), name: name, own: r.cable(n.name + "." + name), other: r.cable(to), boots: boots})
}

// blank gives a machine an empty disk.
func (r *labRack) blank(n *node, size int64) {
	f, err := os.Create(n.disk)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// site writes what the operator has: rack file, inventory, platforms.
func (r *labRack) site() {
	const from = "testdata/rack/"
	if out, err := exec.Command("cp", "-r", from+"rack.yaml", from+"platforms", filepath.Join(r.dir, "site")).CombinedOutput(); err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	r.file = filepath.Join(r.dir, "site/rack.yaml")
	var b strings.Builder
	b.WriteString("slot,mac,serial\n")
	for _, name := range []string{"mgmt-1", "tor-1", "tor-2", "server-01", "server-02", "server-03", "server-04"} {
		n := r.nodes[name]
		macs := []string{n.nics[0].mac}
		if strings.HasPrefix(name, "server") {
			macs = append(macs, n.nics[1].mac)
		}
		fmt.Fprintf(&b, "%s,%s,SN-%s\n", name, strings.Join(macs, " "), name)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "site/rack.csv"), []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// command is the product's program on the agent's host.
func (r *labRack) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.stock.rackreach, args...)
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "RACKREACH_STATE="+r.state, "RACKREACH_PLATFORMS="+filepath.Join(r.dir, "site/platforms"),
		"RACK_BMC="+bmcUser+":"+bmcPassword, "RACK_SSH=root:"+rackPassword)
	cmd.Dir = filepath.Join(r.dir, "site")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
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

func (l *life) has(texts ...string) bool {
	for line := range strings.Lines(l.said.String()) {
		fits := true
		for _, text := range texts {
			fits = fits && strings.Contains(line, text)
		}
		if fits {
			return true
		}
	}
	return false
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
	run.await(rackLimit, `"device-ready"`, `"mgmt-1"`)
	run.await(rackLimit, `"device-ready"`, `"tor-1"`)
	run.await(rackLimit, `"device-ready"`, `"tor-2"`)
	for _, n := range []string{"01", "02", "03", "04"} {
		run.await(2*rackLimit, `"device-ready"`, `"server-`+n+`"`)
	}
	if code := run.end(rackLimit); code != 0 {
		t.Errorf("it ended with %d and said:\n%s", code, run)
	}
	seconds := time.Since(r.began).Seconds()
	r.judge()
	r.restart()
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
	if _, _, err := r.login("server-01", "true"); err == nil {
		r.t.Error("server-01 is reached although the management switch starts")
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

// powerUp gives the ToR switches power: they have no board controller.
func (r *labRack) powerUp() {
	r.nodes["tor-1"].power(true)
	r.nodes["tor-2"].power(true)
}
