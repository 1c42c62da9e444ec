//go:build lab

package lab

import (
	"strings"
	"testing"
	"time"
)

// TestFirmware: firmware that nobody here wrote boots from our services: it gets its
// address and its loader, the loader gets the script of the open ticket, and runs the
// ticket's image, which is fetched whole.
func TestFirmware(t *testing.T) {
	for _, x := range []struct {
		firmware firmware
		image    string
		steps    []string // what the agent says, in this order
	}{
		{bios, biosImage, []string{"seen DISCOVER ipxe", "gave " + machineIP + " to ipxe", "fetched fetched:boot-loader", "fetched fetched:image"}},
		{uefiPXE, uefiImage, []string{"seen DISCOVER pxe", "gave " + machineIP + " to pxe", "served boot-loader tftp ok", "seen DISCOVER ipxe", "gave " + machineIP + " to ipxe",
			"fetched fetched:boot-loader", "fetched fetched:image"}},
		{uefiHTTP, uefiImage, []string{"seen DISCOVER http-boot", "gave " + machineIP + " to http-boot", "served boot-loader http ok", "seen DISCOVER ipxe", "gave " + machineIP + " to ipxe",
			"fetched fetched:boot-loader", "fetched fetched:image"}},
	} {
		t.Run(string(x.firmware), func(t *testing.T) {
			s := newSegment(t)
			heard := s.record(string(x.firmware))
			agent := s.agent(agentConfig{Image: x.image})
			m := s.powerOn(x.firmware, "256")
			began, from := time.Now(), 0
			for _, step := range x.steps {
				await(t, x.firmware.limit()-time.Since(began), "the agent says "+step, func() bool { return strings.Contains(agent.String()[from:], step) })
				from += strings.Index(agent.String()[from:], step) + len(step)
				t.Logf("%5.1f s  %s", time.Since(began).Seconds(), step)
			}
			await(t, x.firmware.limit()-time.Since(began), "the machine hears that there is no IPv6 router", func() bool { return advertised(t, heard) })
			// The image is iPXE, as what loaded it is: it says so once more.
			const words = "iPXE initialising devices"
			await(t, x.firmware.limit()-time.Since(began), "the image runs", func() bool { return strings.Count(m.text(), words) > 1 })
			t.Logf("%5.1f s  the image runs; limit %s", time.Since(began).Seconds(), x.firmware.limit())
		})
	}
}
