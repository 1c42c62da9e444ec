package discovery

import (
	"github.com/rackreach/rackreach/discovery/reply"
	"github.com/rackreach/rackreach/internal/rack"
)

// DefaultLease is the lease time of an Entry that names none.
const DefaultLease = reply.DefaultLease

// Entry is the answer for one end of one device, or for a stranger.
type Entry = reply.Entry

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
