package bundle

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/job"
	"github.com/rackreach/rackreach/internal/rack"
)

// Images are the artifacts of a release by their names, as plans describe them and
// boot services serve them. What a plan needs is prepared first: nothing else is
// opened.
type Images struct {
	b       *Bundle
	cache   *blob.Store // nil: the place is here, and its blobs are served where they are
	checked *Checked
}

// NewImages makes images of a release. One that is not on this machine needs a cache,
// which is the caller's.
func NewImages(b *Bundle, cache *blob.Store) (*Images, error) {
	if _, here := b.Place.(Local); here {
		return &Images{b: b}, nil
	}
	if cache == nil {
		return nil, fmt.Errorf("%s is not on this machine, and there is no cache for it", b.Place)
	}
	return &Images{b: b, cache: cache}, nil
}

// Remember makes Prepare leave out what was read before by images with the same memory.
func (x *Images) Remember(c *Checked) { x.checked = c }

// Describe gives digest and size of an artifact, as it is served.
func (r *Release) Describe(name string) (rack.Image, error) {
	a, ok := r.Artifact(name)
	if !ok {
		var names []string
		for _, a := range r.Artifacts {
			names = append(names, a.Name)
		}
		return rack.Image{}, fmt.Errorf("release %s has no artifact %.*q: it has %s. Next: write one of them as image: in the rack file, or rackreach bundle add it", r.Name, maxShown, name, some(names))
	}
	return rack.Image{Name: a.Name, Digest: string(a.Digest), Size: a.Size}, nil
}

// Fits holds that a release has images as they were planned, for the platforms of
// their devices. The first that it has not is its error.
func (r *Release) Fits(p *rack.Plan) error {
	for _, d := range p.Devices {
		i, err := r.Describe(d.Image.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		if rack.PlannedImage(i) != d.Image {
			return fmt.Errorf("%s: %s of release %s is %.19s…, and the plan says %.19s…: use the bundle that was planned with, or plan again", d.Name, i.Name, r.Name, i.Digest, d.Image.Digest)
		}
		a, _ := r.Artifact(d.Image.Name)
		if len(a.Platforms) > 0 && !slices.Contains(a.Platforms, d.Platform) {
			return fmt.Errorf("%s: %s is for %s, and the device is %s: name another image in the rack file", d.Name, a.Name, strings.Join(a.Platforms, ", "), d.Platform)
		}
	}
	return nil
}

// Choose finds the release that fits a plan: the named one, or with an empty name the
// first of all that does.
func Choose(ctx context.Context, p Place, name string, plan *rack.Plan) (*Bundle, error) {
	names := []string{name}
	if name == "" {
		refs, err := p.Refs(ctx)
		if err != nil {
			return nil, err
		}
		names = nil
		for _, r := range refs {
			if r.Tag != "" {
				names = append(names, r.Tag)
			}
		}
		slices.Sort(names)
		slices.Reverse(names) // the newest first, as people name releases
		if len(names) < 2 {
			names = []string{name} // Find says what is wrong with it
		}
	}
	var errs []error
	for _, n := range names {
		b, err := Find(ctx, p, n)
		if err == nil {
			err = b.Fits(plan)
		}
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 1 {
		return nil, fmt.Errorf("%s: %w", p, errs[0])
	}
	return nil, fmt.Errorf("%s: none of its %d releases fits the plan; the newest: %w", p, len(names), errs[0])
}

// Needs lists the artifacts that a plan takes: its images, and what else its platforms
// boot from and fill in, by name.
func (r *Release) Needs(plan *rack.Plan) (out []Artifact) {
	for _, a := range r.Artifacts {
		need := slices.ContainsFunc(plan.Devices, func(d rack.PlannedDevice) bool {
			if a.Kind == DiskImage || a.Kind == NOSInstaller {
				return d.Image.Name == a.Name
			}
			return d.Image.Name == a.Name || len(a.Platforms) == 0 || slices.Contains(a.Platforms, d.Platform)
		})
		if need {
			out = append(out, a)
		}
	}
	return out
}

// Release is what the images are of.
func (x *Images) Release() *Release { return x.b.Release }

// Open opens an artifact by its name; the caller closes it. Files stay files, so that
// the kernel can send them.
func (x *Images) Open(name string) (io.ReadSeekCloser, rack.Image, error) {
	i, err := x.b.Describe(name)
	if err != nil {
		return nil, i, err
	}
	f, err := x.open(blob.Digest(i.Digest))
	if err != nil {
		return nil, i, fmt.Errorf("image %s: %w", name, err)
	}
	return f, i, nil
}

// Disk gives what a disk image holds, and its index of frames; ok is false for any
// other artifact.
func (x *Images) Disk(name string) (raw, index job.Blob, ok bool) {
	a, ok := x.b.Artifact(name)
	if !ok || a.Disk == nil {
		return raw, index, false
	}
	return job.Blob{Digest: string(a.Disk.RawDigest), Size: a.Disk.RawSize}, job.Blob{Digest: string(a.Disk.Frames), Size: a.Disk.FramesSize}, true
}

// The names of an installer's parts, of which a release has one pair for a platform;
// folders before them tell several pairs apart.
const (
	InstallerKernel    = "installer-kernel"
	InstallerInitramfs = "installer-initramfs"
)

// Installer names the kernel and the initramfs that machines of a platform boot to be
// installed; ok is false when there is none, or more than one.
func (x *Images) Installer(platform string) (kernel, initramfs string, ok bool) {
	return x.b.Installer(platform)
}

// Installer names the kernel and the initramfs that machines of a platform boot to be
// installed; ok is false when there is none, or more than one.
func (r *Release) Installer(platform string) (kernel, initramfs string, ok bool) {
	only := func(kind Kind, base string) (name string, n int) {
		for _, a := range r.For(platform, kind) {
			if path.Base(a.Name) == base {
				name, n = a.Name, n+1
			}
		}
		return name, n
	}
	kernel, kernels := only(Kernel, InstallerKernel)
	initramfs, initramfses := only(Initramfs, InstallerInitramfs)
	return kernel, initramfs, kernels == 1 && initramfses == 1
}

// OpenFrames opens the index of frames of a disk image, as it is kept (frames.Parse);
// the caller closes it.
func (x *Images) OpenFrames(name string) (io.ReadSeekCloser, error) {
	a, ok := x.b.Artifact(name)
	if !ok || a.Disk == nil {
		return nil, fmt.Errorf("release %s has no disk image %.*q", x.b.Name, maxShown, name)
	}
	f, err := x.open(a.Disk.Frames)
	if err != nil {
		return nil, fmt.Errorf("frames of image %s: %w", name, err)
	}
	return f, nil
}

func (x *Images) open(d blob.Digest) (io.ReadSeekCloser, error) {
	if x.cache == nil {
		l, ok := x.b.Place.(Local)
		if !ok {
			return nil, fmt.Errorf("%s is not on this machine", x.b.Place)
		}
		return l.Open(d)
	}
	f, err := x.cache.Open(d)
	if err != nil {
		return nil, err // not a nil *os.File
	}
	return f, nil
}
