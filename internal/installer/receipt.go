//go:build linux

package installer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rackreach/rackreach/internal/job"
)

// Receipt is what an installation leaves on its disk.
type Receipt struct {
	Rack   string `json:"rack"`
	Device string `json:"device"`
	Run    string `json:"run"`
	Ticket string `json:"ticket"`
	Image  string `json:"image"`
	Digest string `json:"digest"` // of the image, as its job says it
	State  State  `json:"state"`
	// Table is the identity of the only partition table that may be on the disk, see
	// tableOf: while it is written the one that it had, and then that of the image. A
	// disk with another one has become somebody else's.
	Table string `json:"table"`
	// Disk is the serial number of the disk that it was written on.
	Disk string `json:"disk"`
}

// State is how far an installation came.
type State string

// The states.
const (
	Writing   State = "writing"   // the image may be there in part
	Installed State = "installed" // all of it is, and was read back
)

// receiptSize is what a receipt takes on a disk, in bytes: one page.
const receiptSize = page

// magic begins a receipt. Behind it stand JSON, zeros, and the SHA-256 of all before.
const magic = "rackreach receipt v1\n"

// tailAt and headAt are where receipts are on a disk of that size.
func tailAt(size int64) int64 { return (size-1<<20)/page*page - page }

const headAt = head - page

// Holds names it to whoever wants to overwrite it.
func (r *Receipt) Holds() string { return "receipt:" + r.Run + "/" + r.Ticket }

// of reports whether it is of the same rack, device and run as a job.
func (r *Receipt) of(j *job.Job) bool {
	return r.Rack == j.Rack && r.Device == j.Device && r.Run == j.Run
}

// tableInPart reports whether what is found as a table can be a part of its own, which the
// power left half written or half wiped: nothing, or a GPT without its header.
func (r *Receipt) tableInPart(table string, start []byte) bool {
	return table == "" || strings.HasPrefix(r.Table, "gpt ") && strings.HasPrefix(table, "mbr ") && protective(start) != 0
}

var errNoReceipt = errors.New("no receipt")

// encode makes the page that is written.
func (r *Receipt) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the receipt: %w", err)
	}
	b := make([]byte, receiptSize)
	if len(magic)+len(text) > receiptSize-sha256.Size {
		return nil, errors.New("the receipt does not fit its page: the names in the job are too long")
	}
	copy(b[copy(b, magic):], text)
	sum := sha256.Sum256(b[:receiptSize-sha256.Size])
	copy(b[receiptSize-sha256.Size:], sum[:])
	return b, nil
}

// parseReceipt reads a page. One that is damaged is none: what else the disk holds is
// foreign then.
func parseReceipt(b []byte) (*Receipt, error) {
	text, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok || len(b) != receiptSize {
		return nil, errNoReceipt
	}
	if sum := sha256.Sum256(b[:receiptSize-sha256.Size]); !bytes.Equal(sum[:], b[receiptSize-sha256.Size:]) {
		return nil, errNoReceipt
	}
	text = bytes.TrimRight(text[:len(text)-sha256.Size], "\x00")
	r := &Receipt{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, errNoReceipt
	}
	holds := r.Holds()
	if r.State != Writing && r.State != Installed || holds != job.Printable(holds, 200) {
		return nil, errNoReceipt
	}
	return r, nil
}

// tableOf names the partition table at the start of a disk: the GUID of a GPT, the
// signature of an MBR; empty: there is none. A table that grows keeps its name.
func tableOf(start []byte) string {
	if block := gptBlock(start); block != 0 {
		if h, err := parseGPTHeader(start, block); err == nil {
			return "gpt " + guid(h.disk[:])
		}
	}
	if len(start) >= 512 && start[510] == 0x55 && start[511] == 0xaa {
		return "mbr " + hex.EncodeToString(start[440:444])
	}
	return ""
}
