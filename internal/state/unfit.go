package state

import (
	"errors"
	"fmt"
)

// Unfit says that a kept file is not what was written, or that a newer rackreach
// wrote it: starting again does not help. Its text says what to do.
type Unfit struct{ err error }

// Unfitf is an Unfit with that text.
func Unfitf(format string, a ...any) error { return &Unfit{fmt.Errorf(format, a...)} }

// Error says which file, why, and what to do.
func (u *Unfit) Error() string { return u.err.Error() }

// Unwrap is what was wrong.
func (u *Unfit) Unwrap() error { return u.err }

// Unread says of a file that must be there why it could not be read, and with format what
// to do when it is lost or damaged. That is an Unfit; a disk that fails, or a process that
// has no file left to open, may do better the next time, and is none.
func Unread(err error, format string, a ...any) error {
	var u *Unfit
	if errors.Is(err, ErrNone) || errors.As(err, &u) {
		return Unfitf("%s: %w", fmt.Sprintf(format, a...), err)
	}
	return err
}
