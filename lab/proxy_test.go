//go:build lab

package lab

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rackreach/rackreach/internal/nstest"
)

const siteIP = "10.77.0.3" // of the DHCP server of the site

// site starts dnsmasq at a host of its own, which gives the machine its address.
func (s *segment) site() {
	s.t.Helper()
	nstest.Needs(s.t, "dnsmasq", "dnsmasq-base")
	h := nstest.New(s.t)
	h.Cable("rr0", s.Host, "rr2")
	s.plug("rr2")
	h.Address("rr0", siteIP+"/16")
	cmd := exec.Command("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--port=0", "--log-facility=-", "--leasefile-ro", "--no-ping",
		"--pid-file="+s.dir+"/dnsmasq.pid", "--interface=rr0", "--bind-interfaces", "--dhcp-authoritative", "--dhcp-range=10.77.0.0,static", "--dhcp-host="+machineMAC+","+machineIP)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h.Start(cmd)
	s.t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // it does not end by an interrupt
}

// TestFirmwareBehindProxy: firmware that gets its address from dnsmasq boots from us. It
// asks before there is a ticket, and waits for it at port 4011.
func TestFirmwareBehindProxy(t *testing.T) {
	for _, x := range []struct {
		firmware firmware
		image    string
		steps    []string // what the agent says, in this order
	}{
		{bios, biosImage, []string{"seen DISCOVER ipxe", "asked on port 4011 before its ticket", "fetched fetched:boot-loader", "fetched fetched:image"}},
		{uefiPXE, uefiImage, []string{"seen DISCOVER pxe", "asked on port 4011 before its ticket", "served boot-loader tftp ok", "seen DISCOVER ipxe", "fetched fetched:boot-loader", "fetched fetched:image"}},
		{uefiHTTP, uefiImage, []string{"seen DISCOVER http-boot", "served boot-loader http ok", "seen DISCOVER ipxe", "fetched fetched:boot-loader", "fetched fetched:image"}},
	} {
		t.Run(string(x.firmware), func(t *testing.T) {
			s := newSegment(t)
			s.record(string(x.firmware) + "-proxy")
			s.site()
			agent := s.agent(agentConfig{Image: x.image, Proxy: true})
			m := s.powerOn(x.firmware, "256")
			began, from := time.Now(), 0
			limit := 2 * x.firmware.limit() // waits for its ticket, too
			for _, step := range x.steps {
				await(t, limit-time.Since(began), "the agent says "+step, func() bool { return strings.Contains(agent.String()[from:], step) })
				from += strings.Index(agent.String()[from:], step) + len(step)
				t.Logf("%5.1f s  %s", time.Since(began).Seconds(), step)
			}
			const words = "iPXE initialising devices" // the image is iPXE, as what loaded it is
			await(t, limit-time.Since(began), "the image runs", func() bool { return strings.Count(m.text(), words) > 1 })
			if strings.Contains(agent.String(), "gave ") {
				t.Error("we gave an address")
			}
		})
	}
}
