package bundle

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/durable"
)

// manifests is what tells of a release, without its artifacts: its manifest, its
// signatures, and what an index says of them.
type manifests struct {
	files []placed
	refs  []Ref
}

// words are those of the release that the images are of.
func (x *Images) words(ctx context.Context) (out manifests, err error) {
	empty := *x.b
	r := *x.b.Release
	r.Artifacts = nil
	empty.Release = &r
	out.files, out.refs, err = closure(ctx, []*Bundle{&empty})
	return out, err
}

func (r manifests) digests() (out []blob.Digest) {
	for _, f := range r.files {
		out = append(out, f.Digest)
	}
	return out
}

// keep makes the directory of a store, which has the files, a layout of the release. The
// index comes last, and stands for the one before until then.
func (r manifests) keep(s *blob.Store) error {
	index, err := encodeIndex(r.refs)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"oci-layout", layoutFile}, {"index.json", index}} {
		if err := durable.Write(filepath.Join(s.Dir(), f.name), f.text); err != nil {
			return fmt.Errorf("keep what the release says of itself: %w", blob.DiskFull(s.Dir(), err))
		}
	}
	return nil
}

// kept is the directory of a cache, read as a bundle. Nobody else fills it than Prepare.
type kept struct{ Local }

// OpenKept opens what Prepare has kept in the directory of a cache, for as long as its
// place cannot be reached.
func OpenKept(dir string) (Local, error) {
	l, err := OpenLocal(dir)
	if err != nil {
		return nil, err
	}
	return &kept{l}, nil
}
