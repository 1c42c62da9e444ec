package reply

import "strings"

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
	if e.DNS.Is4() {
		b.also(optionDNS, e.DNS.AsSlice())
	}
}

func isHTTP(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}
