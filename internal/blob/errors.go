package blob

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrNone says that there is no such blob. It is wrapped.
var ErrNone = errors.New("no such blob")

// ErrMismatch says that bytes are not those of their digest. It is wrapped.
var ErrMismatch = errors.New("it is not what its digest says")

// ErrNoRange is what a Source returns when it cannot begin in the middle.
var ErrNoRange = errors.New("it sends whole blobs only")

// ErrInUse says that another process uses a store. It is wrapped.
var ErrInUse = errors.New("another rackreach uses it")

// Full says that there is no room for a blob.
type Full struct {
	Dir   string
	Need  int64 // bytes
	Free  int64 // bytes; -1: not known
	Limit int64 // bytes that the store may hold; 0: the disk itself is full
}

func (e *Full) Error() string {
	if e.Limit > 0 {
		return fmt.Sprintf("%s may hold %s, and what is in use leaves no room for %s more: let it hold more (--cache-size)", e.Dir, Bytes(e.Limit), Bytes(e.Need))
	}
	room := ""
	if e.Free >= 0 {
		room = fmt.Sprintf(", and %s are free", Bytes(e.Free))
	}
	return fmt.Sprintf("the disk of %s is full: %s are needed%s: make room there, then do the same again", e.Dir, Bytes(e.Need), room)
}

// full makes a Full of an error of the file system that says so.
func (s *Store) full(err error, need int64) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &Full{Dir: s.dir, Need: need, Free: free(s.dir)}
	}
	return err
}

// Bytes is a size for people.
func Bytes(n int64) string {
	const unit = 1024
	switch {
	case n < unit:
		return fmt.Sprintf("%d B", n)
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/(unit*unit))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(unit*unit*unit))
}

// DiskFull makes a *Full of an error that says that the disk of a directory is full,
// and gives others back.
func DiskFull(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &Full{Dir: dir, Need: 1, Free: free(dir)}
	}
	return err
}
