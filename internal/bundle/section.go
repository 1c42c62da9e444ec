package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Section is a part of a file that is read as a file of its own. It has the file to
// itself; the file's offset is that of the next byte, so that whoever knows of it may
// let the kernel send from File.
type Section struct {
	f          *os.File
	base, size int64
	at         int64 // of the next byte, from base
}

var _ io.ReadSeekCloser = (*Section)(nil)

func newSection(f *os.File, base, size int64) (*Section, error) {
	_, err := f.Seek(base, io.SeekStart)
	return &Section{f: f, base: base, size: size}, err
}

// File is the file, and how many bytes of it may be read from its offset on. What is
// read of it is to be told by Seek.
func (s *Section) File() (f *os.File, left int64) { return s.f, s.size - s.at }

// Read implements io.Reader.
func (s *Section) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	n, err := s.f.Read(p[:min(int64(len(p)), s.size-s.at)])
	s.at += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (s *Section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	case io.SeekStart:
	default:
		return s.at, errors.New("seek: unknown whence")
	}
	if offset < 0 {
		return s.at, fmt.Errorf("seek to %d: %w", offset, os.ErrInvalid)
	}
	if _, err := s.f.Seek(s.base+min(offset, s.size), io.SeekStart); err != nil {
		return s.at, err
	}
	s.at = offset
	return offset, nil
}

// Close implements io.Closer.
func (s *Section) Close() error { return s.f.Close() }
