//go:build netns

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// DHCP clients that nobody of this project wrote, each on a host of its own, against
// "rackreach discover". See "make clients". What is heard on the agent's interface is
// judged, not what the agent says of itself.
//
//	CLIENTS_PCAP  a folder that gets what was heard, a file for each client

// The rack of the clients: those that hang on the management switch speak to the
// agent without a relay, and are known by their MAC.
const (
	clientAgent = "10.61.0.1" // on the management network
	dataAgent   = "10.62.0.1"
	clientRack  = `apiVersion: rackreach/v1
kind: Rack
name: r1
number: 1
agent: {cable: "mgmt-1:48", interface: eth0}
networks:
  management: {cidr: 10.61.0.0/24, pool: 10.61.0.200-10.61.0.249, strangers: STRANGERS}
  data: {cidr: 10.62.0.0/24}
devices:
  - name: mgmt-1
    role: management-switch
    platform: sim-mgmt
    address: 10.61.0.11
    bmc: {protocol: ipmi, address: 10.61.0.100, credentials: "env:RACK_BMC"}
  - name: "tor-{1..2}"
    role: tor-switch
    platform: sim-tor
    address: "10.61.0.{12..13}"
    management: "mgmt-1:{45..46}"
    data: "mgmt-1:{43..44}"
  - name: "server-{01..12}"
    role: server
    platform: sim-server
    address: "10.62.0.{11..22}"
    bmc: {protocol: ipmi, address: "10.61.0.{101..112}", credentials: "env:RACK_BMC"}
    management: "mgmt-1:{1..12}"
    data: ["tor-1:{1..12}", "tor-2:{1..12}"]
inventory: rack.csv
`
)

// slot is what the inventory and the rack file say of one.
type slot struct{ mac, address string }

// clientSlots are those of the switches. Servers: see server.
var clientSlots = map[string]slot{
	"mgmt-1": {"02:61:00:00:00:01", "10.61.0.11"},
	"tor-1":  {"02:61:00:00:00:02", "10.61.0.12"},
	"tor-2":  {"02:61:00:00:00:03", "10.61.0.13"},
}

// server is server-01 and so on. Its data network is the agent's segment, too. What
// says that it is an operating system may stand in such a slot only.
func server(n int) slot { return slot{serverMAC(n), fmt.Sprintf("10.62.0.%d", 10+n)} }

// hear is how long the agent listens for other servers before it serves; the tests
// that have another one wait longer.
const hear = "1s"

// segment is an agent and what hangs on its cable.
type segment struct {
	*world
	agent    *host
	discover *process
	file     string
	heard    *recording
}

// newSegment makes the agent's host; nothing runs on it yet.
func newSegment(t *testing.T, binary string) *segment {
	t.Helper()
	return newSegmentOf(t, binary, false)
}

// newSegmentOf is newSegment for a rack that gives strangers an address out of a pool,
// or none.
func newSegmentOf(t *testing.T, binary string, strangers bool) *segment {
	t.Helper()
	for _, n := range []struct{ program, debian string }{{"tcpdump", "tcpdump"}, {"udhcpc", "udhcpc"}, {"dhclient", "isc-dhcp-client"}, {"dhcpcd", "dhcpcd-base"},
		{"dhcrelay", "isc-dhcp-relay"}, {"perfdhcp", "kea-admin"}, {"dnsmasq", "dnsmasq-base"}} {
		needs(t, n.program, n.debian)
	}
	s := &segment{world: emptyWorld(t)}
	s.binary = binary
	s.agent = s.host("agent", clientAgent)
	s.ip("-n", s.agent.in, "addr", "add", dataAgent+"/24", "dev", "eth0")
	s.file = filepath.Join(string(s.agent.home), "rack.yaml")
	s.write(s.file, strings.Replace(clientRack, "STRANGERS", fmt.Sprint(strangers), 1))
	var csv strings.Builder
	csv.WriteString("slot,mac,serial\n")
	for slot, x := range clientSlots {
		fmt.Fprintf(&csv, "%s,%s,\n", slot, x.mac)
	}
	for i := range 12 {
		fmt.Fprintf(&csv, "server-%02d,%s,\n", i+1, serverMAC(i+1))
	}
	s.write(filepath.Join(string(s.agent.home), "rack.csv"), csv.String())
	return s
}

// built builds the binary for the segments of a test.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rackreach")
	(&world{t: t}).build(path, ".")
	return path
}

func serverMAC(n int) string { return fmt.Sprintf("02:61:00:00:01:%02x", n) }

// serve starts the service, and the recording once it has asked for other servers.
func (s *segment) serve() {
	s.t.Helper()
	s.discover = s.agent.start(s.binary, "discover", s.file, "--state", s.agent.path("state"), "--hear", hear)
	s.discover.says("is served on")
	s.heard = s.agent.record("eth0")
}

// component makes a host on the agent's cable, with a MAC and no address.
func (s *segment) component(name, mac string) *host {
	s.t.Helper()
	h := s.machine(name)
	s.plugIn(h, s.lan(), "lan", mac)
	return h
}

// plugIn gives a host an eth0 on a bridge.
func (w *world) plugIn(h *host, in, bridge, mac string) {
	w.t.Helper()
	w.ip("-n", in, "link", "add", h.name, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", h.in)
	w.ip("-n", in, "link", "set", h.name, "master", bridge, "up")
	w.ip("-n", h.in, "link", "set", "eth0", "up")
}

// clientScript is what the clients call when something happens: it says so, and puts
// the address on the interface.
const clientScript = `#!/bin/sh
# udhcpc: $1 and $ip; dhclient and dhcpcd: $reason and $new_ip_address
event=${reason:-$1}; address=${new_ip_address:-$ip}; length=24
echo "CLIENT $event $address"
case "$event" in
PREINIT) ip link set "$interface" up;;
bound|renew|BOUND|RENEW|REBIND|REBOOT) ip addr replace "$address/$length" dev "$interface";;
deconfig|EXPIRE|RELEASE|FAIL|NAK) ip addr flush dev "$interface";;
esac
exit 0
`

// software is a DHCP client, and how it is told what to do.
type software struct {
	name    string
	command func(h *host, script string) []string
	renew   func(p *process) // nil: it renews by itself, on a clock that runs fast
	release func(p *process)
	renewed string // what the script is called with when a lease was renewed
}

var clientSoftware = []software{
	{
		name: "udhcpc", renewed: "CLIENT renew",
		command: func(h *host, script string) []string {
			return []string{"udhcpc", "-f", "-i", "eth0", "-s", script, "-p", h.path("pid"), "-t", "10", "-T", "1", "-A", "1"}
		},
		renew:   func(p *process) { p.signal(syscall.SIGUSR1) },
		release: func(p *process) { p.signal(syscall.SIGUSR2) },
	},
	dhclient(600), // half of a lease of an hour is 3 s of ours
	{
		// Its folders are private to the process: ip netns exec gives each a mount
		// namespace of its own. -A: no waiting for others that answer ARP.
		name: "dhcpcd", renewed: "CLIENT RENEW",
		command: func(h *host, script string) []string {
			return []string{"sh", "-c", `mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd && exec dhcpcd -B -d -4 -A -c "$0" eth0`, script}
		},
		renew:   func(p *process) { p.says("spawned listener"); p.signal(syscall.SIGUSR1) },
		release: func(p *process) { p.signal(syscall.SIGALRM) },
	},
}

// fakeTime is the library that makes a clock run fast. Its own command would be one
// process more, which is not ended with the client.
func fakeTime(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if err != nil || len(found) == 0 {
		t.Fatal("this test needs libfaketime.so.1: install Debian's package libfaketime: ", err)
	}
	return found[0]
}

// dhclient renews by itself, on a clock that runs fast.
func dhclient(speed int) software {
	return software{
		name: "dhclient", renewed: "CLIENT RENEW",
		command: func(h *host, script string) []string {
			return []string{"env", "LD_PRELOAD=" + fakeTime(h.w.t), fmt.Sprintf("FAKETIME=+0 x%d", speed), "dhclient", "-d", "-v", "-cf", "/dev/null", "-sf", script, "-lf", h.path("leases"), "-pf", h.path("pid"), "eth0"}
		},
		release: func(p *process) {
			h := p.h
			h.clear(p)
			h.to("dhclient", "-r", "-d", "-cf", "/dev/null", "-sf", h.path("script"), "-lf", h.path("leases"), "-pf", h.path("pid"), "eth0")
		},
	}
}

func (h *host) path(name string) string { return filepath.Join(string(h.home), name) }

// run starts a client on a host.
func (c software) run(h *host) *process {
	h.w.t.Helper()
	script := h.path("script")
	if err := os.WriteFile(script, []byte(clientScript), 0o700); err != nil {
		h.w.t.Fatal(err)
	}
	args := c.command(h, script)
	return h.start(args[0], args[1:]...)
}

// clear ends everything that runs on the host: a client and what it has started.
func (h *host) clear(p *process) {
	h.w.t.Helper()
	h.w.clear(h.in)
	<-p.ended
}

// to runs a program on the host to its end.
func (h *host) to(program string, args ...string) string {
	h.w.t.Helper()
	out, err := h.command(h.w.t.Context(), program, args...).CombinedOutput()
	if err != nil {
		h.w.t.Fatalf("%s: %s %s: %v\n%s", h.name, program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// addresses are the IPv4 addresses of an eth0.
func (h *host) addresses() string {
	h.w.t.Helper()
	return h.to("ip", "-4", "-br", "addr", "show", "dev", "eth0")
}

// TestClients runs all of them at once, against one binary: they wait far more than
// they compute.
func TestClients(t *testing.T) {
	binary := built(t)
	for name, f := range map[string]func(*testing.T, string){
		"addresses": clientsAddresses, "relay": clientsBehindARelay, "port": clientByItsPort,
		"wrong address": clientWrongAddress, "conflict": clientConflict, "inform": clientInform, "bad cable": clientBadCable,
		"pool": clientsOfAPool, "load": clientsByTheHundred,
		"foreign server": clientForeignServer, "two agents": clientTwoAgents, "after a kill": clientAfterAKill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, binary)
		})
	}
}

// clientsAddresses: each client gets the address of its slot, renews it without a
// broadcast, and gives it back; then it gets it again.
func clientsAddresses(t *testing.T, binary string) {
	for i, c := range clientSoftware {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			slot := server(i + 1)
			s := newSegment(t, binary)
			s.serve()
			h := s.component("client", slot.mac)
			p := c.run(h)
			s.until(nsSoon, c.name+" has its address", func() bool { return strings.Contains(h.addresses(), slot.address+"/24") })
			if c.renew != nil {
				time.Sleep(settle) // udhcpc forgets a signal that comes before it sleeps
				c.renew(p)
			}
			p.says(c.renewed + " " + slot.address)
			c.release(p)
			s.until(nsSoon, "a RELEASE is heard", func() bool { return len(s.heard.so(slot.mac, "RELEASE")) > 0 })
			h.clear(p)
			s.ip("-n", h.in, "addr", "flush", "dev", "eth0") // if it was cleared before it could
			again := c.run(h)
			s.until(nsSoon, c.name+" has its address again", func() bool { return strings.Contains(h.addresses(), slot.address+"/24") })
			h.clear(again)
			s.until(nsSoon, "all of it is heard", func() bool { return len(s.heard.so(slot.mac, "ACK")) >= 3 })
			s.judge(c.name, slot.mac, slot.address)
			s.discover.stop()
		})
	}
}
