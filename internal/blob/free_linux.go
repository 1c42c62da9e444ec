package blob

import "golang.org/x/sys/unix"

// free is how many bytes an ordinary user may still write to the disk of a
// directory; -1 when that is not known.
func free(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * s.Bsize
}
