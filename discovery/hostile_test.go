package discovery

import (
	"bytes"
	"testing"
)

// PXE firmware that takes option 67 for a text that ends with a zero byte, and not where
// its length says, asks for the right file: it reads on into what stands behind it
// (netboot.xyz issue 1198, seen with boards of Kontron, Lenovo, Gigabyte).
func TestOldFirmwareFindsTheEndOfItsBootFile(t *testing.T) {
	for name, p := range map[string]*packet{
		"BIOS":  discover().str(60, "PXEClient:Arch:00000:UNDI:002001").opt(93, 0, 0),
		"UEFI":  discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7),
		"small": discover().str(60, "PXEClient:Arch:00007:UNDI:003000").opt(93, 0, 7).opt(61, make([]byte, 170)...).opt(57, 2, 64),
	} {
		for answer := range 2 { // the second is a copy of the first one's template
			res, d := answerTo(t, p.opt(55, 1))
			at := bytes.Index(res.Reply.Payload, append([]byte{67, byte(len(bootFile))}, bootFile...))
			if at < 0 || d.BootFileNameOption() != bootFile {
				t.Fatalf("%s: %s", name, d.Summary())
			}
			if read, _, _ := bytes.Cut(res.Reply.Payload[at+2:], []byte{0}); string(read) != bootFile {
				t.Errorf("%s, answer %d: it asks for %q", name, answer, read)
			}
		}
	}
}
