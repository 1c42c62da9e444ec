package bundle

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

// Kind is what an artifact is for.
type Kind string

// The kinds of artifacts.
const (
	BootFile     Kind = "boot-file" // boot loaders and what they fetch
	Kernel       Kind = "kernel"
	Initramfs    Kind = "initramfs"
	NOSInstaller Kind = "nos-installer" // of a switch's operating system, for ONIE
	DiskImage    Kind = "disk-image"    // raw; kept as zstd in frames
	Template     Kind = "template"      // of an answer file
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{BootFile, Kernel, Initramfs, NOSInstaller, DiskImage, Template} }

// diskImage is the media type of a disk image.
const diskImage = "application/vnd.rackreach.disk-image.v1+zstd"

// mediaType is that of a layer.
func (k Kind) mediaType() string {
	if k == DiskImage {
		return diskImage
	}
	return "application/vnd.rackreach." + string(k) + ".v1"
}

// Artifact is one part of a release.
type Artifact struct {
	Name      string
	Kind      Kind
	Platforms []string // sorted; none: all
	Digest    blob.Digest
	Size      int64 // bytes, as it is kept and served
	Disk      *Disk // of a disk image
}

// Disk is what an artifact of kind DiskImage holds.
type Disk struct {
	RawDigest  blob.Digest
	RawSize    int64       // bytes
	Frames     blob.Digest // of its index (internal/frames)
	FramesSize int64       // bytes of the index
}

var (
	artifactName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$`)
	platformName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
	releaseName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`) // a tag (distribution-spec, Pulling manifests)
)

// checkName holds that a name is one that is safe as a path, a URL and a word on a
// terminal.
func checkName(what, name string, is *regexp.Regexp, fix string) error {
	if len(name) > maxName || !is.MatchString(name) {
		return fmt.Errorf("%s %.*q: write %s, at most %d bytes", what, maxShown, name, fix, maxName)
	}
	return nil
}

// CheckRelease holds that a name can be that of a release.
func CheckRelease(name string) error {
	return checkName("release", name, releaseName, "letters, digits, and . _ - inside")
}

// check holds that an artifact can be one.
func (a *Artifact) check() error {
	if err := checkName("artifact", a.Name, artifactName, "letters, digits, and . _ + - inside, with / between folders"); err != nil {
		return err
	}
	if !slices.Contains(Kinds(), a.Kind) {
		return fmt.Errorf("artifact %s: %.*q is no kind: write one of %s", a.Name, maxShown, a.Kind, kindList())
	}
	if len(a.Platforms) > maxPlatforms {
		return fmt.Errorf("artifact %s: it is for %d platforms, at most %d are possible", a.Name, len(a.Platforms), maxPlatforms)
	}
	for i, p := range a.Platforms {
		if err := checkName("artifact "+a.Name+": platform", p, platformName, "lower case letters, digits and -"); err != nil {
			return err
		}
		if i > 0 && a.Platforms[i-1] >= p {
			return fmt.Errorf("artifact %s: its platforms are not sorted, or one stands there twice", a.Name)
		}
	}
	if a.Size < 0 || a.Size > maxBlob {
		return fmt.Errorf("artifact %s: %d bytes: it must be 0 to %d", a.Name, a.Size, int64(maxBlob))
	}
	if (a.Kind == DiskImage) != (a.Disk != nil) {
		return fmt.Errorf("artifact %s: a disk image, and nothing else, has frames", a.Name)
	}
	if d := a.Disk; d != nil && (d.RawSize <= 0 || d.RawSize > frames.MaxFrames*frames.MaxSize || d.FramesSize <= 0 || d.FramesSize > frames.MaxIndex) {
		return fmt.Errorf("artifact %s: a disk image of %d bytes with an index of %d bytes cannot be", a.Name, d.RawSize, d.FramesSize)
	}
	return nil
}

func kindList() string {
	var out []string
	for _, k := range Kinds() {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}

// Bytes is a size for people.
func Bytes(n int64) string { return blob.Bytes(n) }
