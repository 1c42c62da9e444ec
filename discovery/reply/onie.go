package reply

import (
	"encoding/binary"
	"math"

	"github.com/rackreach/rackreach/discovery/classify"
)

// onie is ONIE: the exact URL of the installer, in 125 for those that read it first
// and in 114 for all (ONIE, exec_installer), and a syslog server in 7: it logs all
// that the installer prints there, which is live progress.
func (e *Entry) onie(b *boots) {
	if url := e.InstallerURL; url != "" {
		b.also(optionURL, []byte(url))
		if len(url) <= math.MaxUint8-2 { // a block of RFC 3925 section 4 has one byte of length
			block := binary.BigEndian.AppendUint32(nil, classify.EnterpriseOCP)
			block = append(block, byte(2+len(url)), classify.ONIEInstallerURL, byte(len(url)))
			b.also(optionVendorInfo, append(block, url...))
		}
	}
	if e.Syslog.Is4() {
		b.also(optionLog, e.Syslog.AsSlice())
	}
}
