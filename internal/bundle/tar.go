package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/durable"
)

// part is where a file of a tar is.
type part struct{ at, size int64 }

// openTar learns where the files of a tar are; their bytes are read there.
func openTar(name string) (*local, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	parts, err := tarParts(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	section := func(file string) (*Section, error) {
		p, ok := parts[file]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		s, err := newSection(f, p.at, p.size)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return s, nil
	}
	l := &local{open: func(d blob.Digest) (io.ReadSeekCloser, error) {
		s, err := section(blobPath(d))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", d, blob.ErrNone)
		} else if err != nil {
			return nil, err
		}
		return s, nil
	}}
	l.reader = reader{name: name, fetch: l.fetchHere, close: func() error { return nil },
		file: func(_ context.Context, file string) ([]byte, error) {
			s, err := section(file)
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(io.LimitReader(s, maxManifest+1))
			return b, errors.Join(err, s.Close())
		}}
	return l, nil
}

func blobPath(d blob.Digest) string { return "blobs/sha256/" + d.Hex() }

// tarParts finds the files of a layout in a tar. Other files are left alone.
func tarParts(f *os.File) (map[string]part, error) {
	parts := map[string]part{}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return parts, nil
		case err != nil:
			return nil, fmt.Errorf("it is no tar that can be read in place (%s): a bundle's tar is not compressed", cut(err.Error()))
		case n == maxFiles:
			return nil, fmt.Errorf("it has more than %d files", maxFiles)
		}
		name := strings.TrimPrefix(h.Name, "./")
		wanted := name == "oci-layout" || name == "index.json"
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && hex != "" {
			if _, err := blob.ParseDigest("sha256:" + hex); err != nil {
				return nil, err
			}
			wanted = true
		}
		if !wanted {
			continue
		}
		_, twice := parts[name]
		switch {
		case h.Typeflag != tar.TypeReg || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "":
			return nil, fmt.Errorf("%s is not stored as a plain file", path.Base(name))
		case twice:
			return nil, fmt.Errorf("%s stands there twice", path.Base(name))
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		parts[name] = part{at, h.Size}
	}
}

// WriteTar writes releases of a local place, with their signatures, as a tar; it
// stands there whole or not at all. The same releases make the same bytes.
func WriteTar(ctx context.Context, to string, bundles []*Bundle) (err error) {
	files, refs, err := closure(ctx, bundles)
	if err != nil {
		return err
	}
	index, err := encodeIndex(refs)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*.new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", to, blob.DiskFull(filepath.Dir(to), err))
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	w := tar.NewWriter(f)
	err = errors.Join(tarFile(ctx, w, "oci-layout", int64(len(layoutFile)), bytes.NewReader(layoutFile)), tarFile(ctx, w, "index.json", int64(len(index)), bytes.NewReader(index)))
	if err != nil {
		return err
	}
	for _, x := range files {
		src := newStream(ctx, x.from, x.Blob)
		if err := errors.Join(tarFile(ctx, w, blobPath(x.Digest), x.Size, src), src.Close()); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(f.Name(), to), f.Close()); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(to))
}

// tarFile writes one file; nothing of its header depends on this machine.
func tarFile(ctx context.Context, w *tar.Writer, name string, size int64, r io.Reader) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, Format: tar.FormatUnknown}); err != nil {
		return err
	}
	n, err := io.Copy(w, &untilDone{ctx, io.LimitReader(r, size)})
	if err == nil && n < size {
		err = fmt.Errorf("%s ends after %d of %d bytes: %w", path.Base(name), n, size, io.ErrUnexpectedEOF)
	}
	return err
}

// untilDone ends reading when its context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}
