//go:build lab

package lab

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// exit codes of the product.
const (
	exitReady        = 0
	exitFailedServer = 3
	exitHalted       = 4
)

func (r *labRack) wantEnd(l *life, code int) {
	r.t.Helper()
	if got := l.end(2 * rackLimit); got != code {
		r.t.Fatalf("it ended with %d, want %d, and said:\n%s", got, code, l)
	}
	r.t.Logf("%6.1f s  it ended with %d", time.Since(r.began).Seconds(), code)
}

// why holds that the product says why a device is where it is, in these words.
func (r *labRack) why(device string, words ...string) {
	r.t.Helper()
	out, _ := r.ask("why", device)
	for _, w := range words {
		if !strings.Contains(out, w) {
			r.t.Errorf("why %s does not say %q:\n%s", device, w, out)
		}
	}
}

// untouched holds that no server was powered, and no BMC of one told anything.
func (r *labRack) untouched() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notes {
		if strings.HasPrefix(n.Who, "server") {
			r.t.Errorf("%s: %s, although the rack was halted", n.Who, n.What)
		}
	}
}

// TestRackFaultInstaller: the installer of a ToR switch does not like the switch. The rack
// halts and no server is touched; the other ToR switch is finished. Once the switch is
// mended, retry and resume lead to the end.
func TestRackFaultInstaller(t *testing.T) {
	r := newLabRack(t)
	r.nodes["tor-1"].sku = "missing-fans"
	r.powerUp()
	run := r.apply(r.stock.bundle)
	run.await(2*rackLimit, `"device-failed"`, `"tor-1"`)
	r.wantEnd(run, exitHalted)
	r.untouched()
	if when(r.events(), "tor-2", "device-ready", "").IsZero() {
		t.Error("the rack is halted, and tor-2 was not finished before")
	}
	r.why("tor-1", "install")
	if text := r.nodes["tor-1"].text(); !strings.Contains(text, "this switch has no fan tray") || !strings.Contains(text, "the installer ended with 7") {
		t.Errorf("its installer was not run")
	}
	r.judgeSaid("tor-1", "os-install: LabNOS: this switch has no fan tray")
	r.judgeSaid("tor-1", "onie-exec: the installer ended with 7")
	// Somebody mends it, which takes its power away for a moment.
	tor := r.nodes["tor-1"]
	tor.power(false)
	tor.sku = "standard"
	tor.power(true)
	if out, code := r.ask("retry", "tor-1"); code != 0 {
		t.Fatalf("retry ended with %d: %s", code, out)
	}
	run = r.image("resume", "r4", "--hear", "1s", "--json")
	run.await(2*rackLimit, `"device-ready"`, `"tor-1"`)
	for _, s := range r.hosts() {
		run.await(2*rackLimit, `"device-ready"`, `"`+s+`"`)
	}
	r.wantEnd(run, exitReady)
	r.judgeOrder(r.events())
	if n := strings.Count(r.nodes["tor-2"].text(), "LabNOS: installed"); n != 1 {
		t.Errorf("tor-2 was installed %d times", n)
	}
}

// TestRackFaultBMC: the BMC of the management switch dies once it was logged in to. The
// rack halts before anything was powered.
func TestRackFaultBMC(t *testing.T) {
	r := newLabRack(t)
	r.powerUp()
	run := r.apply(r.stock.bundle)
	run.await(rackLimit, `"step-completed"`, "bmc-login")
	if err := r.mgmtBMC.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.wantEnd(run, exitHalted)
	r.untouched()
	if n := r.nodes["mgmt-1"].starts(); n != 0 {
		t.Errorf("the management switch was powered %d times", n)
	}
	r.why("mgmt-1", "BMC 192.168.104.100", "nothing listens there")
}

// TestRackFaultAgentKilled: the agent is killed when a part of the image is on the
// management switch's disk, and started again. The installer waits and goes on, and
// nothing is wiped twice. The bandwidth is bounded, so that there is a middle to hit.
func TestRackFaultAgentKilled(t *testing.T) {
	r := newLabRack(t)
	m := r.nodes["mgmt-1"]
	r.rewrite("services: {", "services: {bandwidth: {device: 24Mbit/s}, ")
	run := r.apply(r.stock.bundle, "--only", "mgmt-1")
	image := wanted(t, r.stock.nos)
	await(t, rackLimit, "a part of the image is on the disk", func() bool { return image.on(m) > len(image)/8 })
	if err := run.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-run.ended
	n := image.on(m)
	if n == len(image) {
		t.Error("the whole image was on the disk when the agent was killed")
	}
	t.Logf("%6.1f s  killed, %d of %d pieces of the image are on the disk", time.Since(r.began).Seconds(), n, len(image))
	const away = "rackreach: the network gives nothing, trying on"
	await(t, rackLimit, "the installer finds the agent away", func() bool { return strings.Contains(m.text(), away) })
	if n = image.on(m); n == len(image) {
		t.Error("the whole image is on the disk although the agent is away")
	}
	run = r.image("resume", "r4", "--hear", "1s", "--json")
	r.wantEnd(run, exitReady)
	if n := strings.Count(m.text(), "wiping what the disk held"); n != 1 {
		t.Errorf("the disk was wiped %d times", n)
	}
	if _, goesOn, _ := strings.Cut(m.text(), away); !strings.Contains(goesOn, "rackreach: the agent answers again") || !strings.Contains(goesOn, "the disk gives back the whole image") {
		t.Errorf("the installer did not go on when the agent was back:\n%s", goesOn)
	}
	r.judgeDisks("mgmt-1")
}

// pieces are the parts of an image that are not all zeros, by their place.
type pieces map[int64][]byte

const pieceSize = 64 << 10

// wanted are those of an image.
func wanted(t *testing.T, image string) pieces {
	t.Helper()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	out := pieces{}
	for at := 0; at < len(b); at += pieceSize {
		if p := b[at:min(at+pieceSize, len(b))]; len(bytes.Trim(p, "\x00")) > 0 {
			out[int64(at)] = p
		}
	}
	return out
}

// on is how many of them a machine's disk holds.
func (p pieces) on(m *node) (n int) {
	f, err := os.Open(m.disk)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, pieceSize)
	for at, want := range p {
		if _, err := f.ReadAt(b[:len(want)], at); err == nil && bytes.Equal(b[:len(want)], want) {
			n++
		}
	}
	return n
}

// TestRackFaultServers: the disk of one server is too small, that of another holds what
// nobody knows. They are isolated, nothing is written on them, and the third is finished.
func TestRackFaultServers(t *testing.T) {
	r := newLabRack(t)
	r.blank(r.nodes["server-01"], 64*mib)
	foreign := bytes.Repeat([]byte("the books of last year\n"), 4*mib/23)
	f, err := os.OpenFile(r.nodes["server-02"].disk, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt(foreign, 50*mib)
		err = errors.Join(err, f.Close())
	}
	var before []byte
	if err == nil {
		before, err = os.ReadFile(r.nodes["server-02"].disk)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.powerUp()
	run := r.apply(r.stock.bundle, "--only", "mgmt-1", "--only", "tor-1", "--only", "tor-2", "--only", "server-01", "--only", "server-02", "--only", "server-03")
	run.await(2*rackLimit, `"device-ready"`, `"server-03"`)
	run.await(3*rackLimit, `"device-failed"`, `"server-01"`)
	run.await(3*rackLimit, `"device-failed"`, `"server-02"`)
	r.wantEnd(run, exitFailedServer)
	r.why("server-01", "the disk is too small, and nothing was written")
	r.why("server-02", "foreign:")
	b, err := os.ReadFile(r.nodes["server-02"].disk)
	if err != nil || !bytes.Equal(b, before) {
		t.Errorf("the disk of server-02 was written: %v", err)
	}
	if b, err = os.ReadFile(r.nodes["server-01"].disk); err != nil || len(bytes.Trim(b, "\x00")) != 0 {
		t.Errorf("the disk of server-01 was written: %v", err)
	}
}

// TestRackFaultSecondServer: where another DHCP server answers, nothing is begun.
func TestRackFaultSecondServer(t *testing.T) {
	nstest.Needs(t, "dnsmasq", "dnsmasq-base")
	r := newLabRack(t)
	h := nstest.New(t)
	h.Cable("rr7", r.gate, "rr8")
	r.gate.Run("ip", "link", "set", "rr8", "master", "br0")
	h.Address("rr7", "192.168.104.77/24")
	cmd := exec.Command("dnsmasq", "--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--log-facility=-", "--no-ping", "--dhcp-range=192.168.104.200,192.168.104.210",
		"--dhcp-leasefile="+filepath.Join(r.dir, "leases"), "--pid-file="+filepath.Join(r.dir, "pid"), "--user=root", "--group=root") // of another one it would outlive a test that is killed
	out := &said{}
	cmd.Stdout, cmd.Stderr = out, out
	h.Start(cmd)
	out.await(t, 20*time.Second, "DHCP, IP range")
	other := h.MAC("rr7").String()
	run := r.apply(r.stock.bundle, "--hear", "4s")
	if code := run.end(rackLimit); code == exitReady || !strings.Contains(run.String(), "192.168.104.77") || !strings.Contains(run.String(), "Nothing was begun") {
		t.Errorf("it ended with %d and said:\n%s", code, run)
	}
	r.untouched()
	if n := r.nodes["mgmt-1"].starts(); n != 0 {
		t.Errorf("the management switch was powered %d times", n)
	}
	if seen, err := sightings(r.heard); err != nil || seen[other].from.IsZero() {
		t.Errorf("the recording of the agent's segment has no frame of that server: %v", err)
	}
}

// TestRackFaultSwapped: the cables of two servers are swapped at a ToR switch. Each is
// held, and stays held, before anything is written on it.
func TestRackFaultSwapped(t *testing.T) {
	r := newLabRack(t)
	one, two, tor := r.nodes["server-01"], r.nodes["server-02"], r.nodes["tor-1"]
	one.nics[0].other, two.nics[0].other = two.nics[0].other, one.nics[0].other
	var ports []*port
	for i := range tor.nics {
		if n := tor.nics[i].name; n == "swp1" || n == "swp2" {
			ports = append(ports, &tor.nics[i])
		}
	}
	ports[0].other, ports[1].other = ports[1].other, ports[0].other
	r.powerUp()
	run := r.apply(r.stock.bundle, "--only", "mgmt-1", "--only", "tor-1", "--only", "tor-2", "--only", "server-01", "--only", "server-02")
	for _, n := range []*node{one, two} {
		run.await(2*rackLimit, `"component-ambiguous"`, n.nics[0].mac)
	}
	// They are held for as long as somebody may wait: each is started anew, since it finds
	// nothing to boot, and asks again, in vain.
	for _, n := range []*node{one, two} {
		n.asksAnew()
	}
	t.Logf("%6.1f s  both were started anew, and ask again", time.Since(r.began).Seconds())
	if err := notTicketed(r.events(), "tor-1", one.name, two.name); err != nil {
		t.Error(err)
	}
	for _, n := range []*node{one, two} {
		if b, err := os.ReadFile(n.disk); err != nil || len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("the disk of %s was written: %v", n.name, err)
		}
	}
	r.why("server-01", "port")
}

// asksAnew waits until the machine was started once more, and has asked at its first network
// card for some seconds since.
func (m *node) asksAnew() {
	m.t.Helper()
	const some = 3 * time.Second // DHCP clients ask again within them (RFC 2131, 4.1)
	from, p := m.starts(), m.nics[0]
	await(m.t, rackLimit, m.name+" is started anew, and asks", func() bool {
		for run := from + 1; run <= m.starts(); run++ {
			if s, err := sightings(m.recording(p, run)); err == nil && s[p.mac].to.Sub(s[p.mac].from) >= some {
				return true
			}
		}
		return false
	})
}
