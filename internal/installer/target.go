//go:build linux

package installer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// medium is what a target reads and writes. Flush waits until what was written before is
// kept, power or not.
type medium interface {
	io.ReaderAt
	io.WriterAt
	io.Seeker
	io.Closer
	Stat() (os.FileInfo, error)
	Fd() uintptr
	Flush() error
}

// diskFile is an open disk. Its flush is fdatasync, which for a disk is that of its cache.
type diskFile struct{ *os.File }

func (f diskFile) Flush() error { return unix.Fdatasync(int(f.Fd())) }

// target is a disk, or a file that stands for one, that is opened for writing. Its
// methods may be used by many goroutines; all offsets and lengths are bytes.
type target struct {
	path   string
	f      medium
	over   func(medium) medium // nil: nothing lies over the medium
	size   int64
	align  int64 // of what is written directly
	block  int   // logical block
	device bool
	direct atomic.Bool // past the page cache

	mu sync.Mutex // held to give up O_DIRECT
}

// openTarget opens a disk exclusively: one that somebody uses (a file system, an array,
// a volume group) is refused by the kernel.
func openTarget(path string) (*target, error) { return openOver(path, nil) }

// openOver is openTarget with something that lies over the medium.
func openOver(path string, over func(medium) medium) (*target, error) {
	t := &target{path: path, over: over, align: page, block: 512}
	if err := t.open(); err != nil {
		return nil, err
	}
	if err := t.measure(); err != nil {
		return nil, errors.Join(fmt.Errorf("measure %s: %w", path, err), t.Close())
	}
	return t, nil
}

func (t *target) open() error {
	flags := os.O_RDWR | unix.O_EXCL | unix.O_CLOEXEC
	f, err := os.OpenFile(t.path, flags|unix.O_DIRECT, 0)
	t.direct.Store(err == nil)
	if errors.Is(err, unix.EINVAL) { // some file systems know no O_DIRECT
		f, err = os.OpenFile(t.path, flags, 0)
	}
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is in use: it is mounted, or part of an array or a volume group, and nothing was written: %w", t.path, err)
	}
	if err != nil {
		return fmt.Errorf("open the disk: %w", err)
	}
	if t.f = (diskFile{f}); t.over != nil {
		t.f = t.over(t.f)
	}
	return nil
}

// aside closes the disk while somebody else has it, and opens it again.
func (t *target) aside(do func() error) error {
	if err := t.f.Close(); err != nil {
		return err
	}
	return errors.Join(do(), t.open())
}

func (t *target) measure() error {
	st, err := t.f.Stat()
	if err != nil {
		return err
	}
	if t.device = st.Mode()&os.ModeDevice != 0; !t.device {
		t.size = st.Size()
		return nil
	}
	if t.block, err = unix.IoctlGetInt(int(t.f.Fd()), unix.BLKSSZGET); err != nil {
		return err
	}
	if t.block < 512 || t.block > page {
		return fmt.Errorf("blocks of %d bytes", t.block)
	}
	t.align = int64(t.block)
	t.size, err = t.f.Seek(0, io.SeekEnd)
	return err
}

func (t *target) Close() error { return t.f.Close() }

// aligned is memory that may be written directly. The Go runtime does not move it.
func aligned(n int) []byte {
	b := make([]byte, n+page)
	skip := 0
	if over := int(uintptr(unsafe.Pointer(&b[0])) & (page - 1)); over != 0 {
		skip = page - over
	}
	return b[skip : skip+n : skip+n]
}

// writeAligned writes b, which is aligned and a multiple of align, at a multiple of
// it. Where the disk turns out to take nothing directly, it is written through the
// page cache from then on.
func (t *target) writeAligned(b []byte, at int64) error {
	n, err := t.f.WriteAt(b, at)
	if errors.Is(err, unix.EINVAL) && t.buffered() {
		n, err = t.f.WriteAt(b, at)
	}
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write %d bytes at %d of the disk: %w", len(b), at, err)
	}
	return nil
}

// buffered gives up O_DIRECT, if that was on.
func (t *target) buffered() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	flags, err := unix.FcntlInt(t.f.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_DIRECT == 0 {
		return false
	}
	_, err = unix.FcntlInt(t.f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	t.direct.Store(false)
	return err == nil
}

// sync waits until what was written is on the medium.
func (t *target) sync() error {
	if err := t.f.Flush(); err != nil {
		return fmt.Errorf("flush the disk: %w", err)
	}
	return nil
}

// forget drops a range of the page cache, so that the next read comes from the disk;
// needed only where nothing is read directly.
func (t *target) forget(at, n int64) error {
	if t.direct.Load() {
		return nil
	}
	if err := t.sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(t.f.Fd()), at, n, unix.FADV_DONTNEED)
}

// readAligned reads into b, which is as writeAligned needs it.
func (t *target) readAligned(b []byte, at int64) error {
	n, err := t.f.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return fmt.Errorf("read %d bytes at %d of the disk: %w", len(b), at, err)
}

// pieceSize is what is read at a time where that is not aligned, in bytes: a multiple of
// page.
const pieceSize = 256 << 10

// ReadAt reads anything.
func (t *target) ReadAt(b []byte, at int64) (int, error) {
	piece := aligned(min(pieceSize, (len(b)+2*page-1)/page*page))
	for n := 0; n < len(b); {
		if at+int64(n) >= t.size {
			return n, io.EOF
		}
		from := (at + int64(n)) / page * page
		want := (at + int64(len(b)) - from + page - 1) / page * page
		all := piece[:min(int64(len(piece)), want, t.size-from)]
		if err := t.readAligned(all, from); err != nil {
			return n, err
		}
		n += copy(b[n:], all[at+int64(n)-from:])
	}
	return len(b), nil
}

// write writes anything, and what stands around it anew.
func (t *target) write(b []byte, at int64) error {
	from, to := at/t.align*t.align, (at+int64(len(b))+t.align-1)/t.align*t.align
	all := aligned(int(to - from))
	if from != at || to != at+int64(len(b)) {
		if _, err := t.ReadAt(all, from); err != nil {
			return err
		}
	}
	copy(all[at-from:], b)
	return t.writeAligned(all, from)
}
