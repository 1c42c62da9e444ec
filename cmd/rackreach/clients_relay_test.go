//go:build netns

package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	relayUp   = "10.61.0.12" // tor-1's address on the management network
	relayDown = "10.62.0.2"
)

// relayed is a segment whose servers stand behind a relay.
type relayed struct {
	*segment
	relay *host
	far   *host // the bridge behind it
}

// newRelayed makes a relay of isc-dhcp-relay, which is tor-1, with its port swp1 to
// what is behind it.
//
// In option 82 it names its port and not itself. Its own address of that port, which
// the rack file does not have, is giaddr; an unnumbered port (RFC 1812 section 2.2.7) has that of the
// switch, and so the switch is known.
func newRelayed(t *testing.T, binary, portAddress string) *relayed {
	t.Helper()
	r := &relayed{segment: newSegment(t, binary)}
	r.relay, r.far = r.host("relay", relayUp), r.machine("far")
	r.ip("-n", r.far.in, "link", "add", "lan", "type", "bridge")
	r.ip("-n", r.far.in, "link", "set", "lan", "up")
	r.ip("-n", r.far.in, "link", "add", "port", "type", "veth", "peer", "name", "swp1", "netns", r.relay.in)
	r.ip("-n", r.far.in, "link", "set", "port", "master", "lan", "up")
	r.ip("-n", r.relay.in, "addr", "add", portAddress, "dev", "swp1")
	r.ip("-n", r.relay.in, "link", "set", "swp1", "up")
	r.relay.to("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	r.ip("-n", r.agent.in, "addr", "del", dataAgent+"/24", "dev", "eth0")
	r.ip("-n", r.agent.in, "route", "add", "10.62.0.0/24", "via", relayUp)
	r.serve()
	r.relay.start("dhcrelay", "-d", "-4", "-a", "-pf", r.relay.path("pid"), "-id", "swp1", "-iu", "eth0", clientAgent).says("Sending on")
	return r
}

// clientsBehindARelay: clients behind a relay that adds option 82 get the address
// of their slot, through the relay; they renew past it, which brings no option 82.
func clientsBehindARelay(t *testing.T, binary string) {
	for i, c := range clientSoftware {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRelayed(t, binary, relayDown+"/24")
			mac, want := server(i+1).mac, server(i+1).address
			h := r.machine("client")
			r.plugIn(h, r.far.in, "lan", mac)
			p := c.run(h)
			r.until(nsSoon, c.name+" has its address", func() bool { return strings.Contains(h.addresses(), want+"/24") })
			r.ip("-n", h.in, "route", "replace", "10.61.0.0/24", "via", relayDown)
			if c.renew != nil {
				c.renew(p)
			}
			p.says(c.renewed + " " + want)
			h.clear(p)
			r.until(nsSoon, "the renewal past the relay is heard", func() bool {
				return slices.ContainsFunc(r.heard.so(mac, "ACK"), func(m heardDHCP) bool { return m.GatewayIPAddr.IsUnspecified() })
			})
			r.heard.keep(c.name + "-relayed")
			r.judgeRelayed(mac, want)
			r.discover.stop()
		})
	}
}

// clientByItsPort: what the inventory does not know is known by the port that it hangs
// on, when the relay has the address of a switch of the rack: swp1 of tor-1 is port 1
// of the rack file, where server-01 is cabled.
func clientByItsPort(t *testing.T, binary string) {
	const mac = "02:77:00:00:00:01"
	r := newRelayed(t, binary, relayUp+"/32")
	h := r.machine("client")
	r.plugIn(h, r.far.in, "lan", mac)
	p := clientSoftware[0].run(h)
	p.says("CLIENT bound " + server(1).address)
	r.discover.says("by its port")
	h.clear(p)
	r.heard.keep("udhcpc-by-port")
	r.discover.stop()
}

// judgeRelayed holds what was heard of a relayed client. The relay hears a renewal
// that passes it, too, and relays it besides: then it is answered on both ways.
func (r *relayed) judgeRelayed(mac, want string) {
	r.t.Helper()
	type way struct {
		exchange dhcpv4.TransactionID
		relay    string
	}
	asked := map[way][]byte{} // option 82 as the relay wrote it
	count := map[string]int{}
	for _, m := range r.heard.so(mac, "") {
		kind, option82 := m.MessageType().String(), m.Options.Get(dhcpv4.OptionRelayAgentInformation)
		viaRelay := !m.GatewayIPAddr.IsUnspecified()
		if !viaRelay {
			kind += " past the relay"
		}
		count[kind]++
		on := way{m.TransactionID, m.GatewayIPAddr.String()}
		if m.OpCode == dhcpv4.OpcodeBootRequest {
			asked[on] = option82
			if viaRelay && len(option82) == 0 {
				r.t.Errorf("the relay added no option 82: the test proves nothing: %s", m)
			}
			continue
		}
		switch {
		case m.YourIPAddr.String() != want:
			r.t.Errorf("an answer with another address than %s: %s", want, m)
		case viaRelay && (m.Target.Addr().String() != m.GatewayIPAddr.String() || m.Target.Port() != 67):
			r.t.Errorf("an answer that did not go to the relay (RFC 2131 section 4.1): %s", m)
		case !bytes.Equal(option82, asked[on]):
			r.t.Errorf("option 82 came back as %x, it was %x (RFC 3046 section 2.2)", option82, asked[on])
		}
	}
	for _, kind := range []string{"DISCOVER", "OFFER", "REQUEST", "ACK", "REQUEST past the relay", "ACK past the relay"} {
		if count[kind] == 0 {
			r.t.Errorf("heard no %s", kind)
		}
	}
	if r.t.Failed() {
		for _, m := range r.heard.so(mac, "") {
			r.t.Log(m)
		}
	}
}
