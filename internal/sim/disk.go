package sim

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/rackreach/rackreach/internal/rack"
)

// disk is what was written: never the bytes, only what they were.
type disk struct {
	bootable bool
	receipt  receipt
	config   []byte             // as it was pushed; nil: none yet
	files    map[string][]byte  // of the installed system; never changed in place
	hostKey  ed25519.PrivateKey // of the installed system; nil: none yet
	system   string             // which one was installed, of the kinds of persona.go; empty: the simulation's own
	hostname string             // that its installer was told; empty: that of DHCP
	console  bool               // ESXi: its %firstboot lets SSH in
	foreign  string             // data that nobody here wrote; empty: none
	version  string             // of the installed system, as its image says; empty: it does not
	first    provisioned        // what became of its first boot
}

// States of a receipt.
const (
	receiptWriting   = "writing"   // the image may be there in part
	receiptInstalled = "installed" // all of it is
)

// holds is how the disk's content is named to whoever wants to overwrite it;
// empty: it is blank.
func (x *disk) holds() string {
	switch {
	case x.foreign != "":
		return "foreign:" + x.foreign
	case x.receipt != receipt{}:
		return x.receipt.holds()
	}
	return ""
}

// holds names a receipt.
func (r receipt) holds() string { return "receipt:" + r.Run + "/" + r.Ticket }

// of reports whether a receipt is of the same rack, device and run as a job.
func (r receipt) of(j *job) bool {
	return r.Rack == j.Rack && r.Device == j.Device && r.Run == j.Run
}

// verdict is what an installer does with the disk that it finds.
type verdict int

const (
	write   verdict = iota // it is blank, half written by this run, or given up by name
	keep                   // what the job asks for is there already
	keepOut                // it holds something that the job does not name
)

// judge decides before anything is overwritten. A job that came out of a state
// directory that knows nothing of this disk names nothing, and destroys nothing.
func (x *disk) judge(j *job) verdict {
	named := j.Overwrites != "" && j.Overwrites == x.holds()
	switch {
	case named || x.holds() == "":
		return write
	case x.foreign == "" && x.receipt.of(j) && x.receipt.State == receiptWriting:
		return write
	case x.foreign == "" && x.receipt.of(j) && x.receipt.State == receiptInstalled && x.receipt.Digest == j.Image.Digest:
		return keep
	}
	return keepOut
}

// maxForeign bounds the text of foreign data, in bytes: all of it fits a report.
const maxForeign = 100

// CheckHolds checks that foreign data can be on the disks of a rack: each device
// exists and has an installer that looks at its disk, and each text fits into a
// report as it is. All problems are returned, joined.
func CheckHolds(holds map[string]string, r *rack.Rack, platforms map[string]rack.Platform) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(holds)) {
		text := holds[name]
		d, ok := r.Device(name)
		if !ok {
			errs = append(errs, fmt.Errorf("foreign data on %q: rack %s has no such device: write one of %s", name, r.Name, deviceNames(r)))
			continue
		}
		if isONIE(platforms[d.Platform]) {
			errs = append(errs, fmt.Errorf("foreign data on %s: its ONIE installer does not look at what is on its flash: name a device that boots by PXE", name))
		}
		if !oneLine(text) {
			errs = append(errs, fmt.Errorf("foreign data on %s: %.120q: write 1 to %d bytes of printable text without double spaces, such as ext4", name, text, maxForeign))
		}
	}
	return errors.Join(errs...)
}

// oneLine reports whether a text passes through a report unchanged.
func oneLine(s string) bool {
	unprintable := strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
	return s != "" && len(s) <= maxForeign && !unprintable && s == strings.Join(strings.Fields(s), " ")
}
