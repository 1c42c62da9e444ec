package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Receipt is what a configuration leaves on a device: which job of which run it lives
// by. It is one line, so that any device can keep it and show it.
type Receipt struct {
	Rack   string
	Device string
	Run    string
	Ticket string
	Digest string // of the image that the ticket was for
}

// ErrUnreadable: there is a receipt, and it says nothing that counts.
var ErrUnreadable = errors.New("cannot be read")

const receiptMark = "rackreach-receipt:"

var receiptLine = regexp.MustCompile(receiptMark + ` rack=([A-Za-z0-9-]{1,63}) device=([A-Za-z0-9-]{1,63}) run=([A-Za-z0-9-]{0,64}) ticket=([A-Za-z0-9/-]{0,140}) image=(sha256:[0-9a-f]{64})`)

// String is the line.
func (r Receipt) String() string {
	return fmt.Sprintf(receiptMark+" rack=%s device=%s run=%s ticket=%s image=%s", r.Rack, r.Device, r.Run, r.Ticket, r.Digest)
}

// FindReceipt finds the receipt in what a device says. Of several that differ none
// counts: a device lives by one job.
func FindReceipt(said string) (Receipt, error) {
	all := receiptLine.FindAllStringSubmatch(said, -1)
	if len(all) == 0 {
		if strings.Contains(said, receiptMark) {
			return Receipt{}, fmt.Errorf("it shows a receipt that %w", ErrUnreadable)
		}
		return Receipt{}, fmt.Errorf("it shows no receipt")
	}
	for _, m := range all[1:] {
		if m[0] != all[0][0] {
			return Receipt{}, fmt.Errorf("%w: it shows %d receipts that differ", ErrUnreadable, len(all))
		}
	}
	m := all[0]
	return Receipt{Rack: m[1], Device: m[2], Run: m[3], Ticket: m[4], Digest: m[5]}, nil
}
