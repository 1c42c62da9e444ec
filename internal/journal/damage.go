package journal

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
)

// Damaged says that a journal is not what was written. Nothing was changed.
type Damaged struct {
	File string // the database file
	Seq  uint64 // the first event that is not proven; 0: not one event is
	Why  string
	err  error
}

func (d *Damaged) Error() string {
	return fmt.Sprintf("the journal %s is damaged at event %d: %s. Nothing was changed. Copy what can be proven into a new directory with: rackreach journal salvage %s",
		d.File, d.Seq, d.Why, filepath.Dir(d.File))
}

// Unwrap is the cause, where another error was it.
func (d *Damaged) Unwrap() error { return d.err }

// guard runs fn, which reads or writes through bbolt's memory map, and turns a
// panic or a fault of the map (a disk that went away, a file that was cut) into
// an error. Measured: bbolt panics on many a damaged page.
func guard(fn func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the database failed: %v", p)
		}
	}()
	return fn()
}
