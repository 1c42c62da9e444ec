//go:build netns

package main

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

// switchRack has a management switch with the agent, a BMC, and a switch that joins two
// of its cables. AGENT is the port that the agent is said to be plugged into.
const switchRack = `apiVersion: rackreach/v1
kind: Rack
name: r6
number: 6
agent: {cable: "mgmt-1:AGENT", interface: rr0}
networks: {management: {cidr: 192.168.104.0/24}, data: {cidr: 10.0.4.0/24}}
services: {dns: 192.168.104.10, ntp: 192.168.104.11}
devices:
  - name: mgmt-1
    role: management-switch
    platform: bench-switch
    address: 192.168.104.1
    bmc: {protocol: ipmi, address: 192.168.104.100, credentials: "env:RACK_BMC"}
    access: {credentials: "env:RACK_SSH", key: "file:KEY"}
  - name: tor-1
    role: tor-switch
    platform: sonic
    image: nos
    address: 192.168.104.2
    management: "mgmt-1:rr3"
    data: ["mgmt-1:rr4", "mgmt-1:rr5"]
    access: {credentials: "env:RACK_SSH"}
  - name: server-01
    role: server
    platform: linux-server
    image: nos
    address: 10.0.4.11
    bmc: {protocol: ipmi, address: 192.168.104.101, credentials: "env:RACK_BMC"}
    access: {credentials: "env:RACK_SSH"}
    management: "mgmt-1:rr2"
    data: "tor-1:1"
inventory: switch.csv
`

// benchSwitch is linux-switch, whose installation is that of a client that is none, and
// which has 30 seconds to be confirmed; its files and commands are the shipped ones.
func benchSwitch(t *testing.T) string {
	t.Helper()
	shipped, err := os.ReadFile("../../internal/platform/files/linux-switch.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, steps, _ := strings.Cut(string(shipped), "\nsteps:\n")
	short := strings.NewReplacer("revertAfter: 3m", "revertAfter: 30s", "retries: 2\n      backoff: 30s", "retries: 0").Replace(steps)
	if strings.Count(short, "revertAfter: 30s") != 1 || strings.Contains(short, "backoff: 30s") {
		t.Fatalf("the times of linux-switch are others now:\n%s", steps)
	}
	before, _, _ := strings.Cut(applyPlatform, "  configuration:\n")
	return before + short
}

// ownRoot are words of a shell that give it a view of the file system of its own, in
// which nothing of this machine is written; $DIR is on a disk.
const ownRoot = `mount --make-rprivate / && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /run && mkdir /run/sshd &&
mkdir $DIR/etc $DIR/work && mount -t overlay overlay -o lowerdir=/etc,upperdir=$DIR/etc,workdir=$DIR/work /etc && mkdir /etc/rackreach && `

// onSwitch is a rack whose management switch is a host with Debian's OpenSSH server: its
// port rr0 is cabled to the agent, rr2 to a BMC, rr3 to rr5 to a switch, rr6 nowhere.
type onSwitch struct {
	*onWire
	dir  string // of what the switch keeps
	args []string
}

// newOnSwitch makes one. agentPort is what the rack file says that the agent is plugged
// into. ownCable: the BMC of the switch has a port of its own, which is cabled to rr1 of the
// agent's machine; else it shares the cable of rr0.
func newOnSwitch(t *testing.T, agentPort string, ownCable bool) *onSwitch {
	t.Helper()
	nstest.Needs(t, "sshd", "openssh-server")
	nstest.Needs(t, "bridge", "iproute2")
	binary, err := exec.LookPath("rackreach")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &onSwitch{onWire: &onWire{t: t, binary: binary, file: filepath.Join(dir, "switch.yaml"), agent: nstest.New(t), devices: nstest.New(t)}, dir: t.TempDir()}
	key, cables := filepath.Join(dir, "key"), "interface: rr0"
	if ownCable {
		cables += ", bmcCable: rr1"
	}
	for _, k := range []string{key, filepath.Join(s.dir, "host")} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k).CombinedOutput(); err != nil {
			t.Fatalf("make a key: %v: %s", err, out)
		}
	}
	for name, text := range map[string]string{
		s.file: strings.NewReplacer("AGENT", agentPort, "KEY", key, "interface: rr0", cables).Replace(switchRack), filepath.Join(dir, "switch.csv"): "slot,mac,serial\nmgmt-1," + wireServerMAC + ",\n",
		filepath.Join(dir, "nos"): strings.Repeat("a network operating system\n", 4000), filepath.Join(dir, "platforms", "bench.yaml"): benchSwitch(t),
		filepath.Join(s.dir, "sshd.conf"): "HostKey " + s.dir + "/host\nAuthorizedKeysFile " + key + ".pub\nListenAddress 0.0.0.0\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n" +
			"KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\nUseDNS no\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("../../internal/platform/files/linux-switch.sh")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "platforms", "linux-switch.sh"), script, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range [][]string{{"bundle", "init", dir + "/images"}, {"bundle", "add", dir + "/images", "--release", "1", "--kind", "kernel", "--name", "nos", dir + "/nos"}} {
		if out, code := s.try(a...); code != 0 {
			t.Fatalf("%v: %s", a, out)
		}
	}
	s.args = []string{"apply", s.file, "--platforms", dir + "/platforms", "--bundle", dir + "/images", "--allow-unsigned", "--hear", "1s", "--json"}
	s.cable(ownCable)
	return s
}

// cable makes the network around the switch, which answers at its address on the port
// that the agent is plugged into, as DHCP gave it.
func (s *onSwitch) cable(ownCable bool) {
	t := s.t
	hub, own, bmc, tor := nstest.New(t), nstest.New(t), nstest.New(t), nstest.New(t)
	s.agent.Cable("rr0", hub, "rr1")
	s.devices.Cable("rr0", hub, "rr2")
	shared := []string{"rr1", "rr2"}
	if ownCable {
		s.agent.Cable("rr1", own, "rr0")
		s.agent.Address("rr1", "192.168.104.253/32")
		s.agent.Run("ip", "route", "add", "192.168.104.100", "dev", "rr1")
	} else {
		own.Cable("rr0", hub, "rr3")
		shared = append(shared, "rr3")
	}
	hub.Bridge("rrhub", shared...)
	bmc.Cable("rr0", s.devices, "rr2")
	for _, port := range []string{"rr3", "rr4", "rr5"} {
		tor.Cable(port, s.devices, port)
	}
	tor.Bridge("rrtor", "rr4", "rr5")
	tor.Cable("rr6", s.devices, "rr6")
	s.devices.SetMAC("rr0", wireServerMAC)
	s.agent.Address("rr0", "192.168.104.254/24")
	s.agent.Address("rr0", "10.0.4.254/24")
	own.Address("rr0", "192.168.104.100/24")
	own.BMC("192.168.104.100", [16]byte{1}, true)
	bmc.Address("rr0", "192.168.104.101/24")
	bmc.BMC("192.168.104.101", [16]byte{2}, true)
}

// installed plays the installation, after which the system of the switch is there.
func (s *onSwitch) installed(run *talking) {
	s.t.Helper()
	run.await(`"step-completed"`, "bmc-login")
	if out := s.dhcp(pxeClass, "5"); !strings.Contains(out, "lease of 192.168.104.1 obtained") {
		s.t.Fatalf("the firmware said:\n%s", out)
	}
	run.await(`"ticket-issued"`)
	s.devices.Address("rr0", "192.168.104.1/24")
	_, line, _ := strings.Cut(s.fetched(s.booted()), "kernel ")
	url, _, _ := strings.Cut(line, " ")
	s.fetched(url)
	run.await(`"step-completed"`, "image-transfer")
	cmd := exec.Command("unshare", "--mount", "--uts", "sh", "-c", ownRoot+"exec /usr/sbin/sshd -D -e -f $DIR/sshd.conf")
	cmd.Env = append(os.Environ(), "DIR="+s.dir)
	said, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.devices.Start(cmd)
	listening := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if strings.Contains(lines.Text(), "Server listening") {
				listening <- true
			}
		}
		close(listening)
	}()
	if !<-listening {
		s.t.Fatal("sshd did not start")
	}
	if out := s.dhcp("linux-switch", "5"); !strings.Contains(out, "lease of 192.168.104.1 obtained") {
		s.t.Fatalf("the system said:\n%s", out)
	}
}

// reaches reports whether the agent's machine gets an answer from an address.
func (s *onSwitch) reaches(address string) (ok bool) {
	s.agent.Do(func() { ok = exec.Command("busybox", "ping", "-c", "1", "-W", "1", address).Run() == nil })
	return ok
}

// TestSwitchInNamespaces: all ports of the switch, that of the agent too, get into its
// bridge without the agent losing it; what is behind becomes reachable by that, and not
// before; of two cables to one switch one forwards.
func TestSwitchInNamespaces(t *testing.T) {
	s := newOnSwitch(t, "rr0", false)
	run := s.talk(s.args...)
	if s.reaches("192.168.104.101") {
		t.Error("the BMC behind the switch is reached before there is a switch")
	}
	s.installed(run)
	run.await(`"step-completed"`, `"push"`, `"attempt":1`)
	run.await(`"device-ready"`, `"mgmt-1"`)
	run.await(`"link-ready"`, `"mgmt-1:rr2"`)
	run.await(`"link-open"`, `"mgmt-1:rr2"`) // its BMC answered
	if !s.reaches("192.168.104.101") || !s.reaches("192.168.104.1") {
		t.Error("the switch, or the BMC behind it, is not reached")
	}
	ports := s.devices.Run("bridge", "link", "show")
	for _, port := range []string{"rr0", "rr2", "rr3", "rr4"} {
		if !strings.Contains(ports, port+"@") {
			t.Errorf("%s is not in the bridge:\n%s", port, ports)
		}
	}
	if strings.Contains(ports, "rr5@") || strings.Contains(ports, "rr6@") {
		t.Errorf("what makes a loop, or is cabled nowhere, is in the bridge:\n%s", ports)
	}
	if out := s.devices.Run("ip", "-o", "-4", "addr", "show", "dev", "rackreach"); !strings.Contains(out, "192.168.104.1/24") {
		t.Errorf("its address is not on the bridge: %s", out)
	}
	for name, want := range map[string]string{"hostname": "mgmt-1\n", "resolv.conf": "nameserver 192.168.104.10\n"} {
		if b, err := os.ReadFile(filepath.Join(s.dir, "etc", name)); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v", name, b, err)
		}
	}
	if name, err := os.Hostname(); err != nil || name == "mgmt-1" {
		t.Errorf("this machine is called %s, %v", name, err)
	}
	run.kill()
	s.keepsSecrets(run)
}

// keepsSecrets holds that neither what was said nor what is kept has a login in it.
func (s *onSwitch) keepsSecrets(run *talking) {
	s.t.Helper()
	events, _ := s.try("events", "--state", filepath.Join(filepath.Dir(s.file), "state"))
	if !strings.Contains(events, "ticket-issued") {
		s.t.Errorf("these are no events:\n%s", events)
	}
	if shown([]byte(run.said.String()+events), nstest.Password) != "" {
		s.t.Errorf("it said a secret:\n%s", run.said.String())
	}
	state, files := filepath.Join(filepath.Dir(s.file), "state"), 0
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if shown(b, nstest.Password) != "" || bytes.Contains(b, []byte("PRIVATE KEY")) {
			s.t.Errorf("there is a secret in %s", path)
		}
		return err
	})
	if err != nil || files < 3 {
		s.t.Errorf("%d files in the state directory: %v", files, err)
	}
}

// TestSwitchTakesBack: a configuration that cuts us off is taken back by the switch
// itself, and the rack halts, with the step named and the switch reachable.
func TestSwitchTakesBack(t *testing.T) {
	s := newOnSwitch(t, "rr6", true) // where nobody is plugged in
	run := s.talk(s.args...)
	s.installed(run)
	run.within(30*time.Second+nsSoon, `"step-failed"`, `"push"`, "did not answer with its new configuration, and has put its old one back by itself")
	run.await(`"rack-halted"`, `"mgmt-1"`)
	for range run.lines {
	}
	_ = run.cmd.Wait()
	if code := run.cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("it ended with %d and said\n%s", code, run.said.String())
	}
	if !s.reaches("192.168.104.1") || s.reaches("192.168.104.101") {
		t.Error("the switch is not as it was found")
	}
	if links := s.devices.Run("ip", "link", "show"); strings.Contains(links, "rackreach") {
		t.Errorf("its bridge is left:\n%s", links)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "etc", "rackreach", "switch")); err == nil {
		t.Error("it would start with what it took back")
	}
	s.keepsSecrets(run)
	if out, _ := s.try("why", "mgmt-1"); !strings.Contains(out, "failed at step push") {
		t.Errorf("why says\n%s", out)
	}
}
