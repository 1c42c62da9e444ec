//go:build linux

package installer

import (
	"encoding/binary"
)

// span is a range of a disk, in bytes: [from, to).
type span struct{ from, to int64 }

// wiped lists what is zeroed before an image is written: both ends of each old partition
// and of the disk, where file systems, arrays and volume managers keep what they are found
// by. start is that of the disk; the receipt is left out. The start of the disk is last: a
// wipe that the power ends is begun anew from the old table, which stands there.
func wiped(start []byte, size int64, block int) []span {
	var all []span
	for _, p := range oldPartitions(start, size, block) {
		all = append(all, span{max(p.from, lookEnd), min(p.from+head, p.to)}, span{max(p.to-head, p.from, lookEnd), p.to})
	}
	all = append(all, span{size - lookEnd, size}, span{0, lookEnd})
	var out []span
	receipt := span{tailAt(size), tailAt(size) + receiptSize}
	for _, s := range all {
		for _, part := range []span{{s.from, min(s.to, receipt.from)}, {max(s.from, receipt.to), s.to}} {
			if part.from < part.to {
				out = append(out, part)
			}
		}
	}
	return out
}

// oldPartitions are those of a table that is about to go: what of it cannot be is
// left out.
func oldPartitions(start []byte, size int64, block int) (out []span) {
	add := func(first, last int64) {
		if first > 0 && last >= first && last < size/int64(block) {
			out = append(out, span{first * int64(block), (last + 1) * int64(block)})
		}
	}
	if h, err := parseGPTHeader(start, block); err == nil {
		if table, err := h.table(start); err == nil {
			for _, e := range entriesOf(table) {
				add(e.first, e.last)
			}
		}
		return out
	}
	for _, p := range mbrPartitions(start) {
		add(p.from, p.to-1)
	}
	return out
}

// mbrPartitions are the entries of an MBR, in blocks; none if there is no MBR.
func mbrPartitions(start []byte) (out []span) {
	if len(start) < 512 || start[510] != 0x55 || start[511] != 0xaa {
		return nil
	}
	for at := 446; at < 510; at += 16 {
		first, n := int64(binary.LittleEndian.Uint32(start[at+8:])), int64(binary.LittleEndian.Uint32(start[at+12:]))
		if start[at+4] != 0 && n > 0 {
			out = append(out, span{first, first + n})
		}
	}
	return out
}

// wipe zeroes all that, and waits until it is on the medium: before the old table goes,
// and at the end.
func (t *target) wipe() error {
	start := make([]byte, head)
	if err := readFull(t, start, 0); err != nil {
		return err
	}
	zeros := aligned(head)
	for _, s := range wiped(start, t.size, t.block) {
		if s.from == 0 {
			if err := t.sync(); err != nil {
				return err
			}
		}
		for at := s.from; at < s.to; {
			n := min(int64(len(zeros)), s.to-at)
			write := t.writeAligned
			if at%t.align != 0 || n%t.align != 0 {
				write = t.write
			}
			if err := write(zeros[:n], at); err != nil {
				return err
			}
			at += n
		}
	}
	return t.sync()
}
