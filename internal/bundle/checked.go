package bundle

import (
	"io/fs"
	"os"
	"sync"

	"github.com/rackreach/rackreach/internal/blob"
)

// Checked remembers of a process which files hold the bytes of their digests, so that
// they are read once. What changes a file changes its size, its time or its inode, and it
// is read again; what a disk loses without a word is found at the next start. A nil one
// remembers nothing.
type Checked struct {
	mu sync.Mutex
	of map[Blob]fs.FileInfo
}

// has reports whether a blob was found right in this very file; nil: there is none.
func (c *Checked) has(b Blob, now fs.FileInfo) bool {
	if c == nil || now == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.of[b]
	return ok && os.SameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime())
}

// add remembers the file that a blob was found right in, as it was before it was read.
func (c *Checked) add(b Blob, was fs.FileInfo) {
	if c == nil || was == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[Blob]fs.FileInfo{}
	}
	c.of[b] = was
}

// stat is the file that a blob is served from: its own, or the tar that it is a part of.
// nil: there is none, or it cannot be said.
func (x *Images) stat(d blob.Digest) fs.FileInfo {
	f, err := x.open(d)
	if err != nil {
		return nil
	}
	defer f.Close() // nothing was read of it
	file, ok := f.(*os.File)
	if s, part := f.(*Section); part {
		file, ok = s.f, true
	}
	if !ok {
		return nil
	}
	i, err := file.Stat()
	if err != nil {
		return nil
	}
	return i
}
