package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// jobArgument names the job on the kernel's command line.
const jobArgument = "rackreach.job="

// bootNetwork is the firmware's network boot: DHCP until somebody names a boot
// file, TFTP, the installer. It returns false when the installer halted, and
// when ctx ended.
func (h *host) bootNetwork(ctx context.Context) bool {
	d := h.dev
	if d.httpBoot() {
		return h.bootHTTP(ctx)
	}
	h.booted("pxe")
	if len(d.nics) == 0 {
		return false
	}
	s := d.sim
	first, most := s.tempo.scaled(pxeFirst, floorDHCP), s.tempo.scaled(pxeMost, floorDHCP)
	backoff := retries{first, most, 0}
	nic := 0
	for n := 0; ctx.Err() == nil; n++ {
		if s.withoutDHCP(ctx, d.spec.Name, rack.Discovery, first) {
			continue
		}
		e := d.nics[nic]
		if d.phase() == rack.Discovery && d.take(rack.Discovery, FaultSilent) {
			return h.fallSilent(ctx, e, firmware(d.guid))
		}
		l, err := s.acquire(ctx, e, firmware(d.guid), retries{first, most, 4}, d.declines)
		switch {
		case errors.Is(err, errNoAnswer):
			nic = (nic + 1) % len(d.nics) // the next entry of the boot order
			continue
		case err == nil && s.fabric.hold(l.address, e) && l.file != "":
			ran, installed := h.runBootFile(ctx, e, l)
			if ran {
				return installed
			}
		}
		if pause(ctx, backoff.wait(min(n, 8))) != nil {
			return false
		}
	}
	return false
}

// fallSilent asks for an address and does nothing more, whatever it is offered.
func (h *host) fallSilent(ctx context.Context, e *end, id identity) bool {
	s := h.dev.sim
	first, most := s.tempo.scaled(pxeFirst, floorDHCP), s.tempo.scaled(pxeMost, floorDHCP)
	if err := s.discover(ctx, e, id, retries{first, most, 4}); err != nil && !errors.Is(err, errNoAnswer) && ctx.Err() == nil {
		s.fail(err)
	}
	return false
}

// declines takes the discovery error of a device that is not discovered through
// its BMC: it refuses the address that it is offered.
func (d *device) declines() bool {
	return (d.bmc == nil || d.onie) && d.phase() == rack.Discovery && d.take(rack.Discovery, FaultError)
}

// fetchesNothing takes the fault of a device that was told what to boot and does not.
func (d *device) fetchesNothing() bool {
	hit := d.take(rack.Installation, FaultNoFile)
	if hit {
		d.enter(rack.Installation)
	}
	return hit
}

// runBootFile fetches the boot script and runs the installer that it names. ran
// is false when firmware can only try again.
func (h *host) runBootFile(ctx context.Context, e *end, l *lease) (ran, installed bool) {
	if h.dev.fetchesNothing() {
		return false, false
	}
	script, err := h.dev.sim.fetchTFTP(ctx, e, l.server, tftpPath(l.file))
	if err != nil {
		return false, false
	}
	job, err := jobOf(script)
	if err != nil {
		h.dev.sim.record.add(kindInstallFailed, h.dev.spec.Name, nil, detail{"reason": err.Error()})
		return false, false
	}
	h.dev.enter(rack.Installation)
	return h.runInstaller(ctx, e, job, nativeOf(script))
}

// tftpPath takes the path out of a tftp:// URL; a bare name stays as it is.
func tftpPath(file string) string {
	if u, err := url.Parse(file); err == nil && u.Scheme == "tftp" {
		return strings.TrimPrefix(u.Path, "/")
	}
	return file
}

// jobOf reads an iPXE script and returns the job's URL from its kernel line.
func jobOf(script []byte) (string, error) {
	if !bytes.HasPrefix(script, []byte("#!ipxe")) {
		return "", errors.New("the boot file is not an iPXE script: its first line is not #!ipxe")
	}
	for _, l := range strings.Split(string(script), "\n") {
		words := strings.Fields(l)
		if len(words) == 0 || words[0] != "kernel" {
			continue
		}
		for _, w := range words[1:] {
			if job, ok := strings.CutPrefix(w, jobArgument); ok {
				return job, nil
			}
		}
	}
	return "", fmt.Errorf("the boot script has no kernel line with %sURL", jobArgument)
}
