//go:build linux

package installer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Content is what a disk holds. Both empty: it is blank.
type Content struct {
	Receipt *Receipt // nil: none
	Foreign string   // data that no receipt of this disk stands for
	Table   string   // see tableOf
}

// Holds names the content to whoever wants to overwrite it, word for word the same
// whenever the same is on the disk; empty: it is blank.
func (c Content) Holds() string {
	switch {
	case c.Foreign != "":
		return "foreign:" + c.Foreign
	case c.Receipt != nil:
		return c.Receipt.Holds()
	}
	return ""
}

// What is looked at, in bytes: a disk of up to 1 GiB as a whole, which takes a slow one
// 10 s; of a larger one both ends whole, and samples in between: 256 seeks take it 3 s.
const (
	lookWhole  = 1 << 30
	lookEnd    = 4 << 20
	lookSample = 256 << 10
	samples    = 256
)

// minDisk is the smallest disk that is looked at, in bytes: both ends are disjoint.
const minDisk = 2*lookEnd + Reserve

// ErrTooSmall says that a disk cannot take the image. It is wrapped.
var ErrTooSmall = errors.New("the disk is too small, and nothing was written")

// Inspect reads what a disk of that size, with that serial number, holds. It fails
// when it cannot be read: then nothing is known of it.
func Inspect(r io.ReaderAt, size int64, serial string) (Content, error) {
	if size < minDisk {
		return Content{}, fmt.Errorf("%w: it has %d bytes, the least is %d", ErrTooSmall, size, minDisk)
	}
	start, end := make([]byte, lookEnd), make([]byte, lookEnd)
	if err := errors.Join(readFull(r, start, 0), readFull(r, end, size-lookEnd)); err != nil {
		return Content{}, fmt.Errorf("read what is on the disk: %w", err)
	}
	table := tableOf(start)
	tail := end[tailAt(size)-(size-lookEnd):][:receiptSize]
	// The one at the end counts first: it is written first, and last.
	for _, page := range [][]byte{tail, start[headAt:][:receiptSize]} {
		receipt, err := parseReceipt(page)
		if err != nil {
			continue
		}
		if receipt.Disk != serial {
			return Content{Table: table, Foreign: foreign("the receipt of another disk, ", table, start, end, size)}, nil
		}
		if receipt.Table != table && !(receipt.State == Writing && receipt.tableInPart(table, start)) {
			return Content{Table: table, Foreign: foreign("not what its receipt says: ", table, start, end, size)}, nil
		}
		return Content{Table: table, Receipt: receipt}, nil
	}
	if what, _ := found(start, end, size); table != "" || what != "" {
		return Content{Table: table, Foreign: foreign("", table, start, end, size)}, nil
	}
	at, in, err := firstData(r, start, end, size)
	if err != nil {
		return Content{}, fmt.Errorf("read what is on the disk: %w", err)
	}
	if at >= 0 {
		return Content{Foreign: fmt.Sprintf("unknown data at byte %d, sum %s", at, sum(in))}, nil
	}
	return Content{}, nil
}

// maxForeign bounds what is said, in bytes: it has to fit a report, prefix included.
const maxForeign = 160

// foreign names what is on a disk. Who orders that it be overwritten means this disk as
// it is: where nothing of what was found has a name of its own, the sum of both ends
// stands for that.
func foreign(prefix, table string, start, end []byte, size int64) string {
	what, unique := found(start, end, size)
	if table == "" && prefix == "" {
		what = strings.TrimPrefix(what, "; ")
	} else if table == "" {
		table = orNone(table)
	}
	mark := ""
	if _, id, _ := strings.Cut(table, " "); !unique && nameless(id) {
		mark = ", sum " + sum(start, end)
	}
	all := prefix + table + what
	return all[:min(len(all), maxForeign-len(mark))] + mark
}

// nameless reports whether an identity is none: not there, or zero, as those of things
// are whose makers gave them no name.
func nameless(id string) bool { return strings.Trim(id, "0-") == "" }

// sum is short for what cannot be named otherwise.
func sum(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// found names all signatures, each after "; "; unique: one of them has a name of its
// own.
func found(start, end []byte, size int64) (names string, unique bool) {
	var b strings.Builder
	add := func(name, id string) {
		b.WriteString("; " + strings.TrimSpace(name+" "+id))
		unique = unique || !nameless(id)
	}
	for _, s := range signatures {
		if id, ok := s.in(start, end); ok {
			add(s.name, id)
		}
	}
	if zfs(start) {
		add("zfs", "")
	}
	if id, ok := oldMD(end, size); ok {
		add("md", id)
	}
	return b.String(), unique
}

// firstData is the byte at which something stands that is not blank, and the part of
// the disk that was read there; -1: none was found. Blank is what a disk is shipped or
// erased with: zeros, or all ones.
func firstData(r io.ReaderAt, start, end []byte, size int64) (at int64, in []byte, err error) {
	if n := data(start); n >= 0 {
		return int64(n), start, nil
	}
	step := max((size-2*lookEnd)/samples/page*page, lookSample)
	if size <= lookWhole {
		step = lookSample
	}
	first := int64(-1)
	var mu sync.Mutex // held for first
	var group errgroup.Group
	group.SetLimit(lookers)
	for at := int64(lookEnd); at < size-lookEnd; at += step {
		group.Go(func() error {
			sample := make([]byte, min(lookSample, size-lookEnd-at))
			if err := readFull(r, sample, at); err != nil {
				return err
			}
			n := data(sample)
			mu.Lock()
			defer mu.Unlock()
			if n >= 0 && (first < 0 || at+int64(n) < first) {
				first, in = at+int64(n), sample
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil || first >= 0 {
		return first, in, err
	}
	if n := data(end); n >= 0 {
		return size - lookEnd + int64(n), end, nil
	}
	return -1, nil, nil
}

// data is the first byte that is not as the first one is, or the first one if that
// is neither 0 nor 0xff; -1: b is blank.
func data(b []byte) int {
	first := b[0]
	if first != 0 && first != 0xff {
		return 0
	}
	if same := bytes.Count(b, []byte{first}); same == len(b) {
		return -1
	}
	for i, c := range b {
		if c != first {
			return i
		}
	}
	return -1
}

func readFull(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("%d bytes at %d: %w", len(b), at, err)
}

// guid is a GUID as it stands in a partition table (UEFI 2.10 appendix A).
func guid(b []byte) string {
	mixed := []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}
	return uuid(mixed)
}

func uuid(b []byte) string {
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
