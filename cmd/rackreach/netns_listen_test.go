//go:build netns

package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/discovery/wire"
)

// speaker sends frames from the devices' side.
func (w *onWire) speaker() func(frame []byte) {
	w.t.Helper()
	var s *wire.Sender
	var err error
	w.devices.Do(func() { s, err = wire.OpenSender("rr0") })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return func(frame []byte) {
		w.t.Helper()
		if err := s.Send(frame); err != nil {
			w.t.Fatal(err)
		}
	}
}

var everybody = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// dhcpFrame is a DISCOVER, or a reply of a server to somebody else's MAC.
func dhcpFrame(t *testing.T, mac string, reply bool, options ...dhcpv4.Modifier) []byte {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	p, err := dhcpv4.NewDiscovery(hw, options...)
	if err != nil {
		t.Fatal(err)
	}
	u := wire.UDP{From: hw, To: everybody, Source: netip.MustParseAddrPort("0.0.0.0:68"), Target: netip.MustParseAddrPort("255.255.255.255:67")}
	if reply {
		p.OpCode = dhcpv4.OpcodeBootReply
		p.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
		u.From, u.To = net.HardwareAddr{2, 0, 0, 0, 0, 0xee}, hw
		u.Source, u.Target = netip.MustParseAddrPort("192.168.104.77:67"), netip.MustParseAddrPort("192.168.104.50:68")
	}
	u.Payload = p.ToBytes()
	f, err := u.AppendFrame(nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestListenInNamespaces(t *testing.T) {
	w := newOnWire(t)
	before := w.agent.Sent("rr0")
	draft := filepath.Join(t.TempDir(), "draft.yaml")
	n := w.start("listen", "rr0", "--draft", draft)
	n.await(rackagent.NoticeService, "answering nothing")
	say := w.speaker()
	class := func(s string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptClassIdentifier(s)) }
	say(dhcpFrame(t, "02:00:00:00:00:01", false, class("onie_vendor:x86_64-accton_as7726_32x-r0")))
	say(dhcpFrame(t, "02:00:00:00:00:02", false, class("PXEClient:Arch:00007:UNDI:003000"), dhcpv4.WithGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7})))
	say(dhcpFrame(t, "02:00:00:00:00:03", false, class("iDRAC")))
	say([]byte("\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x07\x88\xcc\x02\x07\x04\x02\x00\x00\x00\x00\x07\x04\x06\x05swp12\x06\x02\x00\x78\x0a\x06mgmt-9\x00\x00"))
	say([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x05\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x05\xc0\xa8\x68\x09\x00\x00\x00\x00\x00\x00\xc0\xa8\x68\x09")) // for itself: who is asked for us would be answered by the kernel
	say(dhcpFrame(t, "02:00:00:00:00:02", true, dhcpv4.WithYourIP(net.IP{192, 168, 104, 50}), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{192, 168, 104, 77}))))
	for _, c := range []struct {
		kind rackagent.NoticeKind
		text string
	}{
		{rackagent.NoticeSeen, "02:00:00:00:00:01 is onie ("},
		{rackagent.NoticeSeen, "02:00:00:00:00:02 is pxe"},
		{rackagent.NoticeSeen, "02:00:00:00:00:03 is bmc"},
		{rackagent.NoticeNeighbour, "at the other end of the cable is mgmt-9 port swp12, chassis 02:00:00:00:00:07"},
		{rackagent.NoticeInUse, "02:00:00:00:00:05 has the address 192.168.104.9"},
		{rackagent.NoticeForeign, "a DHCP server: 192.168.104.77 (MAC 02:00:00:00:00:ee), which offered 192.168.104.50 to 02:00:00:00:00:02"}, // not meant for us
	} {
		n.awaitAny(c.kind, c.text)
	}
	n.end()
	if sent := w.agent.Sent("rr0") - before; sent != 0 {
		t.Errorf("%d frames left the interface", sent)
	}
	b, err := os.ReadFile(draft)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: mgmt-9", `cable: "mgmt-9:swp12"`, "cidr: 192.168.104.0/24", "- name: tor-1 # 02:00:00:00:00:01 is onie", "- name: server-01 # 02:00:00:00:00:02 is pxe", "a BMC was seen"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is missing in the draft:\n%s", want, b)
		}
	}
	if out, code := w.try("validate", draft); code != 0 {
		t.Errorf("%d: %s\n%s", code, out, b)
	}
}

func TestListenEndsByItself(t *testing.T) {
	w := newOnWire(t)
	began := time.Now()
	if out, code := w.try("listen", "rr0", "--for", "300ms"); code != 0 || !strings.Contains(out, "listening on interface rr0") || time.Since(began) < 300*time.Millisecond {
		t.Errorf("%d: %s", code, out)
	}
	w.agent.Up("rr0", false)
	if out, code := w.try("listen", "rr0", "--for", "300ms"); code != exitError || !strings.Contains(out, "ip link set rr0 up") {
		t.Errorf("%d: %s", code, out)
	}
}
