package lease

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes what was written to a file durable, and its size if that changed.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
