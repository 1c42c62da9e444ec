package journal

import (
	"errors"
	"fmt"
)

// found is a record somewhere in a damaged file.
type found struct {
	page  uint64
	index int
	self  hash
	prev  hash
}

// maxCopies bounds how many different records of one sequence are looked at;
// more than two only a hostile file has.
const maxCopies = 8

// search looks through all pages of a damaged file for the events after the
// proven ones. bbolt never writes over a page before two commits later, so that
// there often is an older copy. An event counts only when its hash links it to
// the last proven one, and no other does: of two, one was written by a commit
// that never was completed, and nobody can tell which.
func (n *inspection) search(r *Report) error {
	pages := n.pages
	if pages == nil {
		if pages = guessPages(n); pages == nil {
			return nil
		}
	}
	bySeq := map[uint64][]found{}
	end := uint64(pages.size) / uint64(pages.pageSize)
	for id := range end {
		err := eachOnPage(pages, id, end, func(index int, key, value []byte) { n.note(bySeq, id, index, key, value) })
		var bad *badPage
		if err != nil && !errors.As(err, &bad) {
			return err
		}
	}
	for {
		next, ok := n.onlyNext(bySeq[n.contents.last.seq+1])
		if !ok {
			break
		}
		var rec record
		var opened error
		if err := eachOnPage(pages, next.page, end, func(index int, key, value []byte) {
			if index == next.index {
				rec, opened = openRecord(key, value)
			}
		}); err != nil || opened != nil {
			return errors.Join(fmt.Errorf("read page %d again", next.page), err, opened)
		}
		if err := n.take(rec); err != nil {
			return err
		}
		r.Found++
	}
	for seq := range bySeq {
		if seq <= n.contents.last.seq {
			continue
		}
		if r.Loose == 0 || seq < r.LooseIn[0] {
			r.LooseIn[0] = seq
		}
		r.LooseIn[1] = max(r.LooseIn[1], seq)
		r.Loose++
	}
	return nil
}

// note keeps what an element says, if it is sound.
func (n *inspection) note(bySeq map[uint64][]found, page uint64, index int, key, value []byte) {
	if string(key) == metaKey && !n.contents.hasMeta {
		meta, err := openMeta(value)
		if err == nil && meta.Rack != "" {
			n.contents.meta, n.contents.hasMeta = meta, true
		}
		return
	}
	rec, err := openRecord(key, value)
	if err != nil || rec.event.Seq <= n.contents.last.seq {
		return
	}
	of := bySeq[rec.event.Seq]
	for _, f := range of {
		if f.self == rec.self {
			return
		}
	}
	if len(of) < maxCopies {
		bySeq[rec.event.Seq] = append(of, found{page: page, index: index, self: rec.self, prev: rec.prev})
	}
}

// onlyNext is the one candidate that follows from the last proven event.
func (n *inspection) onlyNext(candidates []found) (next found, ok bool) {
	for _, f := range candidates {
		if f.prev != n.contents.last.hash {
			continue
		}
		if ok {
			return found{}, false
		}
		next, ok = f, true
	}
	return next, ok
}

// badPage says that a page cannot be read as a leaf.
type badPage struct{ err error }

func (b *badPage) Error() string { return b.err.Error() }

// maxSearch bounds how many pages one leaf is read over while searching: enough for one
// largest event on the smallest pages.
const maxSearch = 2 * MaxEvent / minPageSize

// eachOnPage calls fn for every key and value on a leaf page, with those of
// buckets inline. Errors: *badPage; what was read of it before was handed over.
func eachOnPage(f *pageFile, id, end uint64, fn func(index int, key, value []byte)) error {
	p, err := f.read(id, min(end, id+maxSearch))
	if err != nil {
		return &badPage{err}
	}
	if p.flags != leafPage {
		return nil
	}
	index := 0
	return eachElement(p, &index, true, fn)
}

func eachElement(p page, index *int, outer bool, fn func(index int, key, value []byte)) error {
	for i := range p.count {
		flags, key, value, err := p.leaf(i)
		if err != nil {
			return &badPage{err}
		}
		if flags == bucketFlag && outer && len(value) > bucketHeader {
			if inline, err := parsePage(value[bucketHeader:]); err == nil && inline.flags == leafPage {
				if err := eachElement(inline, index, false, fn); err != nil {
					return err
				}
			}
			continue
		}
		fn(*index, key, value)
		*index++
	}
	return nil
}

// guessPages takes the page size that most pages agree with, when both headers are lost.
func guessPages(n *inspection) *pageFile {
	info, err := n.file.Stat()
	if err != nil {
		return nil
	}
	var best *pageFile
	most := 0
	for size := minPageSize; size <= maxPageSize; size *= 2 {
		f := &pageFile{r: n.file, size: info.Size(), header: header{pageSize: size}}
		agree, end := 0, uint64(info.Size())/uint64(size)
		for id := uint64(2); id < end; id++ {
			if p, err := f.read(id, min(end, id+maxSearch)); err == nil && p.flags == leafPage && p.count > 0 {
				agree++
			}
		}
		if agree > most {
			best, most = f, agree
		}
	}
	return best
}
