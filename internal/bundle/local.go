package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rackreach/rackreach/internal/blob"
)

// local is a layout that is read where it is.
type local struct {
	name string
	// file reads one of the small files of a layout, at most so many bytes and one.
	file  func(name string) ([]byte, error)
	open  func(d blob.Digest) (io.ReadSeekCloser, error)
	close func() error
}

var _ Local = (*local)(nil)

// OpenLocal opens a directory or a tar to be read. It locks nothing: what it has
// opened stays readable, whatever is done to the layout meanwhile.
func OpenLocal(path string) (Local, error) {
	i, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is not there: give a bundle's directory or tar, or HOST/NAME:RELEASE of a registry", path)
	case err != nil:
		return nil, err
	}
	var l *local
	if i.IsDir() {
		l = openDir(path)
	} else if l, err = openTar(path); err != nil {
		return nil, err
	}
	b, err := l.file("oci-layout")
	if err == nil {
		err = parseLayoutFile(b)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is no bundle: it has no file oci-layout. Next: rackreach bundle init makes one")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), l.Close())
	}
	return l, nil
}

func openDir(dir string) *local {
	return &local{name: dir, close: func() error { return nil },
		file: func(name string) ([]byte, error) {
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
			return b, errors.Join(err, f.Close())
		},
		open: func(d blob.Digest) (io.ReadSeekCloser, error) {
			f, err := os.Open(filepath.Join(dir, "blobs", "sha256", d.Hex()))
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("%s: %w", d, blob.ErrNone)
			} else if err != nil {
				return nil, err // not a nil *os.File
			}
			return f, nil
		}}
}

func (l *local) String() string { return l.name }
func (l *local) Close() error   { return l.close() }

// Refs implements Place.
func (l *local) Refs(context.Context) ([]Ref, error) {
	b, err := l.file("index.json")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name, err)
	}
	refs, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name, err)
	}
	return refs, nil
}

// Referrers implements Place: a layout has no table of them.
func (l *local) Referrers(ctx context.Context, to Ref) (out []Ref, err error) {
	refs, err := l.Refs(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range refs {
		if r.Tag != "" || r.Size > maxSignature || len(out) == maxSignatures {
			continue
		}
		b, err := manifest(ctx, l, r, maxSignature)
		if err != nil {
			continue // it vouches for nothing
		}
		if m, err := parseManifest(b); err == nil && m.Subject != nil && blob.Digest(m.Subject.Digest) == to.Digest {
			out = append(out, r)
		}
	}
	return out, nil
}

// Open implements Local.
func (l *local) Open(d blob.Digest) (io.ReadSeekCloser, error) {
	if _, err := blob.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	f, err := l.open(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.name, err)
	}
	return f, nil
}

// Fetch implements blob.Source.
func (l *local) Fetch(_ context.Context, d blob.Digest, _, from int64) (io.ReadCloser, error) {
	f, err := l.Open(d)
	if err != nil {
		return nil, &blob.Final{Err: err}
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
