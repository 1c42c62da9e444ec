package discovery

import (
	"bytes"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/classify"
	"github.com/rackreach/rackreach/internal/rack"
)

// installers is how option 60 of the clients of installers begins.
var installers = [...]string{
	"rackreach-installer", // cmd/rackreach-init
	"d-i",                 // Debian's installer (netcfg)
	"anaconda",            // Anaconda's initramfs ("anaconda-Linux …")
	"Linux ipconfig",      // ipconfig of klibc, in the initramfs of live systems
}

// ofSystems are options that clients of operating systems ask for (RFC 2132, 3397, 3442)
// and UEFI firmware that configures its own IP stack does not: that asks for 1, 3 and 6
// (edk2: Ip4Config2Impl.c), and says neither PXEClient nor its architecture.
var ofSystems = []byte{12, 15, 26, 42, 119, 121}

// unnamed reports whether a request is of a client that was started anew, names no boot
// stage, and is neither firmware nor an installer by anything that it says: dhclient,
// systemd-networkd, NetworkManager, dhcpcd. A renewal is none: it says nothing of a start.
func (r *request) unnamed() bool {
	if r.kind != dhcpv4.MessageTypeRequest || r.ciaddr.IsValid() || r.class.Stage != rack.StageUnknown {
		return false
	}
	if d := r.class.Device; d != "" && d != classify.DeviceHost {
		return false
	}
	for _, ofFirmware := range []uint8{77, 93, 94, 97, 175} {
		if r.option(ofFirmware) != nil {
			return false
		}
	}
	for _, i := range installers {
		if bytes.HasPrefix(r.option(60), []byte(i)) {
			return false
		}
	}
	return bytes.ContainsAny(r.option(55), string(ofSystems))
}
