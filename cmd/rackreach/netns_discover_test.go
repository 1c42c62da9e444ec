//go:build netns

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/nstest"
)

// onWire is a rack that is a network namespace, in front of the real binary.
type onWire struct {
	t              *testing.T
	binary, file   string
	agent, devices *nstest.Host
	under          []string // a program that runs it
}

// What the devices of the rack are known by.
const wireServerMAC = "02:5e:10:00:01:01"

func newOnWire(t *testing.T) *onWire {
	t.Helper()
	binary, err := exec.LookPath("rackreach") // this program itself, which testscript has put there
	if err != nil {
		t.Fatal(err)
	}
	w := &onWire{t: t, binary: binary, agent: nstest.New(t), devices: nstest.New(t)}
	w.agent.Cable("rr0", w.devices, "rr0")
	w.devices.SetMAC("rr0", wireServerMAC)
	w.agent.Address("rr0", "192.168.104.254/24")
	w.agent.Address("rr0", "10.0.4.254/24")
	yaml, err := os.ReadFile("testdata/rack-4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w.file = filepath.Join(t.TempDir(), "rack.yaml")
	text := strings.Replace(string(yaml), `agent: {cable: "mgmt-1:48"}`, `agent: {cable: "mgmt-1:48", interface: rr0}`+"\ninventory: rack.csv", 1)
	for name, text := range map[string]string{w.file: text, filepath.Join(filepath.Dir(w.file), "rack.csv"): "slot,mac,serial\nserver-01," + wireServerMAC + ",\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// command is rackreach with a state of its own.
func (w *onWire) command(args ...string) *exec.Cmd {
	line := append(append([]string(nil), w.under...), append([]string{w.binary}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "RACKREACH_STATE="+filepath.Join(filepath.Dir(w.file), "state"))
	return cmd
}

// try runs rackreach on the agent's machine to its end.
func (w *onWire) try(args ...string) (out string, code int) {
	w.t.Helper()
	cmd := w.command(args...)
	var b []byte
	w.agent.Do(func() { b, _ = cmd.CombinedOutput() })
	return string(b), cmd.ProcessState.ExitCode()
}

// notices are what a running rackreach learns.
type notices struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan rackagent.Notice
	seen  []rackagent.Notice
	notes strings.Builder
}

// start starts a command that prints notices.
func (w *onWire) start(args ...string) *notices {
	w.t.Helper()
	cmd := w.command(append(args, "-o", "json")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	n := &notices{t: w.t, cmd: cmd, lines: make(chan rackagent.Notice, 1000)}
	cmd.Stderr = &n.notes
	w.agent.Start(cmd)
	go func() {
		defer close(n.lines)
		n.read(out)
	}()
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("rackreach %s said:\n%s", strings.Join(args, " "), n.notes.String())
			for _, x := range n.seen {
				w.t.Logf("%s %s: %s", x.Kind, x.Device, x.Text)
			}
		}
	})
	return n
}

func (n *notices) read(out io.Reader) {
	for s := bufio.NewScanner(out); s.Scan(); {
		var x rackagent.Notice
		if err := json.Unmarshal(s.Bytes(), &x); err != nil {
			n.t.Errorf("%s: %v", s.Text(), err)
			return
		}
		n.lines <- x
	}
}

// await waits for a notice of a kind that holds a text.
func (n *notices) await(kind rackagent.NoticeKind, text string) rackagent.Notice {
	n.t.Helper()
	late := time.NewTimer(nsSoon)
	defer late.Stop()
	for {
		select {
		case x, ok := <-n.lines:
			if !ok {
				n.t.Fatalf("it ended without a notice of %s with %q", kind, text)
			}
			n.seen = append(n.seen, x)
			if x.Kind == kind && strings.Contains(x.Text, text) {
				return x
			}
		case <-late.C:
			n.t.Fatalf("within %s there was no notice of %s with %q", nsSoon, kind, text)
		}
	}
}

// awaitAny is await, for what may have been told already.
func (n *notices) awaitAny(kind rackagent.NoticeKind, text string) {
	n.t.Helper()
	for _, x := range n.seen {
		if x.Kind == kind && strings.Contains(x.Text, text) {
			return
		}
	}
	n.await(kind, text)
}

// end tells it to end, which it must do with 0.
func (n *notices) end() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(os.Interrupt); err != nil {
		n.t.Fatal(err)
	}
	for range n.lines { // until its output ends
	}
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("it ended with %v", err)
	}
}

// dhcp asks for an address with a client that nobody here wrote.
func (w *onWire) dhcp(class string, tries string) string {
	w.t.Helper()
	nstest.Needs(w.t, "busybox", "busybox")
	var b []byte
	w.devices.Do(func() {
		b, _ = exec.Command("busybox", "udhcpc", "-f", "-n", "-q", "-i", "rr0", "-s", "/bin/true", "-t", tries, "-T", "1", "-V", class).CombinedOutput()
	})
	return string(b)
}

const pxeClass = "PXEClient:Arch:00000:UNDI:002001"

func TestDiscoverInNamespaces(t *testing.T) {
	w := newOnWire(t)
	n := w.start("discover", w.file, "--hear", "1s")
	n.await(rackagent.NoticeService, "DHCP of rack r4 is served on interface rr0, by 192.168.104.254")
	if out := w.dhcp(pxeClass, "5"); !strings.Contains(out, "lease of 10.0.4.11 obtained from 10.0.4.254") {
		t.Errorf("the client said:\n%s", out)
	}
	if x := n.await(rackagent.NoticeSeen, "is pxe"); x.Device != "server-01" || x.By != "mac" || x.MAC != wireServerMAC {
		t.Errorf("%+v", x)
	}
	if x := n.await(rackagent.NoticeAddress, ""); x.Device != "server-01" || x.Address != "10.0.4.11" {
		t.Errorf("%+v", x)
	}
	w.devices.SetMAC("rr0", "02:00:00:00:00:99")
	if out := w.dhcp("stranger", "2"); !strings.Contains(out, "no lease, failing") {
		t.Errorf("a stranger got an answer:\n%s", out)
	}
	if x := n.await(rackagent.NoticeStranger, "02:00:00:00:00:99"); x.Device != "" {
		t.Errorf("%+v", x)
	}
}

// The capabilities of deploy/systemd/rackreach-agent@.service are enough.
func TestDiscoverWithTheRightsOfTheUnit(t *testing.T) {
	w := newOnWire(t)
	unit, err := os.ReadFile("../../deploy/systemd/rackreach-agent@.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "\nAmbientCapabilities=CAP_NET_RAW CAP_NET_BIND_SERVICE\n") || !strings.Contains(string(unit), "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_PACKET AF_NETLINK\n") {
		t.Error("the unit grants something else: change this test")
	}
	w.agent.Do(func() {
		if err := w.agent.IPv6("rr0", true); err != nil {
			t.Error(err)
		}
	})
	w.agent.Address("rr0", "fe80::1/64")
	const caps = "-all,+net_raw,+net_bind_service"
	w.under = []string{"setpriv", "--bounding-set", caps, "--inh-caps", caps, "--"}
	n := w.start("discover", w.file, "--hear", "1s")
	n.await(rackagent.NoticeService, "DHCP of rack r4 is served")
	n.awaitAny(rackagent.NoticeService, "are told that there is no router")
	if out := w.dhcp(pxeClass, "5"); !strings.Contains(out, "lease of 10.0.4.11 obtained") {
		t.Errorf("the client said:\n%s", out)
	}
	n.end()
}

func TestDiscoverRefuses(t *testing.T) {
	w := newOnWire(t)
	w.agent.Default("rr0", "192.168.104.253")
	if out, code := w.try("discover", w.file); code != exitError || !strings.Contains(out, "interface rr0 leads out: the default route by 192.168.104.253 leaves through rr0") || !strings.Contains(out, "--allow rr0") {
		t.Errorf("%d: %s", code, out)
	}
	w.start("discover", w.file, "--allow", "rr0", "--hear", "1s").await(rackagent.NoticeService, "is served on")
	if out, code := w.try("discover", w.file, "--allow", "rr0", "--hear", "1s", "--state", t.TempDir()); code != exitError || !strings.Contains(out, "UDP port 67 of interface rr0 is served by rackreach (process ") {
		t.Errorf("a second server: %d: %s", code, out)
	}
}

func TestDiscoverNeedsItsInterface(t *testing.T) {
	w := newOnWire(t)
	w.devices.Up("rr0", false)
	if out, code := w.try("discover", w.file); code != exitError || !strings.Contains(out, "interface rr0 has no link") {
		t.Errorf("%d: %s", code, out)
	}
	w.devices.Up("rr0", true)
	w.agent.Address("rr0", "10.0.4.11/24")
	if out, code := w.try("discover", w.file); code != exitError || !strings.Contains(out, "interface rr0 has the address 10.0.4.11, which the rack file gives to server-01") {
		t.Errorf("%d: %s", code, out)
	}
}

// udhcpd starts a DHCP server on the devices' side that nobody here wrote.
func (w *onWire) udhcpd() {
	w.t.Helper()
	nstest.Needs(w.t, "busybox", "busybox")
	w.devices.Address("rr0", "192.168.104.77/24")
	dir := w.t.TempDir()
	config := filepath.Join(dir, "udhcpd.conf")
	text := fmt.Sprintf("start 192.168.104.50\nend 192.168.104.60\ninterface rr0\nlease_file %s/leases\npidfile %s/pid\n", dir, dir)
	if err := errors.Join(os.WriteFile(config, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "leases"), nil, 0o600)); err != nil {
		w.t.Fatal(err)
	}
	w.devices.Start(exec.Command("busybox", "udhcpd", "-f", "-S", config))
}

// Another server keeps ours from beginning; one that comes later is told.
func TestDiscoverForeignServer(t *testing.T) {
	w := newOnWire(t)
	n := w.start("discover", w.file, "--hear", "1s")
	n.await(rackagent.NoticeService, "is served on")
	w.udhcpd()
	w.devices.SetMAC("rr0", "02:00:00:00:00:99") // not ours: the other one gives it an address
	// Its answer to the second one's question is broadcast, so the first hears it too.
	out, code := w.try("discover", w.file, "--state", t.TempDir())
	if code != exitError || !strings.Contains(out, "another DHCP server is on the segment of interface rr0: 192.168.104.77 (MAC 02:00:00:00:00:99), which offered 192.168.104.") || !strings.Contains(out, "--allow 192.168.104.77") {
		t.Errorf("%d: %s", code, out)
	}
	if x := n.await(rackagent.NoticeForeign, "ANOTHER DHCP SERVER: 192.168.104.77"); x.Address != "192.168.104.77" || x.MAC != "02:00:00:00:00:99" {
		t.Errorf("%+v", x)
	}
}

// A server that an operator allows keeps nobody from beginning.
func TestDiscoverAllowsAServer(t *testing.T) {
	w := newOnWire(t)
	w.udhcpd()
	w.start("discover", w.file, "--allow", "192.168.104.77").await(rackagent.NoticeService, "is served on")
}

// BMCs that answer are told with their slot: by the address of the rack file, or by
// their GUID, which is what their host says of itself in another order of bytes. The
// neighbour's word is held against the rack file; IPv6 nodes hear that there is no router.
func TestDiscoverWhatElseThereIs(t *testing.T) {
	w := newOnWire(t)
	var ports []string
	for name, address := range map[string]string{"rr1": "192.168.104.102", "rr2": "192.168.104.33"} { // the rack file's, of server-02; and nobody's
		board := nstest.New(t)
		w.devices.Cable(name, board, "rr0")
		board.Address("rr0", address+"/24")
		guid := [16]byte{0x22}
		if name == "rr2" {
			guid = [16]byte{0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 9, 10, 11, 12, 13, 14, 15, 16}
		}
		board.BMC(address, guid, name == "rr2")
		ports = append(ports, name)
	}
	w.devices.Bridge("rrbr", append(ports, "rr0")...)
	w.agent.Do(func() {
		if err := w.agent.IPv6("rr0", true); err != nil {
			t.Error(err)
		}
	})
	w.agent.Address("rr0", "fe80::1/64")
	t.Setenv("RACK_BMC", "admin:"+nstest.Password)
	n := w.start("discover", w.file, "--hear", "1s", "--scan-every", "10s")
	n.await(rackagent.NoticeService, "DHCP of rack r4 is served")
	// A host of a slot that its MAC names: its number is the GUID of the BMC, as SMBIOS writes it.
	say := w.speaker() // past the bridge, to the agent
	say(dhcpFrame(t, "02:5e:10:00:01:01", false, dhcpv4.WithOption(dhcpv4.OptClassIdentifier(pxeClass)),
		dhcpv4.WithGeneric(dhcpv4.OptionClientMachineIdentifier, []byte{0, 0x34, 0x33, 0x32, 0x31, 0x36, 0x35, 0x38, 0x37, 9, 10, 11, 12, 13, 14, 15, 16})))
	say([]byte("\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x07\x88\xcc\x02\x07\x04\x02\x00\x00\x00\x00\x07\x04\x06\x05swp47\x06\x02\x00\x78\x0a\x06mgmt-1\x00\x00"))
	if x := n.await(rackagent.NoticeNeighbour, "but the rack file says mgmt-1:48: move the cable"); x.Evidence != "differs" {
		t.Errorf("%+v", x)
	}
	n.awaitAny(rackagent.NoticeService, "are told that there is no router")
	n.awaitAny(rackagent.NoticeBMC, "its BMC answers at 192.168.104.102")
	n.awaitAny(rackagent.NoticeBMC, "its BMC answers at 192.168.104.33")
	for _, x := range n.seen {
		if x.Kind != rackagent.NoticeBMC {
			continue
		}
		switch {
		case x.Address == "192.168.104.102" && (x.Device != "server-02" || x.By != "address" || !strings.Contains(x.Text, "let us in")):
			t.Errorf("%+v", x)
		case x.Address == "192.168.104.33" && (x.Device != "server-01" || x.By != "uuid" || !strings.Contains(x.Text, "the rack file says 192.168.104.101")):
			t.Errorf("%+v", x)
		}
	}
	n.end()
}
