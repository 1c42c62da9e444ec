package discovery

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/wire"
	"github.com/rackreach/rackreach/internal/rack"
)

// packet builds a client's packet byte by byte, so that order and duplicates
// are the test's own.
type packet struct {
	op, hlen, hops byte
	xid            uint32
	secs, flags    uint16
	ciaddr, giaddr string
	mac            string
	cookie         bool
	options        []byte
}

func message(kind dhcpv4.MessageType) *packet {
	p := &packet{op: 1, hlen: 6, xid: 0x01020304, mac: "52:54:00:01:02:03", cookie: true}
	return p.opt(53, byte(kind))
}

func discover() *packet { return message(dhcpv4.MessageTypeDiscover) }
func asks() *packet     { return message(dhcpv4.MessageTypeRequest) }

func (p *packet) opt(code byte, value ...byte) *packet {
	p.options = append(append(p.options, code, byte(len(value))), value...)
	return p
}

func (p *packet) str(code byte, value string) *packet { return p.opt(code, []byte(value)...) }

func (p *packet) addr(code byte, a string) *packet {
	return p.opt(code, netip.MustParseAddr(a).AsSlice()...)
}

func (p *packet) from(mac string) *packet { p.mac = mac; return p }
func (p *packet) is(ciaddr string) *packet {
	p.ciaddr = ciaddr
	return p
}

func (p *packet) via(giaddr, remote, circuit string, more ...byte) *packet {
	p.giaddr = giaddr
	v := append([]byte{1, byte(len(circuit))}, circuit...)
	v = append(append(v, 2, byte(len(remote))), remote...)
	return p.opt(82, append(v, more...)...)
}

func (p *packet) bytes() []byte {
	b := make([]byte, 236, 600)
	b[0], b[1], b[2], b[3] = p.op, 1, p.hlen, p.hops
	binary.BigEndian.PutUint32(b[4:], p.xid)
	binary.BigEndian.PutUint16(b[8:], p.secs)
	binary.BigEndian.PutUint16(b[10:], p.flags)
	for at, a := range map[int]string{12: p.ciaddr, 24: p.giaddr} {
		if a != "" {
			copy(b[at:], netip.MustParseAddr(a).AsSlice())
		}
	}
	mac, err := net.ParseMAC(p.mac)
	if err != nil {
		panic(err)
	}
	copy(b[28:], mac)
	if p.cookie {
		b = append(b, 99, 130, 83, 99)
	} else {
		b = append(b, 0, 0, 0, 0)
	}
	return append(append(b, p.options...), 255)
}

// fixed is a table for tests: known MACs and known ports.
type fixed struct {
	mac  map[string]Entry
	port map[rack.Port]Entry
}

func (f *fixed) Lookup(k rack.Keys) (Entry, rack.Binding, error) {
	if k.MAC == "52:54:00:aa:aa:aa" {
		return Entry{}, rack.Binding{}, fmt.Errorf("%w: it could be any of tor-1, tor-2", rack.ErrAmbiguous)
	}
	if e, ok := f.port[k.Via]; ok {
		return e, rack.Binding{Device: e.Device, Network: rack.Management, Link: k.Via, How: rack.ByPort}, nil
	}
	if e, ok := f.mac[k.MAC]; ok && (k.Via.IsZero()) {
		return e, rack.Binding{Device: e.Device, Network: rack.Management, How: rack.ByMAC}, nil
	}
	return Entry{}, rack.Binding{}, fmt.Errorf("%w: nothing is cabled to %s", rack.ErrUnknown, k.Via)
}

const (
	ours      = "192.168.100.254"
	theirs    = "192.168.100.253"
	mine      = "192.168.100.1"
	torAddr   = "192.168.100.2"
	relayAddr = "127.2.0.1"
	bootFile  = "00112233445566778899aabbccddeeff/boot.ipxe"
	bootURL   = "http://192.168.100.254:8080/boot.efi"
	scriptURL = "http://192.168.100.254:8080/00112233445566778899aabbccddeeff/boot.ipxe"
	installer = "http://192.168.100.254:8080/image/00112233445566778899aabbccddeeff"
)

func testTable() *fixed {
	mgmt := Entry{Device: "mgmt-1", Address: netip.MustParseAddr(mine), Prefix: netip.MustParsePrefix("192.168.100.0/24"),
		ServerID: netip.MustParseAddr(ours), Router: netip.MustParseAddr("192.168.100.250"), BootFile: bootFile, BootURL: bootURL, ScriptURL: scriptURL,
		NextServer: netip.MustParseAddr(ours), InstallerURL: installer, Lease: time.Hour, Hostname: "mgmt-1"}
	tor := mgmt
	tor.Device, tor.Address, tor.Hostname = "tor-1", netip.MustParseAddr(torAddr), "tor-1"
	return &fixed{mac: map[string]Entry{"52:54:00:01:02:03": mgmt},
		port: map[rack.Port]Entry{{Device: "mgmt-1", Name: "45"}: tor}}
}

func testServer(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Wire == nil {
		o.Wire = wire.Over(newCable())
	}
	if o.Table == nil {
		o.Table = func() Table { return testTable() }
	}
	if !o.ServerID.IsValid() {
		o.ServerID = netip.MustParseAddr(ours)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	sender     = netip.MustParseAddrPort("127.2.0.1:40001")
	senderAddr = net.UDPAddrFromAddrPort(sender)
)

// testTime is when packets are answered, where that matters: so late that no lease
// of it is old when its file is opened.
var testTime = time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)

func answerTo(t testing.TB, p *packet) (Result, *dhcpv4.DHCPv4) {
	t.Helper()
	return handled(t, testServer(t, Options{}), p)
}

// handled is what a server makes of a packet.
func handled(t testing.TB, s *Server, p *packet) (Result, *dhcpv4.DHCPv4) {
	t.Helper()
	res := s.Handle(p.bytes(), sender)
	if res.Reply.Payload == nil {
		return res, nil
	}
	d, err := dhcpv4.FromBytes(res.Reply.Payload)
	if err != nil {
		t.Fatalf("reply does not parse: %v", err)
	}
	return res, d
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
