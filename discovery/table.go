package discovery

import (
	"net/netip"
	"time"

	"github.com/rackreach/rackreach/discovery/lease"
	"github.com/rackreach/rackreach/internal/rack"
)

// DefaultLease is the lease time of an Entry that names none. Cisco's POAP
// refuses leases shorter than an hour.
const DefaultLease = time.Hour

// Entry is the answer for one end of one device, or for a stranger. It is never
// changed after its table was built.
type Entry struct {
	Device string // empty for a stranger
	// End names the end of the device that speaks: "management", "data", "bmc". Who
	// holds a lease is told by Device and End, never by a client identifier.
	End string

	Address  netip.Addr   // IPv4, pre-determined; invalid: out of Pool
	Pool     lease.Pool   // none: without Address this end is known but gets no answer
	Prefix   netip.Prefix // the network's; invalid: no subnet mask is sent
	ServerID netip.Addr   // the agent's address on that network; invalid: Options.ServerID
	Router   netip.Addr   // invalid: none
	Hostname string       // empty: none

	// BootFile goes to network boot firmware only, with NextServer. It stands
	// here only while a ticket is open; empty: boot from disk.
	BootFile   string
	NextServer netip.Addr // the TFTP server; invalid: the server identifier

	// InstallerURL goes to ONIE only. It stands here only while a ticket is open.
	InstallerURL string

	Lease time.Duration // whole seconds are sent; zero: DefaultLease
}

// Table finds the answer for the keys of a packet. It is immutable and safe for
// concurrent use; its owner replaces the whole table.
type Table interface {
	// Lookup returns the entry and the binding of the component that sent a
	// packet with these keys. It returns rack.ErrUnknown or rack.ErrAmbiguous,
	// wrapped; any other error is taken for rack.ErrUnknown. With rack.ErrUnknown
	// it may return an entry with a pool: a stranger gets an address out of it,
	// and nothing else.
	Lookup(rack.Keys) (Entry, rack.Binding, error)
}
