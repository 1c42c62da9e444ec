package blob

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

// newPrefix begins the names of blobs whose digest is not known yet.
const newPrefix = "new-"

// Writer writes a blob whose digest comes out at its end. Commit or Abort ends it;
// Abort after Commit does nothing.
type Writer struct {
	s     *Store
	f     *os.File
	sum   hash.Hash
	size  int64
	ended bool
}

var _ io.Writer = (*Writer)(nil)

// Create begins a blob.
func (s *Store) Create() (*Writer, error) {
	f, err := os.CreateTemp(s.ingest(), newPrefix)
	if err != nil {
		return nil, s.full(err, 1)
	}
	return &Writer{s: s, f: f, sum: sha256.New()}, nil
}

// Write implements io.Writer. Error: *Full.
func (w *Writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	return n, w.s.full(err, int64(len(p)-n))
}

// Commit makes the blob visible and durable. Error: *Full.
func (w *Writer) Commit() (Digest, int64, error) {
	if w.ended {
		return "", 0, errors.New("the blob was ended already")
	}
	d := sumOf(w.sum)
	err := errors.Join(w.f.Sync(), w.f.Close())
	w.ended = true
	if err == nil {
		err = w.s.publish(w.f.Name(), d, w.size)
	}
	if err != nil {
		return "", 0, errors.Join(w.s.full(fmt.Errorf("write a blob: %w", err), w.size), os.Remove(w.f.Name()))
	}
	return d, w.size, nil
}

// Abort leaves nothing behind.
func (w *Writer) Abort() error {
	if w.ended {
		return nil
	}
	w.ended = true
	return errors.Join(w.f.Close(), os.Remove(w.f.Name()))
}

// Put keeps bytes that are in memory.
func (s *Store) Put(b []byte) (Digest, error) {
	d := Of(b)
	if _, err := s.Size(d); err == nil {
		return d, nil
	}
	w, err := s.Create()
	if err != nil {
		return "", err
	}
	if _, err := w.Write(b); err != nil {
		return "", errors.Join(err, w.Abort())
	}
	_, _, err = w.Commit()
	return d, err
}

// Size is how many bytes were written so far.
func (w *Writer) Size() int64 { return w.size }
