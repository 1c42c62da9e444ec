//go:build netns

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	rackagent "github.com/rackreach/rackreach/agents/rack"
	"github.com/rackreach/rackreach/internal/nstest"
)

// The site's server, and the address that the rack file and its reservation give.
const (
	siteServer = "192.168.104.77"
	clientMAC  = "02:5e:10:00:02:01"
)

// siteKeeps makes the site's side of a rack that keeps its own DHCP server: a segment
// with the agent, dnsmasq and the host of a device, whose firmware the test plays. reserved
// is what dnsmasq gives the device.
func siteKeeps(t *testing.T, w *onWire, reserved string) (client *nstest.Host) {
	t.Helper()
	nstest.Needs(t, "dnsmasq", "dnsmasq-base")
	client, site := nstest.New(t), nstest.New(t)
	client.Cable("rr0", w.devices, "rr1")
	site.Cable("rr0", w.devices, "rr2")
	client.SetMAC("rr0", clientMAC)
	w.devices.Bridge("rrbr", "rr0", "rr1", "rr2")
	site.Address("rr0", siteServer+"/24")
	site.Address("rr0", "192.168.104.100/24")
	site.BMC("192.168.104.100", [16]byte{1}, true)
	dir := t.TempDir()
	server := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--port=0", "--log-facility=-", "--leasefile-ro", "--no-ping",
		"--pid-file="+filepath.Join(dir, "pid"), "--interface=rr0", "--bind-interfaces", "--dhcp-authoritative",
		"--dhcp-range=192.168.104.50,192.168.104.60,255.255.255.0,1h", "--dhcp-host="+clientMAC+","+reserved)
	site.Start(server)
	t.Cleanup(func() { _ = server.Process.Signal(syscall.SIGTERM) }) // it does not end by an interrupt
	return client
}

// firmware is PXE firmware, as far as its DHCP goes: from port 68 to everybody, and from
// there to a boot server (PXE 2.1 section 2.2).
type firmware struct {
	t    *testing.T
	host *nstest.Host
	conn net.PacketConn
}

func newFirmware(t *testing.T, host *nstest.Host) *firmware {
	t.Helper()
	f := &firmware{t: t, host: host}
	var err error
	host.Do(func() {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			var set error
			err := c.Control(func(fd uintptr) {
				if set = unix.BindToDevice(int(fd), "rr0"); set == nil {
					set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
				}
			})
			if err == nil {
				err = set
			}
			return err
		}}
		f.conn, err = lc.ListenPacket(context.Background(), "udp4", "0.0.0.0:68")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// says is a message of the firmware, or of iPXE.
func (f *firmware) says(kind dhcpv4.MessageType, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	f.t.Helper()
	mac, err := net.ParseMAC(clientMAC)
	if err != nil {
		f.t.Fatal(err)
	}
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithBroadcast(true), dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier(pxeClass)), dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(93), []byte{0, 0}), dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(97), append([]byte{0}, bytes.Repeat([]byte{7}, 16)...)),
		dhcpv4.WithGeneric(dhcpv4.OptionParameterRequestList, []byte{1, 3, 43, 54, 60, 66, 67})}, with...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// asks sends a message until every answer that is wanted has come, by who sent it.
func (f *firmware) asks(p *dhcpv4.DHCPv4, to string, wanted ...string) map[string]*dhcpv4.DHCPv4 {
	f.t.Helper()
	got := map[string]*dhcpv4.DHCPv4{}
	target, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		f.t.Fatal(err)
	}
	late := time.Now().Add(nsSoon)
	for b := make([]byte, 2048); ; {
		if _, err := f.conn.WriteTo(p.ToBytes(), target); err != nil {
			f.t.Fatal(err)
		}
		if err := f.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			f.t.Fatal(err)
		}
		for {
			n, _, err := f.conn.ReadFrom(b)
			if err != nil {
				break // it asks again
			}
			a, err := dhcpv4.FromBytes(bytes.Clone(b[:n]))
			if err != nil || a.OpCode != dhcpv4.OpcodeBootReply || a.TransactionID != p.TransactionID {
				continue
			}
			got[a.ServerIdentifier().String()] = a
			missing := false
			for _, from := range wanted {
				missing = missing || got[from] == nil
			}
			if !missing {
				return got
			}
		}
		if time.Now().After(late) {
			f.t.Fatalf("no answer of all of %v to\n%s\nonly %v", wanted, p.Summary(), got)
		}
	}
}

// proxied is a rack file that leaves the addresses to the site.
func proxied(t *testing.T, w *onWire) (args []string) {
	t.Helper()
	args = realRack(w)
	text, err := os.ReadFile(args[1])
	if err == nil {
		err = os.WriteFile(args[1], []byte(strings.Replace(string(text), "devices:", "dhcp: {mode: proxy}\ndevices:", 1)+"inventory: proxy.csv\n"), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(args[1]), "proxy.csv"), []byte("slot,mac,serial\nmgmt-1,"+clientMAC+",\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// TestApplyAsProxy: dnsmasq gives a switch its address and we give it what it boots: to
// its firmware, again on port 4011, and to iPXE. What the site's server gives is evidence.
func TestApplyAsProxy(t *testing.T) {
	w := newOnWire(t)
	args := proxied(t, w)
	client := siteKeeps(t, w, "192.168.104.1")
	run := w.talk(args...)
	run.await(`"step-completed"`, "bmc-login")

	const ours = "192.168.104.254"
	f := newFirmware(t, client)
	takes := func(with ...dhcpv4.Modifier) {
		t.Helper()
		ack := f.asks(f.says(dhcpv4.MessageTypeRequest, append([]dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(siteServer))), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP("192.168.104.1")))}, with...)...), "255.255.255.255:67", siteServer)[siteServer]
		if ack.MessageType() != dhcpv4.MessageTypeAck || ack.YourIPAddr.String() != "192.168.104.1" {
			t.Fatalf("the site's server said\n%s", ack.Summary())
		}
	}
	f.asks(f.says(dhcpv4.MessageTypeDiscover), "255.255.255.255:67", siteServer)
	takes()
	run.await(`"ticket-issued"`)

	offers := f.asks(f.says(dhcpv4.MessageTypeDiscover), "255.255.255.255:67", siteServer, ours)
	if o := offers[siteServer]; o.YourIPAddr.String() != "192.168.104.1" || o.BootFileName != "" {
		t.Errorf("the site offers\n%s", o.Summary())
	}
	mine := offers[ours]
	if !mine.YourIPAddr.IsUnspecified() || mine.BootFileName == "" || mine.ClassIdentifier() != "PXEClient" || mine.ServerIPAddr.String() != ours || mine.Options.Has(dhcpv4.OptionIPAddressLeaseTime) {
		t.Errorf("we offer\n%s", mine.Summary())
	}
	takes()
	client.Address("rr0", "192.168.104.1/24")
	at4011 := f.asks(f.says(dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.ParseIP("192.168.104.1"))), ours+":4011", ours)[ours]
	if at4011.MessageType() != dhcpv4.MessageTypeAck || at4011.BootFileName != mine.BootFileName {
		t.Errorf("on port 4011 we say\n%s", at4011.Summary())
	}

	ipxe := dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(77), []byte("iPXE"))
	script := f.asks(f.says(dhcpv4.MessageTypeDiscover, ipxe), "255.255.255.255:67", siteServer, ours)[ours].BootFileName
	takes(ipxe)
	fetch := func(url string) string {
		t.Helper()
		nstest.Needs(t, "curl", "curl")
		var out []byte
		var err error
		client.Do(func() { out, err = exec.Command("curl", "-sf", "--max-time", "20", url).Output() })
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		return string(out)
	}
	_, line, _ := strings.Cut(fetch(script), "kernel ")
	url, _, _ := strings.Cut(line, " ")
	image, err := os.ReadFile(filepath.Join(filepath.Dir(w.file), "nos"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fetch(url); got != string(image) {
		t.Errorf("%d bytes of another image", len(got))
	}
	run.await(`"step-completed"`, "image-transfer")
	// Its system comes up with the site's address.
	takes(dhcpv4.WithOption(dhcpv4.OptClassIdentifier("cumulus-linux x86_64")), dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(93), nil), dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(97), nil))
	run.await(`"step-completed"`, "first-boot")
	run.kill()
	if said := run.said.String(); strings.Contains(said, "ANOTHER DHCP SERVER") {
		t.Errorf("the site's server is an alarm:\n%s", said)
	}
}

// TestProxyOfAnotherAddress: a reservation that is not that of the rack file is told, with
// what to do. The command discovers beside a site's server, and preflight lets it be.
func TestProxyOfAnotherAddress(t *testing.T) {
	w := newOnWire(t)
	args := proxied(t, w)
	client := siteKeeps(t, w, "192.168.104.9")
	n := w.start("discover", args[1], "--platforms", args[3], "--hear", "3s")
	n.await(rackagent.NoticeService, "a DHCP server of the site is on the segment of interface rr0: "+siteServer)
	n.await(rackagent.NoticeService, "is served on")
	f := newFirmware(t, client)
	offer := f.asks(f.says(dhcpv4.MessageTypeDiscover), "255.255.255.255:67", siteServer)[siteServer]
	f.asks(f.says(dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(siteServer))), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))), "255.255.255.255:67", siteServer)
	n.await(rackagent.NoticeAlarm, fmt.Sprintf("the DHCP server of the site gives mgmt-1 the address 192.168.104.9, and the rack file says 192.168.104.1: reserve 192.168.104.1 for MAC %s there", clientMAC))
	n.end()
	w.file = args[1]
	checks, _ := w.preflight("admin:secret", "--platforms", args[3], "--hear", "3s")
	w.is(checks, "other DHCP servers", rackagent.CheckOK, siteServer)
	w.is(checks, "port udp/4011", rackagent.CheckOK, "free for the boot server of DHCP")
}
