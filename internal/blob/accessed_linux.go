package blob

import (
	"io/fs"
	"syscall"
	"time"
)

// accessed is when a file was used last, as the store says it of its own.
func accessed(i fs.FileInfo) time.Time {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Atim.Unix())
	}
	return i.ModTime()
}
