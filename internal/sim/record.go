package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kinds of lines in the simulator's record.
const (
	kindForwardingStarted = "forwarding-started" // a switch began to forward
	kindForwardingStopped = "forwarding-stopped"
	kindPacket            = "packet"        // first of its protocol, direction and network let through
	kindDropped           = "dropped"       // first per device and reason
	kindDroppedTotal      = "dropped-total" // at Close
	kindBMCCommand        = "bmc-command"
	kindBMCPower          = "bmc-power"       // also when refused: it was asked for
	kindBMCBootDevice     = "bmc-boot-device" // the same
	kindImageByte         = "image-byte"      // first one of an attempt
	kindImageCompleted    = "image-completed"
	kindInstallStarted    = "install-started"
	kindInstallCompleted  = "install-completed"
	kindInstallFailed     = "install-failed"
	kindInstallKept       = "install-kept"    // what the job asks for is there already: nothing was written
	kindInstallRefused    = "install-refused" // the disk holds something that the job does not name: the same
	kindBooted            = "booted"
	kindConfigApplied     = "config-applied"
	kindConfigReverted    = "config-reverted"
	kindSwapped           = "swapped" // two cables were plugged the other way round
	kindReceiptRead       = "receipt-read"
	kindFault             = "fault"
)

// detail is what a line says besides its kind; values are words, never bytes.
type detail map[string]string

type line struct {
	Seq    int64    `json:"seq"`
	Time   string   `json:"time"`
	Kind   string   `json:"kind"`
	Device string   `json:"device,omitempty"`
	Via    []string `json:"via,omitempty"`
	Detail detail   `json:"detail,omitempty"`
}

// record writes the simulator's own account, one JSON object a line.
type record struct {
	mu  sync.Mutex
	out io.Writer // nil: nothing is written
	seq int64
	err error // first failure; nothing is written after it
}

// add writes one line before it returns.
func (r *record) add(kind, device string, via []string, d detail) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out == nil || r.err != nil {
		return
	}
	r.seq++
	b, err := json.Marshal(line{r.seq, time.Now().UTC().Format(time.RFC3339Nano), kind, device, via, d})
	if err == nil {
		_, err = r.out.Write(append(b, '\n'))
	}
	if err != nil {
		r.err = fmt.Errorf("write the simulator's record: %w", err)
	}
}

// end stops the record and returns its first failure.
func (r *record) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = nil
	return r.err
}
