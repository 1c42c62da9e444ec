//go:build linux

package installer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The partition table is edited in place, by our own few lines (UEFI 2.10 §5.3): of a
// table that others wrote, every byte stays that need not change. Libraries write
// tables anew, out of what they know of them.

// gptHeader is what is read of a header.
type gptHeader struct {
	block     int // bytes
	raw       []byte
	disk      [16]byte
	entriesAt int64 // block
	entries   int   // how many
	entrySize int   // bytes
	first     int64 // usable block
}

// Offsets in a header.
const (
	gptSize, gptCRC, gptSelf, gptOther = 12, 16, 24, 32
	gptFirst, gptLast, gptDisk         = 40, 48, 56
	gptEntries, gptCount, gptEach      = 72, 80, 84
	gptEntriesCRC, gptMinSize          = 88, 92
)

var errNoGPT = errors.New("no partition table of the kind GPT")

// parseGPTHeader reads the first header of a disk with blocks of that size.
func parseGPTHeader(start []byte, block int) (*gptHeader, error) {
	if len(start) < 2*block || !bytes.HasPrefix(start[block:], []byte("EFI PART")) {
		return nil, errNoGPT
	}
	b, le := start[block:2*block], binary.LittleEndian
	size := le.Uint32(b[gptSize:])
	if size < gptMinSize || int64(size) > int64(block) {
		return nil, fmt.Errorf("%w: a header of %d bytes", errNoGPT, size)
	}
	raw := bytes.Clone(b[:size])
	le.PutUint32(raw[gptCRC:], 0)
	if crc32.ChecksumIEEE(raw) != le.Uint32(b[gptCRC:]) {
		return nil, fmt.Errorf("%w: the checksum of its header is wrong", errNoGPT)
	}
	h := &gptHeader{block: block, raw: raw, entriesAt: int64(le.Uint64(raw[gptEntries:])), entries: int(le.Uint32(raw[gptCount:])),
		entrySize: int(le.Uint32(raw[gptEach:])), first: int64(le.Uint64(raw[gptFirst:]))}
	copy(h.disk[:], raw[gptDisk:])
	return h, nil
}

// gptBlock is the size of the blocks that a table at the start of a disk counts in, in
// bytes; 0: there is none, or an MBR, which does not say.
func gptBlock(start []byte) int {
	for _, block := range []int{usualBlock, page} {
		if _, err := parseGPTHeader(start, block); err == nil {
			return block
		}
	}
	return 0
}

// table reads the entries, which must be whole in start.
func (h *gptHeader) table(start []byte) ([]byte, error) {
	if h.entries < 1 || h.entries > 1024 || h.entrySize != 128 || h.entriesAt < 2 || h.entriesAt > int64(len(start)/h.block) {
		return nil, fmt.Errorf("%w: %d entries of %d bytes at block %d", errNoGPT, h.entries, h.entrySize, h.entriesAt)
	}
	from, n := h.entriesAt*int64(h.block), int64(h.entries*h.entrySize)
	if from+n > int64(len(start)) {
		return nil, fmt.Errorf("%w: its entries are not in the first %d bytes", errNoGPT, len(start))
	}
	t := start[from : from+n]
	if crc32.ChecksumIEEE(t) != binary.LittleEndian.Uint32(h.raw[gptEntriesCRC:]) {
		return nil, fmt.Errorf("%w: the checksum of its entries is wrong", errNoGPT)
	}
	return t, nil
}

// entry is one partition.
type entry struct {
	number      int // from 1
	kind, id    [16]byte
	first, last int64 // blocks, inclusive
}

func entriesOf(table []byte) (out []entry) {
	for i := 0; i+128 <= len(table); i += 128 {
		e := table[i : i+128]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		x := entry{number: i/128 + 1, first: int64(binary.LittleEndian.Uint64(e[32:])), last: int64(binary.LittleEndian.Uint64(e[40:]))}
		copy(x.kind[:], e)
		copy(x.id[:], e[16:])
		out = append(out, x)
	}
	return out
}

// grown is a table that goes to the end of its disk, but for the receipt.
type grown struct {
	start  []byte // the start of the disk
	backup []byte // the copy of the table
	at     int64  // byte of the copy: to the end of the disk
	number int    // of the partition that grew
	end    int64  // byte after it
}

// grow moves the copy of the table to the end of a disk of that size, and lets the
// last partition end before the receipt, at a multiple of 1 MiB. start is that of the
// disk; it is not changed.
func grow(start []byte, size int64, block int) (*grown, error) {
	h, err := parseGPTHeader(start, block)
	if err != nil {
		return nil, fmt.Errorf("grow the last partition: %w", err)
	}
	g := &grown{start: bytes.Clone(start)}
	table, err := h.table(g.start)
	if err != nil {
		return nil, fmt.Errorf("grow the last partition: %w", err)
	}
	le, blocks := binary.LittleEndian, size/int64(block)
	end := tailAt(size) / head * head / int64(block) // blocks; the receipt is behind
	var last *entry
	for _, e := range entriesOf(table) {
		if e.first < h.first || e.last < e.first || e.last >= end {
			return nil, fmt.Errorf("grow the last partition: partition %d is in blocks %d to %d, and the disk has %d to %d for partitions", e.number, e.first, e.last, h.first, end-1)
		}
		if last == nil || e.last > last.last {
			last = &e
		}
	}
	if last == nil {
		return nil, errors.New("grow the last partition: the image's table has none")
	}
	le.PutUint64(table[(last.number-1)*128+40:], uint64(end-1))
	inCopy := (int64(len(table)) + int64(block) - 1) / int64(block)
	g.number, g.end, g.at = last.number, end*int64(block), (blocks-1-inCopy)*int64(block)

	le.PutUint64(h.raw[gptOther:], uint64(blocks-1))
	le.PutUint64(h.raw[gptLast:], uint64(end-1))
	le.PutUint32(h.raw[gptEntriesCRC:], crc32.ChecksumIEEE(table))
	copy(g.start[block:], sealed(h.raw))

	le.PutUint64(h.raw[gptSelf:], uint64(blocks-1))
	le.PutUint64(h.raw[gptOther:], 1)
	le.PutUint64(h.raw[gptEntries:], uint64(blocks-1-inCopy))
	g.backup = make([]byte, (inCopy+1)*int64(block))
	copy(g.backup, table)
	copy(g.backup[inCopy*int64(block):], sealed(h.raw))
	protect(g.start, blocks)
	return g, nil
}

// sealed is a header with its checksum.
func sealed(raw []byte) []byte {
	b := bytes.Clone(raw)
	binary.LittleEndian.PutUint32(b[gptCRC:], 0)
	binary.LittleEndian.PutUint32(b[gptCRC:], crc32.ChecksumIEEE(b))
	return b
}

// protect lets the entry of the protective MBR cover the disk (UEFI 2.10 §5.2.3).
func protect(start []byte, blocks int64) {
	if at := protective(start); at != 0 {
		binary.LittleEndian.PutUint32(start[at+12:], uint32(min(blocks-1, 0xffffffff)))
	}
}

// protective is where the entry is in an MBR that says that there is a GPT; 0: there is
// none.
func protective(start []byte) int {
	for at := 446; at < 510; at += 16 {
		if start[at+4] == 0xee {
			return at
		}
	}
	return 0
}
