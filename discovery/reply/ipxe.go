package reply

import "net/netip"

// noProxyDHCP is sub-option 0xb0 of option 175: the answer of a proxy is not waited
// for (iPXE, src/include/ipxe/dhcp.h). It saves two seconds a boot.
var noProxyDHCP = []byte{0xb0, 1, 1}

// ipxe is iPXE, in ROM or chained: it runs ScriptURL, which is a whole URL, since
// iPXE takes a bare name for one of the server that its firmware had chosen. It is
// never told of BootFile: that may be iPXE itself, and would be loaded for ever.
func (e *Entry) ipxe(b *boots, serverID netip.Addr) {
	b.also(optionEtherboot, noProxyDHCP)
	if e.ScriptURL == "" {
		return
	}
	b.server = e.nextServer(serverID)
	b.load(e.ScriptURL)
}
