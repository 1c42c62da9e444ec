package state

import "fmt"

// Unfit says that a kept file is not what was written, or that a newer rackreach
// wrote it: starting again does not help. Its text says what to do.
type Unfit struct{ err error }

// Unfitf is an Unfit with that text.
func Unfitf(format string, a ...any) error { return &Unfit{fmt.Errorf(format, a...)} }

// Error says which file, why, and what to do.
func (u *Unfit) Error() string { return u.err.Error() }

// Unwrap is what was wrong.
func (u *Unfit) Unwrap() error { return u.err }
