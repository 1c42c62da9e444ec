package reply

import "strings"

// ESXi makes an entry boot the installer of ESXi from the folder at a URL, http or
// https, that holds an ISO's files: UEFI HTTP boot and iPXE load its mboot.efi, which
// is the ISO's efi/boot/bootx64.efi. mboot.efi asks the folder that it came from for
// 01-MAC/boot.cfg and then for boot.cfg, and uses the firmware's lease (VMware ESXi
// Installation, "Boot the ESXi Installer by Using Native UEFI HTTP"; go-via). PXE
// firmware gets BootFile, which stays as it is: iPXE, or a copy of mboot.efi.
func (e *Entry) ESXi(folder string) {
	url := strings.TrimSuffix(folder, "/") + "/mboot.efi"
	e.BootURL, e.ScriptURL = url, url
}
