package journal

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// dbFile is the database within a journal's directory.
const dbFile = "journal.db"

// contents is what a sound file holds, or what of a damaged one is proven.
type contents struct {
	meta    Meta
	hasMeta bool
	last    head      // of the last record that is proven
	time    time.Time // of that record
}

// inspection reads a database file that nobody writes to.
type inspection struct {
	file     *os.File
	pages    *pageFile // nil when neither header could be read
	contents contents
	each     func(rack.Event) error
	eachErr  error // of each: it ended the reading, the file is not to blame
}

// inspect reads and checks a whole file, and calls each (nil: nothing) for every
// proven event in order, as far as the first damage. Errors: a *Damaged, ErrNewer,
// the error of each, one of the file system. With the first three the inspection
// holds what was proven; the caller closes the file of one that is not nil.
func inspect(path string, each func(rack.Event) error) (*inspection, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal: %w", err), file.Close())
	}
	n := &inspection{file: file, each: each}
	pages, wrong := openPages(file, info.Size())
	n.pages = pages
	if pages != nil {
		if err := n.read(); err != nil && (wrong == nil || n.eachErr != nil) {
			wrong = err
		}
	}
	switch {
	case wrong == nil:
		return n, nil
	case n.eachErr != nil:
		return n, n.eachErr
	case errors.Is(wrong, ErrNewer):
		return n, fmt.Errorf("the journal %s cannot be read from event %d on: %w", path, n.contents.last.seq+1, wrong)
	}
	return n, &Damaged{File: path, Seq: n.contents.last.seq + 1, Why: wrong.Error(), err: wrong}
}

// read checks everything that the chosen header leads to.
func (n *inspection) read() error {
	t := newTree(n.pages)
	buckets, err := t.buckets()
	if err != nil {
		return err
	}
	end, aboutErr := n.about(t, buckets[journalBucket])
	if errors.Is(aboutErr, ErrNewer) {
		return aboutErr
	}
	if err := t.bucket(buckets[eventsBucket], nil, n.record); err != nil {
		return err
	}
	if aboutErr != nil {
		return aboutErr
	}
	if end != n.contents.last {
		return fmt.Errorf("its newest events are missing: it ends with event %d and should end with %d", n.contents.last.seq, end.seq)
	}
	return t.freelist()
}

// about reads what the journal says about itself.
func (n *inspection) about(t *tree, bucket []byte) (end head, err error) {
	hasHead := false
	err = t.bucket(bucket, nil, func(flags uint32, key, value []byte) (err error) {
		switch {
		case flags == 0 && string(key) == metaKey:
			n.contents.meta, err = openMeta(value)
			n.contents.hasMeta = err == nil
		case flags == 0 && string(key) == headKey:
			end, err = openHead(value)
			hasHead = err == nil
		default:
			return fmt.Errorf("it has %.40q among its meta data", key)
		}
		if err != nil {
			return fmt.Errorf("its entry %q cannot be read: %w", key, err)
		}
		return nil
	})
	if err == nil && (!n.contents.hasMeta || !hasHead) {
		err = errors.New("its meta data are missing")
	}
	return end, err
}

// record takes in the next record and checks that it follows from the last one.
func (n *inspection) record(flags uint32, key, value []byte) error {
	if flags != 0 {
		return fmt.Errorf("event %d is not a record (%#x)", n.contents.last.seq+1, flags)
	}
	r, err := openRecord(key, value)
	if err != nil {
		return fmt.Errorf("event %d cannot be read: %w", n.contents.last.seq+1, err)
	}
	if err := n.contents.follows(r); err != nil {
		return err
	}
	return n.take(r)
}

// take accepts a record that follows.
func (n *inspection) take(r record) error {
	n.contents.last, n.contents.time = head{seq: r.event.Seq, hash: r.self}, r.event.Time
	if n.each == nil {
		return nil
	}
	n.eachErr = n.each(r.event)
	return n.eachErr
}

// follows says why a record is not the one after the last.
func (c *contents) follows(r record) error {
	switch {
	case r.event.Seq != c.last.seq+1:
		return fmt.Errorf("event %d is missing: event %d comes after event %d", c.last.seq+1, r.event.Seq, c.last.seq)
	case r.prev != c.last.hash:
		return fmt.Errorf("event %d was not written after this event %d: the chain of hashes is broken", r.event.Seq, c.last.seq)
	}
	return nil
}

// readFile walks the records of a file at rest from a sequence on, and leaves
// it to fn to check them.
func readFile(path string, from uint64, fn func(key, value []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	err = func() error {
		info, err := file.Stat()
		if err != nil {
			return err
		}
		pages, err := openPages(file, info.Size())
		if err != nil {
			return err
		}
		t := newTree(pages)
		buckets, err := t.buckets()
		if err != nil {
			return err
		}
		return t.bucket(buckets[eventsBucket], keyOf(from), func(_ uint32, key, value []byte) error { return fn(key, value) })
	}()
	return errors.Join(err, file.Close())
}
