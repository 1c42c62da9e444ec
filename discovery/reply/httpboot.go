package reply

import (
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// httpBoot is UEFI HTTP boot: it drops an offer whose 60 does not begin with
// HTTPClient or whose boot file is no URI, and asks the name server of option 6 when
// the URI has a host's name (EDK2, HttpBootDhcp4.c). A TFTP path is no answer for it.
func (e *Entry) httpBoot(b *boots, c *Client) {
	url := e.BootURL
	if url == "" {
		url = e.BootFile
	}
	if !isHTTP(url) {
		return
	}
	b.load(url)
	if c.says("HTTPClient") {
		b.also(optionClass, []byte("HTTPClient"))
	}
	if ips, ok := e.DNS.ips(); ok {
		b.options = append(b.options, dhcpv4.OptDNS(ips...))
	}
}

func isHTTP(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}
