package boot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// tokenBytes is how much of the HMAC a token holds: 128 bits.
const tokenBytes = 16

// bootFile is the name of the iPXE script below its token.
const bootFile = "boot.ipxe"

// Ticket is the right to one job on one device.
type Ticket struct {
	ID       string // RACK/DEVICE/N
	Token    string // Token(secret, ID)
	Rack     string
	Run      string
	Device   string
	Role     rack.Role
	Platform string
	Image    rack.Image
	Base     string // "http://HOST:PORT" as the device reaches the services; empty: Options.BaseURL
	Open     bool   // closed tickets are known, and serve nothing
	Native   bool   // the device is installed by its system's own installer (Options.Native)
	// Provision is what its system is given at its first boot (Options.Native); nil: nothing.
	Provision *rack.Provision

	// Overwrites is what the device holds that the job may overwrite, word for
	// word as a report says it (Report.Holds); empty: nothing.
	Overwrites string
	// Install is how a disk image is put on the machine; nil: on the only disk that
	// there is, as it is.
	Install *job.Install
	// Delivered: the whole image went out under this ticket already, in an
	// earlier life of the agent. Its transfer starts out whole, without saying
	// so again, and is not begun anew.
	Delivered bool
	// Resumed: the ticket was issued in an earlier life of the agent, which took
	// the count of what it had served with it. A device that goes on at byte N
	// holds the bytes before N: when the first range that it asks for starts
	// there, they count as served, or its image would never be whole. A device
	// that asks from the start holds nothing.
	Resumed bool
}

// Token is the hex form of the first 16 bytes of the HMAC-SHA256 of a ticket's
// id under the agent's secret.
func Token(secret []byte, id string) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(id))
	return hex.EncodeToString(m.Sum(nil)[:tokenBytes])
}

// base is where a device reaches the services.
func (s *Services) baseOf(t Ticket) string {
	if t.Base != "" {
		return t.Base
	}
	return s.base
}

// validToken reports whether s has the form of a token.
func validToken(s string) bool {
	if len(s) != 2*tokenBytes {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// tokenOfFile finds token and file in the name that a TFTP client asks for. One
// leading slash is tolerated, since firmware likes to add one; every other name
// is refused: nothing is looked up in a file system.
func tokenOfFile(name string) (token, file string, ok bool) {
	token, file, ok = strings.Cut(strings.TrimPrefix(name, "/"), "/")
	return token, file, ok && (file == bootFile || isLoader(file)) && validToken(token)
}

// errTicket is the reason for which SetTickets refuses.
var errTicket = errors.New("bad ticket")

// desk is an immutable snapshot of the tickets.
type desk struct {
	known    bool // the owner has handed over its tickets
	byToken  map[string]*entry
	byDevice map[string]*entry // the last ticket of each device
}

// entry is a ticket with what was served of it.
type entry struct {
	ticket Ticket
	served *transfer // shared with the entries of earlier snapshots
}

// next builds the snapshot that follows d. Tickets that d knows already keep
// their progress.
func (d *desk) next(tickets []Ticket, whole func(Ticket)) (*desk, error) {
	n := &desk{known: true, byToken: make(map[string]*entry, len(tickets)), byDevice: make(map[string]*entry, len(tickets))}
	for _, t := range tickets {
		if !validToken(t.Token) {
			return nil, fmt.Errorf("%w: %s has the token %q, make it with Token", errTicket, t.ID, t.Token)
		}
		if old, twice := n.byToken[t.Token]; twice {
			return nil, fmt.Errorf("%w: %s and %s have the same token", errTicket, old.ticket.ID, t.ID)
		}
		e := &entry{ticket: t}
		if old := d.byToken[t.Token]; old != nil && old.ticket.Image == t.Image {
			e.served = old.served
		} else {
			e.served = newTransfer(t.Image.Size, func() { whole(t) })
			e.served.resumed = t.Resumed
		}
		if t.Delivered {
			e.served.settle()
		}
		n.byToken[t.Token] = e
		n.byDevice[t.Device] = e
	}
	return n, nil
}
