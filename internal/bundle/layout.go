package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/durable"
)

// lockWait is how long a layout that another process writes is waited for.
const lockWait = 2 * time.Second

// Layout is a directory that is written. Blobs come first, then the manifest that
// names them, then the index that names the manifest, each durable before the next.
type Layout struct {
	*local
	dir   string
	store *blob.Store
}

// Init makes a directory an empty bundle. It fails on one that is something else
// already.
func Init(ctx context.Context, dir string) (*Layout, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "oci-layout" }):
		return nil, fmt.Errorf("%s is a bundle already: rackreach bundle inspect %s shows it", dir, dir)
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !slices.Contains([]string{"blobs", "ingest", "lock", "index.json"}, e.Name())
	}):
		return nil, fmt.Errorf("%s is not empty: give a directory that is, or one that is not there yet", dir)
	}
	l, err := open(ctx, dir)
	if err != nil {
		return nil, err
	}
	index, err := encodeIndex(nil)
	if err == nil {
		err = durable.WriteShared(filepath.Join(dir, "index.json"), index)
	}
	if err == nil {
		_, err = l.store.Put([]byte("{}"))
	}
	if err == nil { // the last: it makes the directory a bundle
		err = durable.WriteShared(filepath.Join(dir, "oci-layout"), layoutFile)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the bundle %s: %w", dir, blob.DiskFull(dir, err)), l.Close())
	}
	return l, nil
}

// OpenLayout opens a bundle's directory to be written. Errors: blob.ErrInUse,
// wrapped, and others.
func OpenLayout(ctx context.Context, dir string) (*Layout, error) {
	if i, err := os.Stat(dir); err == nil && !i.IsDir() {
		return nil, fmt.Errorf("%s is a file: a tar is written whole, not changed. Next: rackreach bundle pull %s DIR, change that, rackreach bundle pull DIR TAR", dir, dir)
	}
	p, err := OpenLocal(dir)
	if err != nil {
		return nil, err
	}
	if err := p.Close(); err != nil {
		return nil, err
	}
	return open(ctx, dir)
}

func open(ctx context.Context, dir string) (*Layout, error) {
	s, err := blob.OpenStore(ctx, dir, blob.Options{Shared: true, Wait: lockWait})
	if err != nil {
		return nil, err
	}
	return &Layout{openDir(dir), dir, s}, nil
}

// Close lets others write the layout.
func (l *Layout) Close() error { return l.store.Close() }

// SetRelease makes a release what it is now. The one that had its name goes out of
// the index, with its signatures.
func (l *Layout) SetRelease(ctx context.Context, r *Release) (*Bundle, error) {
	m, err := r.Manifest()
	if err != nil {
		return nil, err
	}
	if _, err := l.store.Put(m); err != nil {
		return nil, err
	}
	ref := Ref{blob.Of(m), int64(len(m)), r.Name}
	if err := l.refer(ctx, ref); err != nil {
		return nil, err
	}
	return &Bundle{r, ref, l}, nil
}

// refer puts a manifest into the index. A release takes the place of the one that had
// its name; signatures of manifests that are in the index no more go with them.
func (l *Layout) refer(ctx context.Context, add ...Ref) error {
	refs, err := l.Refs(ctx)
	if err != nil {
		return err
	}
	for _, a := range add {
		refs = slices.DeleteFunc(refs, func(r Ref) bool { return r.Digest == a.Digest && r.Tag == a.Tag || a.Tag != "" && r.Tag == a.Tag })
		refs = append(refs, a)
	}
	if refs, err = l.current(ctx, refs); err != nil {
		return err
	}
	if len(refs) > maxReleases {
		return fmt.Errorf("%s: more than %d manifests: make another bundle, or drop releases (rackreach bundle gc --drop RELEASE)", l.dir, maxReleases)
	}
	return l.writeIndex(refs)
}

// current leaves out signatures of what is not in the index.
func (l *Layout) current(ctx context.Context, refs []Ref) (out []Ref, err error) {
	for _, r := range refs {
		if r.Tag == "" && r.Size <= maxSignature {
			b, err := manifest(ctx, l, r, maxSignature)
			if err != nil {
				if errors.Is(err, blob.ErrNone) || errors.Is(err, blob.ErrMismatch) {
					continue
				}
				return nil, err
			}
			if m, err := parseManifest(b); err == nil && m.Subject != nil && !slices.ContainsFunc(refs, func(o Ref) bool { return o.Digest == blob.Digest(m.Subject.Digest) }) {
				continue
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func (l *Layout) writeIndex(refs []Ref) error {
	b, err := encodeIndex(refs)
	if err != nil {
		return err
	}
	return blob.DiskFull(l.dir, durable.WriteShared(filepath.Join(l.dir, "index.json"), b))
}
