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

// reader is a layout that is read, wherever it is.
type reader struct {
	name string
	// file reads one of the small files of a layout, at most maxManifest bytes and one.
	// Error: fs.ErrNotExist, wrapped.
	file  func(ctx context.Context, name string) ([]byte, error)
	fetch func(ctx context.Context, d blob.Digest, size, from int64) (io.ReadCloser, error)
	close func() error
}

var _ Place = (*reader)(nil)

// local is a layout that is read where it is.
type local struct {
	reader
	open func(d blob.Digest) (io.ReadSeekCloser, error)
}

var _ Local = (*local)(nil)

// check holds that there is a layout.
func (r *reader) check(ctx context.Context) error {
	b, err := r.file(ctx, "oci-layout")
	var n *notThere
	if err == nil {
		err = parseLayoutFile(b)
	} else if errors.As(err, &n) {
		err = fmt.Errorf("there is no bundle: %w", err)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = errors.New("it is no bundle: it has no file oci-layout. Next: rackreach bundle init makes one")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	return nil
}

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
	if err := l.check(context.Background()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func openDir(dir string) *local {
	l := &local{open: func(d blob.Digest) (io.ReadSeekCloser, error) {
		f, err := os.Open(filepath.Join(dir, "blobs", "sha256", d.Hex()))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", d, blob.ErrNone)
		} else if err != nil {
			return nil, err // not a nil *os.File
		}
		return f, nil
	}}
	l.reader = reader{name: dir, fetch: l.fetchHere, close: func() error { return nil },
		file: func(_ context.Context, name string) ([]byte, error) {
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
			return b, errors.Join(err, f.Close())
		}}
	return l
}

func (r *reader) String() string { return r.name }
func (r *reader) Close() error   { return r.close() }

// Fetch implements blob.Source.
func (r *reader) Fetch(ctx context.Context, d blob.Digest, size, from int64) (io.ReadCloser, error) {
	return r.fetch(ctx, d, size, from)
}

// Refs implements Place.
func (r *reader) Refs(ctx context.Context) ([]Ref, error) {
	b, err := r.file(ctx, "index.json")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	refs, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	return refs, nil
}

// Referrers implements Place: a layout has no table of them.
func (r *reader) Referrers(ctx context.Context, to Ref) (out []Ref, err error) {
	refs, err := r.Refs(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range refs {
		if x.Tag != "" || x.Size > maxSignature || len(out) == maxSignatures {
			continue
		}
		b, err := manifest(ctx, r, x, maxSignature)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue // it vouches for nothing
		}
		if m, err := parseManifest(b); err == nil && m.Subject != nil && blob.Digest(m.Subject.Digest) == to.Digest {
			out = append(out, x)
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

func (l *local) fetchHere(_ context.Context, d blob.Digest, _, from int64) (io.ReadCloser, error) {
	f, err := l.Open(d)
	if err != nil {
		return nil, &blob.Final{Err: err}
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
