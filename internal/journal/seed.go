package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/rackreach/rackreach/internal/rack"
)

// Seed writes a new journal into a directory that has none, from the copy that
// somebody else holds: every event of meta.Rack from the first on, with the
// sequence and the time that it had. It returns the last of them, which is also
// the Salvaged of the new journal: what came after it is not known. The journal
// gets its name once it is whole. Errors: that of the iterator, a gap in the
// events, an event of another rack, there is a journal already, one of the file
// system.
func Seed(dir string, meta Meta, events iter.Seq2[rack.Event, error]) (last uint64, err error) {
	if _, err := os.Lstat(filepath.Join(dir, dbFile)); err == nil {
		return 0, fmt.Errorf("seed a journal in %s: there is one already", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("seed a journal: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("seed a journal: %w", err)
	}
	c, err := newCopy(dir)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("seed a journal in %s: %w", dir, err), c.db.Close(), os.Remove(filepath.Join(dir, dbFile+".part")))
		}
	}()
	for e, err := range events {
		switch {
		case err != nil:
			return 0, err
		case e.Rack != meta.Rack:
			return 0, fmt.Errorf("event %d is of the rack %.80q, not of %s", e.Seq, e.Rack, meta.Rack)
		case e.Seq != c.end.seq+1:
			return 0, fmt.Errorf("event %d follows event %d", e.Seq, c.end.seq)
		}
		if err := c.put(e); err != nil {
			return 0, err
		}
	}
	meta.Salvaged = c.end.seq
	return c.end.seq, c.finish(meta, dir)
}
