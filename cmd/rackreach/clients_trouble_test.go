//go:build netns

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// reboots is a lease file of a dhclient that had another address before it was
// switched off: it asks for that one first (RFC 2131 section 4.3.2, INIT-REBOOT).
const reboots = `lease {
  interface "eth0";
  fixed-address %s;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 3600;
  option dhcp-message-type 5;
  option dhcp-server-identifier %s;
  renew never; rebind never; expire never;
}
`

// clientWrongAddress: who asks for another address than its slot's is refused,
// and takes the right one then.
func clientWrongAddress(t *testing.T, binary string) {
	s := newSegment(t, binary)
	s.serve()
	x := clientSlots["tor-1"]
	h := s.component("client", x.mac)
	if err := os.WriteFile(h.path("leases"), fmt.Appendf(nil, reboots, "10.61.0.77", clientAgent), 0o600); err != nil {
		t.Fatal(err)
	}
	p := clientSoftware[1].run(h)
	p.says("CLIENT BOUND " + x.address)
	naks := s.heard.so(x.mac, "NAK")
	if len(naks) != 1 {
		t.Fatalf("heard %d NAKs, want one: %v", len(naks), s.heard.so(x.mac, ""))
	}
	if n := naks[0]; n.Target.Addr() != netip.AddrFrom4([4]byte{255, 255, 255, 255}) || n.To.String() != "ff:ff:ff:ff:ff:ff" || !n.YourIPAddr.IsUnspecified() {
		t.Errorf("a NAK is broadcast and gives no address (RFC 2131 sections 4.1 and 4.3.1): %s", n)
	}
	h.clear(p)
	s.heard.keep("dhclient-nak")
	s.discover.stop()
}

// clientConflict: when somebody has the address of a slot already, the client
// declines it, and that is told.
func clientConflict(t *testing.T, binary string) {
	s := newSegment(t, binary)
	x := server(1)
	s.host("thief", x.address)
	s.serve()
	h := s.component("client", x.mac)
	script := h.path("script")
	if err := os.WriteFile(script, []byte(clientScript), 0o700); err != nil {
		t.Fatal(err)
	}
	// Without -A it asks by ARP before it takes an address.
	p := h.start("sh", "-c", `mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd && exec dhcpcd -B -d -4 -c "$0" eth0`, script)
	s.until(nsSoon, "a DECLINE is heard", func() bool { return len(s.heard.so(x.mac, "DECLINE")) > 0 })
	s.discover.says("declined")
	s.discover.says("refuses its address " + x.address)
	h.clear(p)
	s.heard.keep("dhcpcd-decline")
	s.discover.stop()
}

// clientInform: who has its address by hand and asks for the rest (RFC 2131
// section 4.3.5) is told no lease.
func clientInform(t *testing.T, binary string) {
	s := newSegment(t, binary)
	s.serve()
	x := server(1)
	h := s.component("client", x.mac)
	s.ip("-n", h.in, "addr", "add", x.address+"/24", "dev", "eth0")
	script := h.path("script")
	if err := os.WriteFile(script, []byte(clientScript), 0o700); err != nil {
		t.Fatal(err)
	}
	p := h.start("sh", "-c", `mount -t tmpfs none /run && mount -t tmpfs none /var/lib/dhcpcd && exec dhcpcd -B -d -4 -A --inform=`+x.address+`/24 -c "$0" eth0`, script)
	s.until(nsSoon, "an INFORM is acknowledged", func() bool { return len(s.heard.so(x.mac, "ACK")) > 0 })
	ack := s.heard.so(x.mac, "ACK")[0]
	if len(s.heard.so(x.mac, "INFORM")) == 0 || !ack.YourIPAddr.IsUnspecified() || ack.IPAddressLeaseTime(0) != 0 || ack.Target.Addr().String() != x.address {
		t.Errorf("the answer to an INFORM goes to its address, without a lease: %s", ack)
	}
	h.clear(p)
	s.heard.keep("dhcpcd-inform")
	s.discover.stop()
}

// clientBadCable: behind a cable that loses a fifth of the frames, doubles and
// swaps others, every client has its own address in the end, and no other.
func clientBadCable(t *testing.T, binary string) {
	const n = 11
	s := newSegment(t, binary)
	s.serve()
	far := s.machine("far")
	s.ip("-n", far.in, "link", "add", "lan", "type", "bridge")
	s.ip("-n", far.in, "link", "set", "lan", "up")
	did := s.badCable(lossy{seed: 7, loss: 0.2, double: 0.1, delay: 0.15}, s.lan(), "lan", far.in, "lan")
	var clients []*host
	for i := range n {
		h := s.machine(fmt.Sprintf("far%d", i))
		s.plugIn(h, far.in, "lan", serverMAC(i+1))
		clients = append(clients, h)
		clientSoftware[0].run(h)
	}
	for i, h := range clients {
		want := fmt.Sprintf("10.62.0.%d/24", 11+i)
		s.until(time.Minute, h.name+" has "+want, func() bool { return strings.Contains(h.addresses(), want) })
	}
	for _, m := range s.heard.all() {
		if k := m.MessageType().String(); (k == "OFFER" || k == "ACK") && m.YourIPAddr.String() != serverAddress(m.ClientHWAddr.String()) {
			t.Errorf("an address that is not the client's: %s", m)
		}
	}
	if did.lost.Load() == 0 || did.doubled.Load() == 0 || did.delayed.Load() == 0 {
		t.Errorf("the cable was too good: %s", did)
	}
	s.heard.keep("bad-cable")
	s.discover.stop()
}

// serverAddress is what the rack file gives to a server by its MAC.
func serverAddress(mac string) string {
	for n := 1; n <= 12; n++ {
		if server(n).mac == mac {
			return server(n).address
		}
	}
	return "nobody's"
}

// clientForeignServer: where another server answers, ours does not begin, and
// says who it is; one that comes later is told.
func clientForeignServer(t *testing.T, binary string) {
	s := newSegment(t, binary)
	foreign := s.host("foreign", "10.61.0.9")
	start := func() *process {
		p := foreign.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--no-ping", "--user=root",
			"--pid-file="+foreign.path("pid"), "--dhcp-leasefile="+foreign.path("leases"), "--dhcp-range=10.61.0.150,10.61.0.160,1h")
		s.until(nsSoon, "dnsmasq listens", func() bool { return foreign.listens(p) })
		return p
	}
	p := start()
	out, notes, err := s.agent.try("discover", s.file)
	if err == nil {
		t.Fatalf("it served beside another server:\n%s%s", out, notes)
	}
	if said := string(out) + string(notes); !strings.Contains(said, "10.61.0.9") || !strings.Contains(said, "--allow 10.61.0.9") {
		t.Errorf("it must name the other server and how to allow it:\n%s", said)
	}
	p.kill()
	s.serve()
	start()
	h := s.component("client", "02:61:00:00:00:77") // unknown to us; the other answers
	clientSoftware[0].run(h)
	s.discover.says("foreign-server")
	s.discover.says("10.61.0.9")
	s.discover.stop()
}

// secondRack stands beside the first on one segment, as after its backplane is up.
const secondRack = `apiVersion: rackreach/v1
kind: Rack
name: r2
number: 2
agent: {cable: "mgmt-1:48", interface: eth0}
networks:
  management: {cidr: 10.63.0.0/24}
  data: {cidr: 10.64.0.0/24}
devices:
  - name: mgmt-1
    role: management-switch
    platform: sim-mgmt
    address: 10.63.0.11
    bmc: {protocol: ipmi, address: 10.63.0.100, credentials: "env:RACK_BMC"}
inventory: rack.csv
`

// clientTwoAgents: of two agents on one segment each answers its own rack, and
// is silent to the other's; to nobody's, both are.
func clientTwoAgents(t *testing.T, binary string) {
	const secondMAC, strangerMAC, secondAgent = "02:63:00:00:00:01", "02:99:00:00:00:01", "10.63.0.1"
	s := newSegment(t, binary)
	s.serve()
	b := s.host("second", secondAgent)
	s.write(b.path("rack.yaml"), secondRack)
	s.write(b.path("rack.csv"), "slot,mac,serial\nmgmt-1,"+secondMAC+",\n")
	second := b.start(s.binary, "discover", b.path("rack.yaml"), "--allow", clientAgent, "--hear", hear)
	second.says("is served on")
	first := clientSlots["mgmt-1"]
	stranger := clientSoftware[1].run(s.component("stranger", strangerMAC))
	clientSoftware[1].run(s.component("client1", first.mac)).says("CLIENT BOUND " + first.address)
	clientSoftware[1].run(s.component("client2", secondMAC)).says("CLIENT BOUND 10.63.0.11")
	s.until(nsSoon, "the stranger has asked three times", func() bool { return len(s.heard.so(strangerMAC, "DISCOVER")) >= 3 })
	for _, m := range s.heard.all() {
		server := m.ServerIdentifier().String()
		switch m.MessageType().String() {
		case "OFFER", "ACK", "NAK":
			if mac := m.ClientHWAddr.String(); mac == strangerMAC || (mac == first.mac) != (server == clientAgent) || (mac == secondMAC) != (server == secondAgent) {
				t.Errorf("not theirs to answer: %s", m)
			}
		}
	}
	stranger.h.clear(stranger)
	second.stop()
	s.discover.stop()
}

// clientAfterAKill: an agent that is killed and started again acknowledges what
// it had given: the client rebinds or renews, without a new DISCOVER.
func clientAfterAKill(t *testing.T, binary string) {
	s := newSegment(t, binary)
	s.serve()
	x := clientSlots["mgmt-1"]
	h := s.component("client", x.mac)
	p := dhclient(200).run(h) // it renews after 9 s, and gives up after 18
	p.says("CLIENT BOUND " + x.address)
	s.discover.kill()
	s.heard.keep("before-a-kill")
	s.serve()
	s.until(nsSoon, "an ACK is heard", func() bool { return len(s.heard.so(x.mac, "ACK")) > 0 })
	if d := s.heard.so(x.mac, "DISCOVER"); len(d) > 0 {
		t.Errorf("the client had to begin anew: %v", d)
	}
	h.clear(p)
	s.discover.stop()
}
