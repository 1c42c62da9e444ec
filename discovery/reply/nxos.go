package reply

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// leastPOAP is the shortest lease that Cisco's POAP takes; it does not finish the
// exchange with a shorter one (Nexus 9000 Fundamentals, DHCP Discovery Phase).
const leastPOAP = time.Hour

func isPOAP(c *Client) bool { return c.Stage == rack.StageNOS && c.Vendor == "Cisco" && !c.IOSXR }

// nxos is Cisco NX-OS's POAP: option 67 is the path of the script, 66 and 150 name
// its server; "http://" before the server in 66 chooses HTTP (Nexus 9000
// Fundamentals). ProvisionURL is taken apart for it; a bare path is one of the TFTP
// server.
func (e *Entry) nxos(b *boots, serverID netip.Addr) {
	if e.ProvisionURL == "" {
		return
	}
	at := serverOf(e.ProvisionURL, e.nextServer(serverID))
	b.load(at.path)
	b.server = at.addr
	name := at.host
	if at.scheme != "tftp" {
		name = at.scheme + "://" + at.host
	}
	b.also(optionTFTPServer, []byte(name))
	if at.addr.Is4() {
		b.also(optionTFTPAddress, at.addr.AsSlice())
	}
}

// place is a URL taken apart, for clients that want its parts in options of their own.
type place struct {
	scheme string
	host   string     // with the port, if it has one
	addr   netip.Addr // invalid when host is a name
	path   string     // without the slash in front
}

// serverOf takes a URL apart. A bare path is one of the TFTP server.
func serverOf(s string, tftp netip.Addr) place {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return place{"tftp", tftp.String(), tftp, strings.TrimPrefix(s, "/")}
	}
	p := place{scheme: u.Scheme, host: u.Host, path: strings.TrimPrefix(s[strings.Index(s, u.Host)+len(u.Host):], "/")}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.Is4() {
		p.addr = a
	}
	return p
}
