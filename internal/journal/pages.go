package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// This file reads bbolt's file format, version 2 (go.etcd.io/bbolt, internal/common),
// without bbolt: bbolt panics on a damaged page, some of it in goroutines of its
// own that nobody can recover, trusts a damaged freelist, and falls back in
// silence to the transaction before when the newest header is damaged. Here every
// offset is checked before it is used. The format is in the machine's byte order.
const (
	pageMagic   = 0xED0CDAED
	pageVersion = 2

	pageHeader    = 16 // id uint64, flags uint16, count uint16, overflow uint32
	elementHeader = 16 // leaf: flags, pos, ksize, vsize uint32; branch: pos, ksize uint32, child uint64
	bucketHeader  = 16 // root uint64, sequence uint64; a root of 0: a page follows inline
	headerSize    = 64 // the header proper, after its page's header
	sumOffset     = 56 // its checksum, FNV-1a 64 of what is before

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of a leaf element: the value is a bucket

	minPageSize = 1 << 10
	maxPageSize = 1 << 16
	// maxOverflow bounds how many pages after its first one page may have; a page
	// holds one element more than fits at most, or the freelist.
	maxOverflow = 1 << 16
)

var order = binary.NativeEndian

// header is one of the file's two headers; the one with the higher transaction counts.
type header struct {
	root, freelist, high, tx uint64 // high: the number of pages in use or free
	pageSize                 int
}

func readHeader(r io.ReaderAt, at int64) (header, error) {
	b := make([]byte, pageHeader+headerSize)
	if _, err := r.ReadAt(b, at); err != nil {
		return header{}, fmt.Errorf("it cannot be read: %w", err)
	}
	b = b[pageHeader:]
	sum := fnv.New64a()
	if _, err := sum.Write(b[:sumOffset]); err != nil {
		return header{}, err
	}
	switch {
	case order.Uint32(b) != pageMagic:
		return header{}, errors.New("it is not a database's")
	case order.Uint64(b[sumOffset:]) != sum.Sum64():
		return header{}, errChecksum
	case order.Uint32(b[4:]) != pageVersion:
		return header{}, fmt.Errorf("its version is %d, not %d", order.Uint32(b[4:]), pageVersion)
	}
	h := header{pageSize: int(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), high: order.Uint64(b[40:]), tx: order.Uint64(b[48:])}
	if h.pageSize < minPageSize || h.pageSize > maxPageSize || h.pageSize&(h.pageSize-1) != 0 {
		return header{}, fmt.Errorf("its page size is %d", h.pageSize)
	}
	return h, nil
}

// pageFile is a database file, as pages.
type pageFile struct {
	r    io.ReaderAt
	size int64 // bytes
	header
}

// openPages reads the headers. Where just one of them is sound, it returns the
// file as that one has it, and an error: the newest transaction may be missing.
// (A header is within one sector, so that a power cut does not tear it.)
func openPages(r io.ReaderAt, size int64) (*pageFile, error) {
	first, err0 := readHeader(r, 0)
	second, err1 := header{}, error(nil)
	if err0 == nil {
		second, err1 = readHeader(r, int64(first.pageSize))
	} else {
		for s := int64(minPageSize); s <= maxPageSize; s *= 2 {
			if second, err1 = readHeader(r, s); err1 == nil && int64(second.pageSize) == s {
				break
			}
		}
	}
	switch {
	case err0 != nil && err1 != nil:
		return nil, fmt.Errorf("both headers are damaged: %w; %w", err0, err1)
	case err0 != nil:
		return &pageFile{r: r, size: size, header: second}, fmt.Errorf("its first header is damaged: %w", err0)
	case err1 != nil:
		return &pageFile{r: r, size: size, header: first}, fmt.Errorf("its second header is damaged: %w", err1)
	}
	f := &pageFile{r: r, size: size, header: first}
	if second.tx > first.tx {
		f.header = second
	}
	if f.high > uint64(size)/uint64(f.pageSize) {
		return f, fmt.Errorf("it is cut off: it has %d bytes, its header says %d pages of %d", size, f.high, f.pageSize)
	}
	return f, nil
}

// page is one page with those that it overflows into, or an inline one.
type page struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	data     []byte // with the header
}

func parsePage(b []byte) (page, error) {
	if len(b) < pageHeader {
		return page{}, errShort
	}
	return page{id: order.Uint64(b), flags: order.Uint16(b[8:]), count: int(order.Uint16(b[10:])), overflow: uint64(order.Uint32(b[12:])), data: b}, nil
}

// page reads one page. Its error names the page.
func (f *pageFile) page(id uint64) (page, error) {
	if id < 2 || id >= f.high {
		return page{}, fmt.Errorf("page %d is outside the file's %d", id, f.high)
	}
	return f.read(id, f.high)
}

// read reads one page that ends before the page end.
func (f *pageFile) read(id, end uint64) (page, error) {
	b := make([]byte, f.pageSize)
	if _, err := f.r.ReadAt(b, int64(id)*int64(f.pageSize)); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	p, err := parsePage(b)
	if err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	if p.id != id {
		return page{}, fmt.Errorf("page %d says that it is page %d", id, p.id)
	}
	if p.overflow > maxOverflow || id+p.overflow >= end {
		return page{}, fmt.Errorf("page %d says that it goes on for %d pages", id, p.overflow)
	}
	if p.overflow > 0 {
		rest := make([]byte, p.overflow*uint64(f.pageSize))
		if _, err := f.r.ReadAt(rest, int64(id+1)*int64(f.pageSize)); err != nil {
			return page{}, fmt.Errorf("page %d: %w", id, err)
		}
		p.data = append(p.data, rest...)
	}
	return p, nil
}

// slice is n bytes of the page from an offset on.
func (p page) slice(at, n uint64) ([]byte, error) {
	if at > uint64(len(p.data)) || n > uint64(len(p.data))-at {
		return nil, fmt.Errorf("page %d points outside itself", p.id)
	}
	return p.data[at : at+n : at+n], nil
}

// leaf is an element of a leaf page.
func (p page) leaf(i int) (flags uint32, key, value []byte, err error) {
	at := uint64(pageHeader + i*elementHeader)
	e, err := p.slice(at, elementHeader)
	if err != nil {
		return 0, nil, nil, err
	}
	pos, ksize, vsize := at+uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
	if key, err = p.slice(pos, ksize); err != nil {
		return 0, nil, nil, err
	}
	if value, err = p.slice(pos+ksize, vsize); err != nil {
		return 0, nil, nil, err
	}
	return order.Uint32(e), key, value, nil
}

// branch is an element of a branch page.
func (p page) branch(i int) (key []byte, child uint64, err error) {
	at := uint64(pageHeader + i*elementHeader)
	e, err := p.slice(at, elementHeader)
	if err != nil {
		return nil, 0, err
	}
	key, err = p.slice(at+uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])))
	return key, order.Uint64(e[8:]), err
}

// free are the pages that a freelist page names.
func (p page) free() ([]uint64, error) {
	at, count := uint64(pageHeader), uint64(p.count)
	if p.count == 0xFFFF { // too many for 16 bits: the count is the first entry
		b, err := p.slice(at, 8)
		if err != nil {
			return nil, err
		}
		at, count = at+8, order.Uint64(b)
	}
	if count > uint64(len(p.data)/8) {
		return nil, fmt.Errorf("page %d says that %d pages are free", p.id, count)
	}
	b, err := p.slice(at, 8*count)
	if err != nil {
		return nil, err
	}
	ids := make([]uint64, count)
	for i := range ids {
		ids[i] = order.Uint64(b[8*i:])
	}
	return ids, nil
}
