package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/command/chassis"
	"github.com/pin/tftp/v3"

	"github.com/rackreach/rackreach/internal/rack"
)

func TestImageContinuesAfterReset(t *testing.T) {
	a := newAgent(t, testRack())
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	stall := make(chan struct{})
	a.mu.Lock()
	a.stall = stall
	a.mu.Unlock()
	a.ticket("tor-1", true)
	a.rec.waitFor(t, "tor-1", kindImageByte, 1)
	if err := a.bmc("mgmt-1", func(ctx context.Context, c *client.Client) error {
		_, err := c.ChassisControl(ctx, chassis.ChassisControlPowerCycle)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	a.rec.waitFor(t, "mgmt-1", kindForwardingStopped, 1)
	close(stall)
	a.evidence("broken:image tor-1", 1) // the agent's side was reset too
	a.evidence("dhcp:nos tor-1", 1)
	if l := a.rec.waitFor(t, "tor-1", kindImageCompleted, 1); l.Detail["digest"] != "sha256:"+hexSum(a.onie) {
		t.Errorf("%+v", l)
	}
	if n := a.rec.waitFor(t, "tor-1", kindImageByte, 1).Seq; n > a.rec.seq(t, "mgmt-1", kindForwardingStopped) {
		t.Error("the transfer did not begin before the reset")
	}
}

func TestAddressConflictIsDeclined(t *testing.T) {
	r := testRack()
	r.Devices[1].Address = r.Devices[0].Address // the in-test agent hands it out twice
	a := newAgent(t, r)
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	a.evidence("dhcp:declined tor-1", 1)
}

func TestSecondNICWhenFirstIsDark(t *testing.T) {
	r := testRack()
	r.Devices[2].Data[0] = port("tor-1:77") // no configuration will name it
	a := newAgent(t, r)
	a.imageSwitchesWithout("77")
	a.evidence("dhcp:bmc server-01", 1)
	a.installPXE("server-01")
	a.evidence("dhcp:os server-01", 1)
	a.configure("server-01")
}

func TestFetchTFTP(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Rack: testRack(), Platforms: testPlatforms(), Speed: testSpeed})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	u, err := net.ListenUDP("udp4", loopback())
	if err != nil {
		t.Fatal(err)
	}
	srv := tftp.NewServer(func(name string, to io.ReaderFrom) error {
		var n int
		if _, err := fmt.Sscanf(name, "%d", &n); err != nil {
			return err
		}
		_, err := to.ReadFrom(bytes.NewReader(randomBytes(n)))
		return err
	}, nil)
	var running sync.WaitGroup
	running.Go(func() {
		if err := srv.Serve(u); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer srv.Shutdown()
	s.Connect(Services{TFTP: u.LocalAddr()})
	e, server := s.devices[0].nics[0], netip.MustParseAddr("192.168.100.250")
	for _, block := range []int{0, 512, 1428} { // 0: the server grants what is asked for
		srv.SetBlockSize(block)
		for _, n := range []int{0, 1, 511, 512, 1427, 1428, 1429, 2856, 40_000} {
			got, err := s.fetchTFTP(t.Context(), e, server, fmt.Sprint(n))
			if err != nil || !bytes.Equal(got, randomBytes(n)) {
				t.Errorf("block %d: %d bytes of %d, %v", block, len(got), n, err)
			}
		}
	}
	if _, err := s.fetchTFTP(t.Context(), e, server, "no number"); err == nil {
		t.Error("a file that is not there")
	}
	if _, err := s.fetchTFTP(t.Context(), e, server, "100000"); err == nil {
		t.Error("a boot script of 100000 bytes")
	}
	if _, err := s.fetchTFTP(t.Context(), e, netip.Addr{}, "1"); err == nil {
		t.Error("no server")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.fetchTFTP(gone, e, server, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	dark := s.devices[1].nics[0]
	if _, err := s.fetchTFTP(t.Context(), dark, server, "1"); err == nil {
		t.Error("a transfer over a closed path")
	}
	if n := s.Stats().Dropped; n != tftpTries {
		t.Errorf("%d packets dropped, want %d", n, tftpTries)
	}
}

// fullRack is a rack of 42 units.
func fullRack() *rack.Rack {
	r := testRack()
	r.Number = 2
	r.Devices = r.Devices[:1]
	management, data := netip.MustParseAddr("192.168.100.1"), netip.MustParseAddr("10.0.1.10")
	bmc := netip.MustParseAddr("192.168.100.100")
	for i := range 2 {
		management = management.Next()
		r.Devices = append(r.Devices, rack.Device{Name: fmt.Sprintf("tor-%d", i+1), Role: rack.ToRSwitch, Platform: "onie-switch", Address: management,
			Management: port(fmt.Sprintf("mgmt-1:%d", 101+i)), Data: []rack.Port{port(fmt.Sprintf("mgmt-1:%d", 111+i))}})
	}
	for i := range 2 {
		management = management.Next()
		r.Devices = append(r.Devices, rack.Device{Name: fmt.Sprintf("spine-%d", i+1), Role: rack.InterRackSwitch, Platform: "onie-switch", Address: management,
			Management: port(fmt.Sprintf("mgmt-1:%d", 121+i))})
	}
	for i := range 37 {
		data, bmc = data.Next(), bmc.Next()
		r.Devices = append(r.Devices, rack.Device{Name: fmt.Sprintf("server-%02d", i+1), Role: rack.Server, Platform: "pxe-server", Address: data,
			Management: port(fmt.Sprintf("mgmt-1:%d", i+1)), Data: []rack.Port{port(fmt.Sprintf("tor-1:%d", i+1)), port(fmt.Sprintf("tor-2:%d", i+1))},
			BMC: &rack.BMC{Protocol: "ipmi", Address: bmc}})
	}
	return r
}

func TestFullRack(t *testing.T) {
	a := newAgentWith(t, fullRack(), testSpeed, 1<<20)
	a.installPXE("mgmt-1")
	a.evidence("dhcp:nos mgmt-1", 1)
	a.configure("mgmt-1")
	a.each(rack.ToRSwitch, rack.InterRackSwitch, func(device string) {
		a.ticket(device, true)
		a.evidence("dhcp:nos "+device, 1)
		a.configure(device)
	})
	a.each(rack.Server, rack.Server, func(device string) {
		a.evidence("dhcp:bmc "+device, 1)
		a.ticket(device, true)
		if err := a.bootPXE(device); err != nil {
			t.Error(err)
			return
		}
		a.evidence("reported:installed "+device, 1)
		a.evidence("dhcp:os "+device, 1)
		a.evidence("inform:os "+device, 1)
		if code, text, err := a.api(device, "PUT", "config", a.config(device), patience); err != nil || code != 204 {
			t.Errorf("%s: %d %s %v", device, code, text, err)
		}
	})
}
