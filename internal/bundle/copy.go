package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rackreach/rackreach/internal/blob"
)

// Pull copies a release with its signatures into a layout. What broke off goes on at
// the next call; the release is there once all of it is.
func (l *Layout) Pull(ctx context.Context, b *Bundle) error {
	files, refs, err := closure(ctx, []*Bundle{b})
	if err != nil {
		return err
	}
	for _, x := range files {
		if err := l.store.Pull(ctx, x.Digest, x.Size, x.from); err != nil {
			return fmt.Errorf("pull %s from %s: %w", b.Name, b.Place, err)
		}
	}
	return l.refer(ctx, refs...)
}

// PullTo copies a release to a directory, which is made where there is none, or to a
// tar, which is replaced; a path that ends in .tar is one. What broke off on its way
// into a tar waits in TAR.part. Error: *Unfit where TAR is a directory.
func PullTo(ctx context.Context, b *Bundle, to string) error {
	if !strings.HasSuffix(to, ".tar") {
		return pullDir(ctx, b, to)
	}
	if i, err := os.Stat(to); err == nil && i.IsDir() {
		return unfitf("%s is a directory, and what ends in .tar is made a tar: give another name", to)
	}
	if _, here := b.Place.(Local); here {
		return WriteTar(ctx, to, []*Bundle{b})
	}
	part := to + ".part"
	if err := pullDir(ctx, b, part); err != nil {
		return err
	}
	p, err := OpenLocal(part)
	if err != nil {
		return err
	}
	here, err := Find(ctx, p, b.Name)
	if err == nil {
		err = WriteTar(ctx, to, []*Bundle{here})
	}
	if err = errors.Join(err, p.Close()); err != nil {
		return err
	}
	return os.RemoveAll(part)
}

func pullDir(ctx context.Context, b *Bundle, dir string) (err error) {
	l, err := openOrInit(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return l.Pull(ctx, b)
}

// openOrInit opens a layout, or makes it.
func openOrInit(ctx context.Context, dir string) (*Layout, error) {
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err == nil {
		return OpenLayout(ctx, dir)
	}
	return Init(ctx, dir)
}

var _ blob.Source = Place(nil)
