package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/rackreach/rackreach/internal/durable"
	"github.com/rackreach/rackreach/internal/rack"
	"github.com/rackreach/rackreach/messages"
)

// Report is what Verify or Salvage found.
type Report struct {
	File    string
	Meta    Meta      // zero when it could not be read
	Events  uint64    // proven: checksum and chain from the first event on; their sequences are 1 to Events
	Last    time.Time // of the last proven event
	Damage  *Damaged  // nil: the journal is sound
	Found   uint64    // of Events, those found on pages that the damaged file no longer leads to
	Loose   uint64    // events after the proven ones that can be read, but that nothing links to them; not copied
	LooseIn [2]uint64 // the first and the last sequence of those
}

// Verify checks a journal and changes nothing. The report is filled as far as the
// journal could be read. Errors: *Damaged, ErrNewer, *InUse, one of the file system.
func Verify(dir string) (Report, error) {
	return withReadLock(dir, func(path string) (Report, error) { return verify(path, nil) })
}

// Events reads a whole journal and changes nothing, not even who is said to hold
// it: for one in a directory that cannot be written to. Errors: as Verify.
func Events(dir string) (Report, []rack.Event, error) {
	var events []rack.Event
	r, err := withReadLock(dir, func(path string) (Report, error) {
		return verify(path, func(e rack.Event) error {
			events = append(events, e)
			return nil
		})
	})
	return r, events, err
}

// Dump writes the events that keep accepts (nil: all) as lines of JSON, in order.
// Every line is proven; when damage is met what is before it has been written.
// Errors: as Verify, and the writer's.
func Dump(dir string, w io.Writer, keep func(rack.Event) bool) (Report, error) {
	return withReadLock(dir, func(path string) (Report, error) {
		return verify(path, func(e rack.Event) error {
			if keep != nil && !keep(e) {
				return nil
			}
			line, err := messages.JSONLine(e)
			if err != nil {
				return err
			}
			_, err = w.Write(append(line, '\n'))
			return err
		})
	})
}

func withReadLock(dir string, fn func(path string) (Report, error)) (Report, error) {
	path := filepath.Join(dir, dbFile)
	if _, err := os.Stat(path); err != nil {
		return Report{}, fmt.Errorf("read the journal: %w", err)
	}
	unlock, err := lockToRead(dir, DefaultLockWait)
	if err != nil {
		return Report{}, err
	}
	r, err := fn(path)
	return r, errors.Join(err, unlock())
}

func verify(path string, each func(rack.Event) error) (Report, error) {
	n, err := inspect(path, each)
	if n == nil {
		return Report{File: path}, err
	}
	return n.report(err), errors.Join(err, n.file.Close())
}

func (n *inspection) report(err error) Report {
	r := Report{File: n.file.Name(), Meta: n.contents.meta, Events: n.contents.last.seq, Last: n.contents.time}
	errors.As(err, &r.Damage)
	return r
}

// Salvage copies every event of a damaged journal that can be proven into a new
// journal in the directory out, which must not exist or be empty, and changes
// nothing in dir. Proven are the events from the first on, each with a sound
// checksum and linked to the one before; where the file no longer leads to the
// next one, all its pages are searched. Sequences and times stay. A sound journal
// is copied whole. Errors: no event and no meta data could be read, *InUse,
// ErrNewer, one of the file system; the new directory is then of no use.
func Salvage(dir, out string) (Report, error) {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return Report{}, fmt.Errorf("salvage into %s: it is not empty: name a new directory", out)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Report{}, fmt.Errorf("salvage: %w", err)
	}
	return withReadLock(dir, func(path string) (Report, error) { return salvage(path, dir, out) })
}

func salvage(path, dir, out string) (r Report, err error) {
	if err := os.MkdirAll(out, 0o700); err != nil {
		return Report{}, fmt.Errorf("salvage: %w", err)
	}
	c, err := newCopy(out)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, c.db.Close()) }()
	n, err := inspect(path, c.put)
	if n == nil {
		return Report{File: path}, err
	}
	defer func() { err = errors.Join(err, n.file.Close()) }()
	r = n.report(err)
	if err != nil && r.Damage == nil {
		return r, err
	}
	if r.Damage != nil {
		if err := n.search(&r); err != nil {
			return r, err
		}
		r.Meta, r.Events, r.Last = n.contents.meta, n.contents.last.seq, n.contents.time
	}
	meta := r.Meta
	if !n.contents.hasMeta {
		if meta.Rack = c.rack; meta.Rack == "" {
			return r, fmt.Errorf("salvage %s: neither an event nor the journal's meta data can be read: put the directory aside and start with a new one", dir)
		}
	}
	if r.Damage != nil {
		meta.Salvaged, meta.SalvagedFrom = r.Events, dir
	}
	return r, c.finish(meta, out)
}

// copyGroup is how many events a copy writes in one transaction.
const copyGroup = 1024

// copying writes a new journal.
type copying struct {
	db      *bbolt.DB
	end     head
	pending [][2][]byte // key and record
	rack    string      // as the first event says
}

func newCopy(out string) (*copying, error) {
	if err := create(out, Meta{}, dbFile+".part"); err != nil {
		return nil, err
	}
	db, err := openDB(filepath.Join(out, dbFile+".part"), DefaultLockWait)
	if err != nil {
		return nil, err
	}
	return &copying{db: db}, nil
}

func (c *copying) put(e rack.Event) error {
	if c.rack == "" {
		c.rack = e.Rack
	}
	payload, _, err := encode(e)
	if err != nil {
		return err
	}
	sealed, err := sealRecord(c.end.hash, payload, e.Seq, e.Time)
	if err != nil {
		return err
	}
	c.end = head{seq: e.Seq, hash: hashOf(sealed)}
	c.pending = append(c.pending, [2][]byte{keyOf(e.Seq), sealed})
	if len(c.pending) == copyGroup {
		return c.flush(nil)
	}
	return nil
}

func (c *copying) flush(meta []byte) error {
	err := c.db.Update(func(tx *bbolt.Tx) error {
		events, about := tx.Bucket([]byte(eventsBucket)), tx.Bucket([]byte(journalBucket))
		events.FillPercent = 1
		for _, p := range c.pending {
			if err := events.Put(p[0], p[1]); err != nil {
				return err
			}
		}
		if meta != nil {
			if err := about.Put([]byte(metaKey), meta); err != nil {
				return err
			}
		}
		return about.Put([]byte(headKey), c.end.seal())
	})
	if err != nil {
		return fmt.Errorf("write the salvaged journal: %w", err)
	}
	c.pending = c.pending[:0]
	return nil
}

// finish gives the journal its meta data and its name.
func (c *copying) finish(meta Meta, out string) error {
	sealed, err := sealMeta(meta)
	if err != nil {
		return err
	}
	if err := c.flush(sealed); err != nil {
		return err
	}
	if err := c.db.Close(); err != nil {
		return fmt.Errorf("write the salvaged journal: %w", err)
	}
	if err := os.Rename(filepath.Join(out, dbFile+".part"), filepath.Join(out, dbFile)); err != nil {
		return fmt.Errorf("write the salvaged journal: %w", err)
	}
	return errors.Join(durable.SyncDir(out), durable.SyncDir(filepath.Dir(out)))
}
