package discovery

import (
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/rackreach/rackreach/discovery/lease"
)

// repeatWindow is how long after a REQUEST the same one is taken for its repetition: a
// client sends it again after 4 s and 8 s (RFC 2131 section 4.1). A machine that starts
// anew takes longer, and firmware is known to use one xid for ever.
const repeatWindow = 10 * time.Second

// maxRepeats bounds the clients that are remembered; when there are more, all are
// forgotten.
const maxRepeats = 4096

// repeats remembers the last REQUEST of each client that was acknowledged.
type repeats map[lease.Hardware]lastRequest

type lastRequest struct {
	xid dhcpv4.TransactionID
	at  time.Time
}

// again reports whether a REQUEST is the one that was acknowledged last, and remembers
// it. A repetition was on its way already, or waited here, when the acknowledgement
// left: it proves nothing of where the client is by now.
func (r repeats) again(h lease.Hardware, xid dhcpv4.TransactionID, now time.Time) bool {
	last, ok := r[h]
	if ok && last.xid == xid && now.Sub(last.at) < repeatWindow {
		return true
	}
	if len(r) >= maxRepeats {
		clear(r)
	}
	r[h] = lastRequest{xid, now}
	return false
}
