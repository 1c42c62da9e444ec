package reply

import (
	"math"
	"net/netip"
)

// Sub-options of option 43 for Junos (Juniper, Zero Touch Provisioning). Sub-option 0, an
// image that is installed before the configuration, and 2, that it is a symbolic link, are
// not sent.
const (
	junosConfig   = 1
	junosTransfer = 3
)

// junos is Juniper's zero-touch provisioning: 43 holds the path of the configuration and how
// it is fetched, 150 and 66 name the server. Junos takes the default port of the scheme.
func (e *Entry) junos(b *boots, serverID netip.Addr) {
	if e.ProvisionURL == "" {
		return
	}
	at := serverOf(e.ProvisionURL, e.nextServer(serverID))
	if len(at.path) >= math.MaxUint8 || len(at.scheme) > math.MaxUint8 {
		return
	}
	v := append([]byte{junosConfig, byte(1 + len(at.path)), '/'}, at.path...)
	v = append(append(v, junosTransfer, byte(len(at.scheme))), at.scheme...)
	b.also(optionVendor, v)
	if at.addr.Is4() {
		b.also(optionTFTPAddress, at.addr.AsSlice())
	}
	b.also(optionTFTPServer, []byte(at.host))
}
