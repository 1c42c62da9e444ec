package reply

import (
	"math"
	"net/netip"
)

// Sub-options of option 43 for Junos (Juniper, Zero Touch Provisioning).
const (
	junosImage    = 0
	junosConfig   = 1
	junosTransfer = 3
)

// junos is Juniper's zero-touch provisioning: 43 holds the paths of image and
// configuration and how they are fetched, 150 and 66 name the server. Both files
// come from one server, that of the configuration when there is one. Junos takes the
// default port of the scheme. Sub-option 2, which says that the image is a symbolic
// link, is not sent.
func (e *Entry) junos(b *boots, serverID netip.Addr) {
	var v []byte
	var at place
	add := func(code byte, url string) {
		if url == "" {
			return
		}
		at = serverOf(url, e.nextServer(serverID))
		if len(at.path) < math.MaxUint8 {
			v = append(append(v, code, byte(1+len(at.path)), '/'), at.path...)
		}
	}
	add(junosImage, e.ImageURL)
	add(junosConfig, e.ProvisionURL)
	if v == nil || len(at.scheme) > math.MaxUint8 {
		return
	}
	v = append(append(v, junosTransfer, byte(len(at.scheme))), at.scheme...)
	b.also(optionVendor, v)
	if at.addr.Is4() {
		b.also(optionTFTPAddress, at.addr.AsSlice())
	}
	b.also(optionTFTPServer, []byte(at.host))
}
