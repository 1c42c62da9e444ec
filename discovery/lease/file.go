package lease

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// The lease file is a title, then records one behind the other, then zeros:
//
//	record = number<8> size<4> lease…<size> checksum<4>
//
// Numbers are big-endian and count from 1. The checksum is the CRC-32C of number and
// leases (record.go). A commit writes one record into room that the file has already,
// and syncs the disk once. A file that was closed ends with a record without leases.
//
// A crash may leave the last record incomplete: it was never acknowledged, and does not
// count. Damage is told from that by a whole record behind it.
const (
	title      = "rackreach leases 2\n"
	anyTitle   = "rackreach leases "
	recordHead = 8 + 4
	// room is what the size of the file is a multiple of, in bytes. It doubles, as long
	// as that is at most roomMost more, since clients wait for it. What it grows by is
	// zeros on disk before a record goes there: then a sync has no size to write.
	room     = 16 << 10
	roomMost = 4 << 20
	// maxRecord bounds the leases of a record, in bytes.
	maxRecord = renewed * (32 + 5*(maxText+1))
)

// file is a lease file that is written to.
type file struct {
	f    *os.File
	size int64
	next int64 // where the next record goes
	last uint64
	buf  []byte
	disk *disk // whose syncs are counted
}

// create makes a lease file without leases.
func create(path string, d *disk) (*file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	x := &file{f: f, next: int64(len(title)), disk: d}
	if err = x.grow(1); err == nil {
		_, err = f.WriteAt([]byte(title), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return x, nil
}

// commit makes a record durable. After an error the file is as before.
func (x *file) commit(leases []byte) error {
	next, last := x.next, x.last
	err := x.append(leases)
	if err == nil {
		err = x.sync()
	}
	if err != nil {
		x.next, x.last = next, last
	}
	return err
}

// append writes a record, which is not durable before sync.
func (x *file) append(leases []byte) error {
	b := binary.BigEndian.AppendUint64(x.buf[:0], x.last+1)
	b = binary.BigEndian.AppendUint32(b, uint32(len(leases)))
	b = append(b, leases...)
	b = binary.BigEndian.AppendUint32(b, sum(leases, x.last+1))
	x.buf = b
	if err := x.grow(x.next + int64(len(b)) + recordHead); err != nil { // zeros stay behind it
		return err
	}
	if _, err := x.f.WriteAt(b, x.next); err != nil {
		return err
	}
	x.next += int64(len(b))
	x.last++
	return nil
}

func (x *file) sync() error {
	if err := x.disk.sync(x.f); err != nil {
		return err
	}
	x.disk.syncs.Add(1)
	return nil
}

// grow makes room up to an offset. The size changes in one step, so that a crash
// leaves the old one or the new one.
func (x *file) grow(to int64) error {
	if to <= x.size {
		return nil
	}
	size := (max(to, x.size+min(x.size, roomMost)) + room - 1) / room * room
	err := x.f.Truncate(size)
	zeros := make([]byte, room)
	for at := x.size; err == nil && at < size; at += room {
		_, err = x.f.WriteAt(zeros, at)
	}
	if err == nil {
		err = x.f.Sync() // with the size
	}
	if err != nil {
		return errors.Join(err, x.f.Truncate(x.size))
	}
	x.disk.syncs.Add(1)
	x.size = size
	return nil
}

// close ends the file. whole says that nothing is missing: then it says so itself.
func (x *file) close(whole bool) (err error) {
	if whole {
		err = x.commit(nil)
	}
	return errors.Join(err, x.f.Close())
}

// readFile calls f for each lease of a lease file. Errors: errRecord, and that a newer
// rackreach wrote it.
func readFile(b []byte, f func(Lease)) error {
	switch {
	case bytes.HasPrefix(b, []byte(title)):
	case bytes.HasPrefix(b, []byte(anyTitle)):
		return errors.New("it was written by a newer rackreach: use that one, or move the file away")
	default:
		return fmt.Errorf("%w: it is not a lease file", errRecord)
	}
	if len(b)%room != 0 {
		return fmt.Errorf("%w: it was cut off after %d bytes", errRecord, len(b))
	}
	rest := b[len(title):]
	for n := uint64(1); ; n++ {
		leases, ok := recordAt(rest, n)
		if !ok {
			return incomplete(rest, n)
		}
		if err := readLeases(leases, n, f); err != nil {
			return err
		}
		rest = rest[recordHead+len(leases)+checksum:]
	}
}

// recordAt is the leases of the record that stands at the begin of b, if that is the
// one of this number, and whole.
func recordAt(b []byte, number uint64) (leases []byte, ok bool) {
	if len(b) < recordHead+checksum || binary.BigEndian.Uint64(b) != number {
		return nil, false
	}
	size := int64(binary.BigEndian.Uint32(b[8:]))
	if size > maxRecord || int64(len(b)) < recordHead+size+checksum {
		return nil, false
	}
	leases = b[recordHead : recordHead+size]
	return leases, binary.BigEndian.Uint32(b[recordHead+size:]) == sum(leases, number)
}

// incomplete looks at what stands where the record of that number would: nothing, or
// what a crash left of it. Neither has a whole record behind it.
func incomplete(b []byte, number uint64) error {
	if len(b) < recordHead {
		return fmt.Errorf("%w: it was cut off before number %d", errRecord, number)
	}
	for i := range b {
		if len(b)-i < recordHead+checksum {
			break
		}
		// A lease file never has more records than it has bytes.
		if n := binary.BigEndian.Uint64(b[i:]); n > number && n-number < uint64(len(b)) {
			if _, whole := recordAt(b[i:], n); whole {
				return fmt.Errorf("%w: number %d is not what was written, and number %d stands behind it", errRecord, number, n)
			}
		}
	}
	return nil
}
