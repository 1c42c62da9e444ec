package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"net/netip"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// The leases of a record stand one after the other. Numbers are big-endian; a text is
// a byte of length and that many bytes.
//
//	lease  = state<1> pool<1> address<4> hardware<6> ends<8, Unix seconds> stage<text>
//	         via device<text> via name<text> slot<text> [end<text>, or stranger<6> when slot is empty]
const (
	maxText  = math.MaxUint8
	checksum = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errRecord says that a record is not what was written.
var errRecord = errors.New("a record is damaged")

// appendLease adds a lease to a record. Texts are cut at maxText: they are names
// of the rack file and printable text that is bounded before.
func appendLease(b []byte, l *Lease) []byte {
	pool := byte(0)
	if l.Pool {
		pool = 1
	}
	b = append(b, byte(l.State), pool)
	b = binary.BigEndian.AppendUint32(b, number(l.Address))
	b = append(b, l.Hardware[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Ends.Unix()))
	for _, s := range [...]string{string(l.Stage), l.Via.Device, l.Via.Name, l.Holder.Slot} {
		b = appendText(b, s)
	}
	if l.Holder.Slot != "" {
		return appendText(b, l.Holder.End)
	}
	return append(b, l.Holder.Hardware[:]...)
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxText)]
	return append(append(b, byte(len(s))), s...)
}

// sum is the CRC-32C of a record's number and of its leases.
func sum(b []byte, seq uint64) uint32 {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], seq)
	return crc32.Update(crc32.Checksum(n[:], castagnoli), castagnoli, b)
}

// readLeases calls f for each lease of a record. Errors: errRecord.
func readLeases(b []byte, seq uint64, f func(Lease)) error {
	r := cursor{b: b}
	for len(r.b) > 0 && !r.bad {
		if l := r.lease(); !r.bad {
			f(l)
		}
	}
	if r.bad {
		return fmt.Errorf("%w: number %d is not a list of leases", errRecord, seq)
	}
	return nil
}

// cursor reads a record from its front; bad once it ran past the end.
type cursor struct {
	b   []byte
	bad bool
}

func (r *cursor) take(n int) []byte {
	if n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *cursor) text() string { return string(r.take(int(r.take(1)[0]))) }

func (r *cursor) lease() (l Lease) {
	head := r.take(2)
	l.State, l.Pool = State(head[0]), head[1] == 1
	l.Address = netip.AddrFrom4([4]byte(r.take(4)))
	l.Hardware = Hardware(r.take(6))
	l.Ends = time.Unix(int64(binary.BigEndian.Uint64(r.take(8))), 0).UTC()
	l.Stage = rack.Stage(r.text())
	l.Via = rack.Port{Device: r.text(), Name: r.text()}
	if l.Holder.Slot = r.text(); l.Holder.Slot != "" {
		l.Holder.End = r.text()
	} else {
		l.Holder.Hardware = Hardware(r.take(6))
	}
	if l.State < Bound || l.State > Declined || head[1] > 1 {
		r.bad = true
	}
	return l
}
