package lease

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// Hardware is a client's Ethernet address (chaddr).
type Hardware [6]byte

// Holder is who holds an address: an end of a slot, or a stranger.
type Holder struct {
	Slot, End string   // a bound end: "tor-1", "management"
	Hardware  Hardware // a stranger; zero for a bound end
}

// IsZero reports whether it is nobody.
func (h Holder) IsZero() bool { return h == Holder{} }

// String is "tor-1/management" or the stranger's hardware address.
func (h Holder) String() string {
	if h.Slot != "" {
		return h.Slot + "/" + h.End
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", h.Hardware[0], h.Hardware[1], h.Hardware[2], h.Hardware[3], h.Hardware[4], h.Hardware[5])
}

// State is what became of a lease. Bound ends by itself when its time is over.
type State byte

// The states.
const (
	Bound    State = 1
	Released State = 2 // given back, or taken back; its holder gets it again when it asks
	Declined State = 3 // another machine uses it, its holder said; withheld until Ends
)

// Lease is one address and who has it, or had it last.
type Lease struct {
	Address  netip.Addr // IPv4
	Holder   Holder
	Hardware Hardware   // the hardware address that it was last acknowledged to
	Via      rack.Port  // the relay's port that the request came through; zero: none
	Stage    rack.Stage // of the client when it was acknowledged
	Pool     bool       // out of a pool; false: pre-determined
	State    State
	Ends     time.Time // UTC, whole seconds; of a Declined one: how long it is withheld
}

// Pool is a range of IPv4 addresses. The zero Pool is none.
type Pool struct {
	First, Last netip.Addr // both are in it
}

// MaxPool is the most addresses of one pool: what is kept in memory of each is
// bounded by it.
const MaxPool = 1 << 16

// IsValid reports whether a pool has addresses, at most MaxPool.
func (p Pool) IsValid() bool {
	return p.First.Is4() && p.Last.Is4() && p.First.Compare(p.Last) <= 0 && number(p.Last)-number(p.First) < MaxPool
}

// Contains reports whether an address is in the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return p.IsValid() && a.Is4() && p.First.Compare(a) <= 0 && a.Compare(p.Last) <= 0
}

// Size is how many addresses it has.
func (p Pool) Size() int {
	if !p.IsValid() {
		return 0
	}
	return int(number(p.Last)-number(p.First)) + 1
}

// String is "10.0.1.200-10.0.1.250".
func (p Pool) String() string { return p.First.String() + "-" + p.Last.String() }

// number is an IPv4 address as a number, for keys and ranges.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// installer reports whether a stage ends when the device's own system comes up.
func installer(s rack.Stage) bool {
	switch s {
	case rack.StagePXE, rack.StageIPXE, rack.StageHTTPBoot, rack.StageONIE:
		return true
	}
	return false
}

// system reports whether a stage is the device's own system.
func system(s rack.Stage) bool { return s == rack.StageNOS || s == rack.StageOS }
