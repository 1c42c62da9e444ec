package bundle

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/rack"
)

// Below lists the artifacts of a folder by what follows its name.
func (r *Release) Below(folder string) (out []string) {
	for _, a := range r.Artifacts {
		if rest, ok := strings.CutPrefix(a.Name, folder+"/"); ok {
			out = append(out, rest)
		}
	}
	return out
}

// Below lists the artifacts of a folder by what follows its name.
func (x *Images) Below(folder string) []string { return x.b.Below(folder) }

// ReadArtifact is the whole of a small artifact, held against its digest.
func (b *Bundle) ReadArtifact(ctx context.Context, name string, most int64) ([]byte, error) {
	a, ok := b.Artifact(name)
	if !ok {
		_, err := b.Describe(name) // says what there is
		return nil, err
	}
	text, err := manifest(ctx, b.Place, Ref{Digest: a.Digest, Size: a.Size}, most)
	if err != nil {
		return nil, fmt.Errorf("artifact %s: %w", a.Name, err)
	}
	return text, nil
}

// FitsInstallers holds that a release has what the installers of a rack's devices
// boot from and fill in besides their images.
func (r *Release) FitsInstallers(all *rack.Rack) error {
	for i := range all.Devices {
		d := &all.Devices[i]
		x := d.Install
		if x == nil {
			continue
		}
		if x.Installer == rack.DiskImage {
			if err := r.fitsDiskImage(d); err != nil {
				return err
			}
			continue
		}
		if x.Installer == rack.ESXi && (path.Dir(d.Image) == "." || !strings.EqualFold(path.Base(d.Image), "boot.cfg")) {
			return fmt.Errorf("%s: image %s is no boot.cfg in the folder of an ESXi: add its files to the bundle, and write image: esxi-8/boot.cfg, as bundle inspect names it", d.Name, d.Image)
		}
		for _, n := range []struct {
			what, name string
			kinds      []Kind
		}{{"kernel", x.Kernel, []Kind{Kernel, BootFile}}, {"template", x.Template, []Kind{Template}}} {
			if n.name == "" {
				continue
			}
			if _, err := r.Describe(n.name); err != nil {
				return fmt.Errorf("%s: install.%s: %w", d.Name, n.what, err)
			}
			a, _ := r.Artifact(n.name)
			if !slices.Contains(n.kinds, a.Kind) || len(a.Platforms) > 0 && !slices.Contains(a.Platforms, d.Platform) {
				return fmt.Errorf("%s: install.%s: artifact %s is a %s for %s: add one of kind %s for %s to the bundle", d.Name, n.what, a.Name, a.Kind, orAll(a.Platforms), n.kinds[0], d.Platform)
			}
		}
	}
	return nil
}

// fitsDiskImage holds that a device whose image is to be written on a disk has a disk
// image, and an installer that its machine can boot.
func (r *Release) fitsDiskImage(d *rack.Device) error {
	if d.Image != "" {
		if a, ok := r.Artifact(d.Image); ok && a.Disk == nil {
			return fmt.Errorf("%s: image %s is a %s: add it to the bundle with --kind disk-image", d.Name, d.Image, a.Kind)
		}
	}
	if _, _, ok := r.Installer(d.Platform); !ok {
		return fmt.Errorf("%s: the bundle has not one pair of %s and %s for platform %s: make it by rackreach bundle build-installer (docs/images.md)", d.Name, InstallerKernel, InstallerInitramfs, d.Platform)
	}
	return nil
}

func orAll(platforms []string) string {
	if len(platforms) == 0 {
		return "all platforms"
	}
	return strings.Join(platforms, ", ")
}
