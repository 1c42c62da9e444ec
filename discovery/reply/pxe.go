package reply

import "net/netip"

// Sub-options of option 43 (PXE 2.1 table 2-1).
const (
	pxeDiscovery       = 6  // PXE_DISCOVERY_CONTROL
	pxeUseBootFileOnly = 8  // bit 3: no prompt, no menu, no boot server: load the boot file
	pxeBootItem        = 71 // PXE_BOOT_ITEM: which boot server's answer it is
	pxeEnd             = 255
)

// pxe is the firmware of a BIOS or of UEFI: siaddr, file and 67, and, where it calls
// itself PXEClient, the same in 60 and "load the boot file" in 43. Without 43, UEFI
// firmware takes the offer for one that must be completed on port 4011 (EDK2,
// PxeBcDhcp4.c); without 60 it would read no 43 (PXE 2.1 section 2.2.1). U-Boot and
// others that speak no PXE get the file alone.
func (e *Entry) pxe(b *boots, c *Client, serverID netip.Addr) {
	if e.BootFile == "" {
		return
	}
	b.server = e.nextServer(serverID)
	b.load(e.BootFile)
	if c.says("PXEClient") {
		b.also(optionClass, []byte("PXEClient"))
		b.also(optionVendor, pxeControl(c))
	}
}

// pxeControl is option 43. A boot item that the firmware asked for on port 4011 is
// returned as it came.
func pxeControl(c *Client) []byte {
	v := []byte{pxeDiscovery, 1, pxeUseBootFileOnly}
	if len(c.Item) > 0 {
		v = append(append(v, pxeBootItem, byte(len(c.Item))), c.Item...)
	}
	return append(v, pxeEnd)
}
