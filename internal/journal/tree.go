package journal

import (
	"bytes"
	"fmt"
)

// maxDepth bounds a tree's height; at two children a page the lowest tree of
// more pages than a disk has is lower.
const maxDepth = 48

// tree walks the pages of a database that are in use, each once.
type tree struct {
	f    *pageFile
	used []uint64 // a bit per page
}

func newTree(f *pageFile) *tree {
	pages := min(f.high, uint64(f.size)/uint64(f.pageSize)) // a header may claim what it likes
	return &tree{f: f, used: make([]uint64, pages/64+1)}
}

// claim marks pages as used; its error says that one was already.
func (t *tree) claim(id, overflow uint64) error {
	for ; ; id++ {
		if id/64 >= uint64(len(t.used)) {
			return fmt.Errorf("page %d is outside the file", id)
		}
		if t.used[id/64]&(1<<(id%64)) != 0 {
			return fmt.Errorf("page %d is used twice", id)
		}
		t.used[id/64] |= 1 << (id % 64)
		if overflow == 0 {
			return nil
		}
		overflow--
	}
}

// visit takes in a leaf element. The slices are valid afterwards too.
type visit func(flags uint32, key, value []byte) error

// bounds are the keys that a page may hold: from low on, below high; nil: no bound.
type bounds struct{ low, high []byte }

func (b bounds) hold(key []byte) bool {
	return bytes.Compare(key, b.low) >= 0 && (b.high == nil || bytes.Compare(key, b.high) < 0)
}

// walk visits the elements under a page in the order of their keys, from the
// key from on; what is wholly before it is not read.
func (t *tree) walk(id uint64, in bounds, from []byte, depth int, fn visit) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d: the tree is too high", id)
	}
	p, err := t.f.page(id)
	if err != nil {
		return err
	}
	if err := t.claim(id, p.overflow); err != nil {
		return err
	}
	switch p.flags {
	case leafPage:
		return t.leaves(p, in, from, fn)
	case branchPage:
		return t.branches(p, in, from, depth, fn)
	}
	return fmt.Errorf("page %d is neither leaf nor branch (%#x)", id, p.flags)
}

func (t *tree) leaves(p page, in bounds, from []byte, fn visit) error {
	for i := range p.count {
		flags, key, value, err := p.leaf(i)
		if err != nil {
			return err
		}
		if !in.hold(key) || (i > 0 && bytes.Equal(key, in.low)) {
			return fmt.Errorf("page %d has a key out of order", p.id)
		}
		in.low = key
		if bytes.Compare(key, from) < 0 {
			continue
		}
		if err := fn(flags, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) branches(p page, in bounds, from []byte, depth int, fn visit) error {
	if p.count == 0 {
		return fmt.Errorf("page %d is a branch without children", p.id)
	}
	for i := range p.count {
		key, child, err := p.branch(i)
		if err != nil {
			return err
		}
		below := bounds{low: key, high: in.high}
		if i+1 < p.count {
			if below.high, _, err = p.branch(i + 1); err != nil {
				return err
			}
		}
		if !in.hold(key) || (below.high != nil && bytes.Compare(key, below.high) >= 0) {
			return fmt.Errorf("page %d has a key out of order", p.id)
		}
		if below.high != nil && bytes.Compare(below.high, from) <= 0 {
			continue
		}
		if err := t.walk(child, below, from, depth+1, fn); err != nil {
			return err
		}
	}
	return nil
}

// bucket visits the elements of a bucket, given as the value of its element.
func (t *tree) bucket(value, from []byte, fn visit) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("a bucket of %d bytes", len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return t.walk(root, bounds{}, from, 0, fn)
	}
	p, err := parsePage(value[bucketHeader:])
	if err != nil {
		return err
	}
	if p.flags != leafPage {
		return fmt.Errorf("an inline page is not a leaf (%#x)", p.flags)
	}
	return t.leaves(p, bounds{}, from, fn)
}

// buckets are the buckets of the file, by name.
func (t *tree) buckets() (map[string][]byte, error) {
	out := map[string][]byte{}
	err := t.walk(t.f.root, bounds{}, nil, 0, func(flags uint32, key, value []byte) error {
		if flags != bucketFlag || (string(key) != eventsBucket && string(key) != journalBucket) {
			return fmt.Errorf("it has %.40q, which no journal has", key)
		}
		out[string(key)] = value
		return nil
	})
	if err == nil && len(out) != 2 {
		return nil, fmt.Errorf("it has %d buckets, not 2", len(out))
	}
	return out, err
}

// freelist checks, after all buckets were walked, that no page in use is also
// free: bbolt would write over it.
func (t *tree) freelist() error {
	p, err := t.f.page(t.f.header.freelist)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	if p.flags != freelistPage {
		return fmt.Errorf("page %d is not the list of free pages (%#x)", p.id, p.flags)
	}
	if err := t.claim(p.id, p.overflow); err != nil {
		return err
	}
	ids, err := p.free()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id < 2 || id >= t.f.high {
			return fmt.Errorf("page %d, outside the file, is said to be free", id)
		}
		if err := t.claim(id, 0); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	return nil
}
