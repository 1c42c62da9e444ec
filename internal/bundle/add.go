package bundle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

// Input is a file that becomes an artifact, or a directory whose files do.
type Input struct {
	Path      string
	Name      string // of the artifact; of a directory: what its files' names begin with
	Kind      Kind
	Platforms []string // in any order
	FrameSize int64    // of a disk image, raw bytes; 0: frames.DefaultSize
}

// Unfit says of something that was given that no attempt will make it do. Its text
// says what to give instead.
type Unfit struct{ err error }

// Error says what was given, and why it does not do.
func (u *Unfit) Error() string { return u.err.Error() }

// Unwrap is what was wrong.
func (u *Unfit) Unwrap() error { return u.err }

func unfitf(format string, a ...any) error { return &Unfit{fmt.Errorf(format, a...)} }

// Add keeps what inputs hold and gives the artifacts, which are in no release yet. It
// fails on files that are not what their kind says, as far as their first bytes tell,
// with an *Unfit.
func (l *Layout) Add(ctx context.Context, inputs ...Input) ([]Artifact, error) {
	var out []Artifact
	for _, in := range inputs {
		in.Platforms = slices.Compact(slices.Sorted(slices.Values(in.Platforms)))
		files, err := in.files()
		if err != nil {
			return nil, err
		}
		if len(out)+len(files) > maxArtifacts {
			return nil, fmt.Errorf("%s: with it there are %d artifacts, at most %d are possible", in.Path, len(out)+len(files), maxArtifacts)
		}
		for _, f := range files {
			a, err := l.add(ctx, f)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// files are the plain files of an input, sorted.
func (in Input) files() (out []Input, err error) {
	i, err := os.Stat(in.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unfitf("%s: no such file or folder: give the path of what is to be added", in.Path)
	}
	if err != nil {
		return nil, err
	}
	if !i.IsDir() {
		return []Input{in}, nil
	}
	if in.Kind == DiskImage {
		return nil, unfitf("%s is a directory: a disk image is one file", in.Path)
	}
	err = filepath.WalkDir(in.Path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return unfitf("%s is no plain file: put a copy of what it stands for in its place, or remove it", path)
		case len(out) == maxArtifacts:
			return fmt.Errorf("%s has more than %d files", in.Path, maxArtifacts)
		}
		rel, err := filepath.Rel(in.Path, path)
		if err != nil {
			return err
		}
		f := in
		f.Path, f.Name = path, strings.Trim(in.Name, "/")+"/"+filepath.ToSlash(rel)
		out = append(out, f)
		return nil
	})
	if err == nil && len(out) == 0 {
		err = unfitf("%s holds no files", in.Path)
	}
	return out, err
}

func (l *Layout) add(ctx context.Context, in Input) (_ Artifact, err error) {
	a := Artifact{Name: in.Name, Kind: in.Kind, Platforms: in.Platforms}
	if in.Kind == DiskImage {
		a.Disk = &Disk{RawSize: 1, FramesSize: 1} // so that check says what else is wrong, before an hour of work
	}
	if err := a.check(); err != nil {
		return a, &Unfit{err}
	}
	f, err := os.Open(in.Path)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return a, err
	}
	if err := fits(in.Kind, head[:n]); err != nil {
		return a, &Unfit{err}
	}
	r := &untilDone{ctx, io.MultiReader(bytes.NewReader(head[:n]), f)}
	w, err := l.store.Create()
	if err != nil {
		return a, err
	}
	var x frames.Index
	if in.Kind == DiskImage {
		x, err = frames.Write(ctx, w, r, in.FrameSize)
		if err == nil && x.RawSize%frames.Sector != 0 {
			err = unfitf("it has %d bytes, which no disk has: a raw disk image is a multiple of %d", x.RawSize, frames.Sector)
		}
	} else if _, err = io.Copy(w, r); err == nil && w.Size() > maxBlob {
		err = unfitf("it is larger than %s", blob.Bytes(maxBlob))
	}
	if err != nil {
		return a, errors.Join(err, w.Abort())
	}
	if a.Digest, a.Size, err = w.Commit(); err != nil || in.Kind != DiskImage {
		return a, err
	}
	index, err := x.Encode()
	if err != nil {
		return a, err
	}
	a.Disk = &Disk{RawDigest: blob.Digest(x.RawDigest), RawSize: x.RawSize, FramesSize: int64(len(index))}
	a.Disk.Frames, err = l.store.Put(index)
	return a, err
}

// signs are the first bytes of files that are no raw disk images, though people have
// them.
var signs = []struct{ head, what string }{
	{"QFI\xfb", "a qcow2 image: qemu-img convert -O raw FILE FILE.raw makes it raw"},
	{"KDMV", "a VMDK: qemu-img convert -O raw FILE FILE.raw makes it raw"},
	{"conectix", "a VHD: qemu-img convert -O raw FILE FILE.raw makes it raw"},
	{"vhdxfile", "a VHDX: qemu-img convert -O raw FILE FILE.raw makes it raw"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd: zstd -d FILE unpacks it"},
	{"\xfd7zXZ", "compressed with xz: xz -dk FILE unpacks it"},
	{"\x1f\x8b", "compressed with gzip: gzip -dk FILE unpacks it"},
	{"BZh", "compressed with bzip2: bzip2 -dk FILE unpacks it"},
	{"PK\x03\x04", "a ZIP: unzip FILE unpacks it"},
}

// fits holds that a file can be of a kind.
func fits(k Kind, head []byte) error {
	if k == NOSInstaller && !bytes.HasPrefix(head, []byte("#!")) {
		return errors.New("it is no installer for ONIE: those begin with #!, since ONIE runs them as a shell script")
	}
	if len(head) == 0 && (k == DiskImage || k == Kernel || k == Initramfs) {
		return fmt.Errorf("the file is empty, and no machine boots a %s that is: look how it was made", k)
	}
	if k != DiskImage {
		return nil
	}
	for _, s := range signs {
		if bytes.HasPrefix(head, []byte(s.head)) {
			return fmt.Errorf("it is no raw disk image but %s", s.what)
		}
	}
	return nil
}

// Build makes the release of a bundle file in a directory or, by a name that ends in
// .tar, as a tar.
func Build(ctx context.Context, f *File, to string) (_ *Bundle, err error) {
	dir := to
	if strings.HasSuffix(to, ".tar") {
		if dir, err = os.MkdirTemp(filepath.Dir(to), "."+filepath.Base(to)+".*.new"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	l, err := openOrInit(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	artifacts, err := l.Add(ctx, f.Inputs...)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(artifacts, func(a, b Artifact) int { return cmp.Compare(a.Name, b.Name) })
	b, err := l.SetRelease(ctx, &Release{Name: f.Name, Artifacts: artifacts})
	if err != nil || dir == to {
		return b, err
	}
	return b, WriteTar(ctx, to, []*Bundle{b})
}

// With is a release with more artifacts; those of the same name take the place of
// what it had. The sum is sorted.
func (r *Release) With(artifacts ...Artifact) *Release {
	out := &Release{Name: r.Name, Artifacts: slices.Clone(r.Artifacts)}
	for _, a := range artifacts {
		out.Artifacts = slices.DeleteFunc(out.Artifacts, func(o Artifact) bool { return o.Name == a.Name })
		out.Artifacts = append(out.Artifacts, a)
	}
	slices.SortFunc(out.Artifacts, func(a, b Artifact) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
