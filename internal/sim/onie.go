package sim

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/internal/rack"
)

// Lines of an ONIE installer's own header.
const (
	payloadDigest  = "# payload-sha256: "
	imageName      = "# image: "
	imageVersion   = "# version: "
	archiveMarker  = "__ARCHIVE__"
	maxHeaderLines = 256
)

// runONIE is a switch without a BMC boot menu: ONIE until an installer succeeds,
// then what it installed, until that is asked to boot the installer again.
func (h *host) runONIE(ctx context.Context) {
	d := h.dev
	for ctx.Err() == nil {
		if h.bootsInstaller() {
			if pause(ctx, d.sim.tempo.around(bootONIE, d.spec.Name, "onie", h.boot())) != nil {
				return
			}
			d.enter(rack.Discovery)
			h.booted("onie")
			for !h.discoverInstaller(ctx) {
				if ctx.Err() != nil {
					return
				}
			}
			d.sim.fabric.release(d.nics[0]) // reboot
			if h.selfTest(ctx, false) != nil {
				return
			}
		}
		h.runSystem(ctx)
		d.sim.fabric.release(d.nics[0])
	}
}

// bootsInstaller reports whether ONIE starts, since there is nothing else to
// start or since it was chosen, and uses up that choice: it is for one boot.
func (h *host) bootsInstaller() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	chosen := h.installer
	h.installer = false
	return chosen || !h.disk.bootable
}

// chooseInstaller makes the next boot one into ONIE, as onie-select -i does.
func (h *host) chooseInstaller() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.installer = true
}

// discoverInstaller is one round of ONIE's discovery: an address, and if the
// answer names an installer, the installation. Then it pauses, unless something
// was installed.
func (h *host) discoverInstaller(ctx context.Context) (installed bool) {
	d := h.dev
	s := d.sim
	wait := s.tempo.scaled(oniePause, floorDHCP)
	if s.withoutDHCP(ctx, d.spec.Name, rack.Discovery, wait) {
		return false
	}
	retry := s.tempo.scaled(onieRetry, floorDHCP)
	r := retries{retry, retry, 5}
	if d.phase() == rack.Discovery && h.mute(ctx) {
		return false
	}
	l, err := s.acquire(ctx, d.nics[0], onie(d.machine, d.serial), r, d.declines)
	switch {
	case errors.Is(err, errNoAnswer):
		wait = retry // without an address there is no service discovery to pause after
	case errors.Is(err, errDeclined):
		wait = max(wait, s.tempo.scaled(declinePause, floorDHCP))
	case err != nil || !s.fabric.hold(l.address, d.nics[0]):
	case l.installer != "":
		if err := h.runONIEInstaller(ctx, d.nics[0], l.installer); err == nil {
			return true
		} else if ctx.Err() == nil {
			s.record.add(kindInstallFailed, d.spec.Name, nil, detail{"reason": short(err.Error())})
		}
	}
	if pause(ctx, wait) != nil {
		return false
	}
	return false
}

// mute takes a hang of the discovery: one DISCOVER, and nothing after it. A
// counted hang ends after a while.
func (h *host) mute(ctx context.Context) bool {
	d := h.dev
	hit, endless := d.sim.faults.take(d.spec.Name, rack.Discovery, FaultHang)
	if !hit {
		return false
	}
	p, err := packet(dhcpv4.MessageTypeDiscover, d.nics[0], onie(d.machine, d.serial))
	if err == nil {
		err = d.sim.wires.send(d.nics[0], p)
	}
	if err != nil {
		d.sim.fail(err)
	}
	if endless {
		<-ctx.Done()
		return true
	}
	return pause(ctx, d.sim.tempo.scaled(onieMute, floorNet)) != nil || hit
}

// runONIEInstaller fetches the installer at url and runs it. An error is its
// non-zero exit: ONIE goes back to its discovery.
func (h *host) runONIEInstaller(ctx context.Context, e *end, url string) error {
	d := h.dev
	in := d.openImage(ctx, e, url, http.Header{
		"User-Agent":         {"onie/1.0"},
		"ONIE-SERIAL-NUMBER": {d.serial},
		"ONIE-ETH-ADDR":      {e.mac.String()},
		"ONIE-MACHINE":       {d.machine},
		"ONIE-MACHINE-REV":   {"0"},
		"ONIE-ARCH":          {"x86_64"},
		"ONIE-VENDOR-ID":     {strconv.Itoa(ocpEnterprise)},
		"ONIE-OPERATION":     {"os-install"},
	})
	got, err := readInstaller(in)
	err = errors.Join(err, in.close())
	if err != nil {
		return err
	}
	d.sim.recordVia(kindImageCompleted, e, detail{"bytes": strconv.FormatInt(in.at, 10), "digest": got.digest})
	if got.payload != got.wanted {
		return fmt.Errorf("the installer's payload is sha256:%s, its header says sha256:%s", got.payload, got.wanted)
	}
	d.sim.record.add(kindInstallStarted, d.spec.Name, nil, detail{"digest": got.digest})
	if d.take(rack.Installation, FaultError) {
		return errors.New("the installer ended with exit code 1 (injected)")
	}
	h.writeDisk(func(x *disk) { *x = disk{} })
	if err := d.write(ctx); err != nil {
		return err
	}
	h.writeDisk(func(x *disk) {
		*x = disk{bootable: true, version: got.version, receipt: receipt{Image: got.image, Digest: got.digest, State: receiptInstalled}}
	})
	d.sim.record.add(kindInstallCompleted, d.spec.Name, nil, detail{"digest": got.digest})
	return nil
}

// installerFile is what a switch learns from an installer while reading it.
type installerFile struct {
	image   string // name, if its header has one
	version string // that its header says it installs; empty: it says none
	wanted  string // payload's digest as its header says, hex
	payload string // as computed, hex
	digest  string // of the whole file, with "sha256:"
}

// readInstaller reads a self-extracting installer to its end.
func readInstaller(r io.Reader) (installerFile, error) {
	var f installerFile
	whole, payload := sha256.New(), sha256.New()
	b := bufio.NewReaderSize(io.TeeReader(r, whole), readSize)
	for n := 0; ; n++ {
		l, err := b.ReadSlice('\n')
		if err != nil {
			return f, fmt.Errorf("read the installer's header: %w", err)
		}
		text := strings.TrimRight(string(l), "\r\n")
		if n == 0 && !strings.HasPrefix(text, "#!/") {
			return f, errors.New("the installer does not begin with #!/bin/sh")
		}
		if n == maxHeaderLines {
			return f, fmt.Errorf("the installer has no line %s", archiveMarker)
		}
		if text == archiveMarker {
			break
		}
		if v, ok := strings.CutPrefix(text, payloadDigest); ok {
			f.wanted = v
		}
		if v, ok := strings.CutPrefix(text, imageVersion); ok {
			f.version = v
		}
		if v, ok := strings.CutPrefix(text, imageName); ok {
			f.image = v
		}
	}
	if _, err := io.Copy(payload, b); err != nil {
		return f, err
	}
	f.payload = strings.TrimPrefix(hexOf(payload.Sum(nil)), "sha256:")
	f.digest = hexOf(whole.Sum(nil))
	return f, nil
}
