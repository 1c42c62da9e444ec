package bundle

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

// Damage is what is wrong with the blobs of a release.
type Damage struct {
	Artifact string
	Err      error
}

func (d Damage) Error() string { return fmt.Sprintf("artifact %s: %v", d.Artifact, d.Err) }

// Unwrap gives what is wrong.
func (d Damage) Unwrap() error { return d.Err }

// CheckBlobs reads every artifact and holds that it is what the release says; disk
// images are decoded too, and their frames held against their index. It tells of
// every artifact that is not; err is about reading itself.
func (b *Bundle) CheckBlobs(ctx context.Context) (damaged []Damage, err error) {
	for _, a := range b.Artifacts {
		var bad error
		if a.Disk == nil {
			bad = b.checkBlob(ctx, Blob{a.Digest, a.Size})
		} else {
			bad = b.checkDisk(ctx, a)
		}
		switch {
		case ctx.Err() != nil:
			return damaged, ctx.Err()
		case errors.Is(bad, blob.ErrMismatch), errors.Is(bad, blob.ErrNone), errors.Is(bad, frames.ErrAltered), errors.Is(bad, errIndex):
			damaged = append(damaged, Damage{a.Name, bad})
		case bad != nil:
			return damaged, fmt.Errorf("%s: artifact %s: %w", b.Place, a.Name, bad)
		}
	}
	return damaged, nil
}

// errIndex says that an index of frames is not the one of its image.
var errIndex = errors.New("its index of frames does not fit it")

func (b *Bundle) checkBlob(ctx context.Context, x Blob) error { return checkBlob(ctx, b.Place, x) }

// checkBlob reads a blob, and holds that it is what its digest says. Errors:
// blob.ErrMismatch, wrapped; those of the place.
func checkBlob(ctx context.Context, from blob.Source, x Blob) (err error) {
	f := newStream(ctx, from, x)
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := newChecker(x)
	if _, err := io.Copy(sum, io.LimitReader(f, x.Size+1)); err != nil {
		return err
	}
	return sum.check()
}

func (b *Bundle) checkDisk(ctx context.Context, a Artifact) (err error) {
	x, err := b.Frames(ctx, a)
	if err != nil {
		return err
	}
	f := newStream(ctx, b.Place, Blob{a.Digest, a.Size})
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := newChecker(Blob{a.Digest, a.Size})
	if err := frames.Verify(ctx, x, io.TeeReader(io.LimitReader(f, a.Size+1), sum)); err != nil {
		return err
	}
	return sum.check()
}

// Frames is the index of a disk image, held against what the manifest says of it.
func (b *Bundle) Frames(ctx context.Context, a Artifact) (frames.Index, error) {
	text, err := manifest(ctx, b.Place, Ref{Digest: a.Disk.Frames, Size: a.Disk.FramesSize}, frames.MaxIndex)
	if err != nil {
		return frames.Index{}, fmt.Errorf("index of frames: %w", err)
	}
	x, err := frames.Parse(text)
	if err != nil {
		return frames.Index{}, fmt.Errorf("%w: %w", errIndex, err)
	}
	if x.RawDigest != string(a.Disk.RawDigest) || x.RawSize != a.Disk.RawSize || x.Size() != a.Size {
		return frames.Index{}, errIndex
	}
	return x, nil
}

// checker is a hash and a count.
type checker struct {
	want Blob
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
	n int64
}

func newChecker(b Blob) *checker { return &checker{want: b, sum: sha256.New()} }

func (c *checker) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.sum.Write(p)
}

func (c *checker) check() error {
	got := blob.Digest(fmt.Sprintf("sha256:%x", c.sum.Sum(nil)))
	if c.n != c.want.Size || got != c.want.Digest {
		return fmt.Errorf("it should be %d bytes with %s, and is %d with %s: %w", c.want.Size, c.want.Digest.Short(), c.n, got.Short(), blob.ErrMismatch)
	}
	return nil
}
