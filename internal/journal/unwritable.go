package journal

import (
	"errors"
	"io/fs"
	"syscall"
)

// Unwritable says that a state directory cannot be written to as long as nobody sees
// to it: whose it is, or where it is, does not let this process.
type Unwritable struct{ err error }

// Error says where, why, and what to do.
func (u *Unwritable) Error() string {
	return u.err.Error() + ": give a directory that may be written to with --state, or do this as who owns it"
}

// Unwrap is what the file system said.
func (u *Unwritable) Unwrap() error { return u.err }

// unwritable tells what stays so from what passes, such as a full disk.
func unwritable(err error) error {
	for _, stays := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOTDIR} {
		if errors.Is(err, stays) {
			return &Unwritable{err}
		}
	}
	return err
}
