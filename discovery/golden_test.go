package discovery

import (
	"bytes"
	"encoding/binary"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/wire"
)

var update = flag.Bool("update", false, "write testdata/frames anew")

// Who is on the wire in testdata/frames. Where the kernel finds the way, the frame
// goes to neighbour.
var (
	agentMAC  = net.HardwareAddr{0x02, 0x00, 0x5e, 0x10, 0x00, 0x01}
	neighbour = net.HardwareAddr{0x02, 0x00, 0x5e, 0x10, 0x00, 0xfe}
	agentAddr = netip.MustParseAddr(ours)
)

// TestFrames holds the frames of testdata/frames: each file is a client's packet as
// it comes to the agent's interface, and the frame that goes back. They are the lines
// of the checklist that are about the link, for whatever puts an answer on it: a
// Datagram with Hardware goes there without ARP, one to 255.255.255.255 to everybody.
// Addresses, ports and payload are what counts; IP has TTL 64 and no options.
func TestFrames(t *testing.T) {
	for name, p := range map[string]*packet{
		"line02-offer-to-relay":       relayed(discover()),
		"line02-offer-to-relay-port":  discover().via(relayAddr, "mgmt-1", "45", 19, 0),
		"line03-ack-to-ciaddr":        asks().is(mine),
		"line04-offer-to-everybody":   broadcastFlag(discover()),
		"line05-offer-to-chaddr":      discover(),
		"line05-ack-to-chaddr":        selecting(mine),
		"line06-nak-to-everybody":     selecting("10.0.0.9").is(mine),
		"line07-nak-to-relay":         relayed(selecting("10.0.0.9")),
		"line20-ack-to-inform":        message(dhcpv4.MessageTypeInform).is(mine),
		"line31-snooped-82-to-chaddr": func() *packet { p := relayed(discover()); p.giaddr = ""; return p }(),
	} {
		t.Run(name, func(t *testing.T) {
			res, d := answerTo(t, p)
			if d == nil {
				t.Fatalf("no answer: %s", res.Outcome)
			}
			frames := [][]byte{requestFrame(p), answerFrame(t, res.Reply)}
			path := filepath.Join("testdata", "frames", name+".pcap")
			if *update {
				if err := os.WriteFile(path, pcap(frames...), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v; go test -run TestFrames -update writes it", err)
			}
			if got := pcap(frames...); !bytes.Equal(got, want) {
				t.Errorf("not the frames of %s:\ngot  % x\nwant % x", path, got, want)
			}
		})
	}
}

// requestFrame is a packet on its way to the agent.
func requestFrame(p *packet) []byte {
	mac, err := net.ParseMAC(p.mac)
	if err != nil {
		panic(err)
	}
	from, to, dst := netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), net.HardwareAddr{255, 255, 255, 255, 255, 255}
	switch {
	case p.giaddr != "":
		from, to, dst, mac = netip.AddrPortFrom(netip.MustParseAddr(p.giaddr), sender.Port()), netip.AddrPortFrom(agentAddr, 67), agentMAC, neighbour
	case p.ciaddr != "":
		from, to, dst = netip.AddrPortFrom(netip.MustParseAddr(p.ciaddr), 68), netip.AddrPortFrom(agentAddr, 67), agentMAC
	}
	return frame(dst, mac, from, to, p.bytes())
}

// answerFrame is a Datagram on its way to the client.
func answerFrame(t *testing.T, d wire.Datagram) []byte {
	t.Helper()
	dst := neighbour
	switch {
	case d.Hardware != nil:
		dst = d.Hardware
	case d.Peer.Addr() == broadcast:
		dst = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	}
	return frame(dst, agentMAC, netip.AddrPortFrom(agentAddr, 67), d.Peer, d.Payload)
}

// frame is Ethernet II, IPv4 (RFC 791) and UDP (RFC 768).
func frame(dst, src net.HardwareAddr, from, to netip.AddrPort, payload []byte) []byte {
	b := append(append(append([]byte(nil), dst...), src...), 0x08, 0x00)
	ip := make([]byte, 20, 28+len(payload))
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], onesComplement(ip))
	udp := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	pseudo := append(append([]byte(nil), ip[12:20]...), 0, 17, udp[4], udp[5])
	sum := onesComplement(append(append(pseudo, udp...), payload...))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return append(append(append(b, ip...), udp...), payload...)
}

func onesComplement(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// pcap is a capture file of Ethernet frames, a second apart.
func pcap(frames ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 1)
	for i, f := range frames {
		for _, n := range []int{i, 0, len(f), len(f)} {
			b = binary.BigEndian.AppendUint32(b, uint32(n))
		}
		b = append(b, f...)
	}
	return b
}
