package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/frames"
)

// Release is what a manifest says.
type Release struct {
	Name      string
	Artifacts []Artifact // by name
}

// The words of a manifest.
const (
	releaseType   = "application/vnd.rackreach.release.v1"
	kindKey       = "dev.rackreach.kind"
	platformsKey  = "dev.rackreach.platforms"
	rawDigestKey  = "dev.rackreach.raw.digest"
	rawSizeKey    = "dev.rackreach.raw.size"
	framesKey     = "dev.rackreach.frames"
	anyNewRelease = "application/vnd.rackreach.release."
)

// Artifact finds an artifact by its name.
func (r *Release) Artifact(name string) (Artifact, bool) {
	i, ok := slices.BinarySearchFunc(r.Artifacts, name, func(a Artifact, name string) int { return strings.Compare(a.Name, name) })
	if !ok {
		return Artifact{}, false
	}
	return r.Artifacts[i], true
}

// For lists what a platform has of a kind, by name.
func (r *Release) For(platform string, kind Kind) (out []Artifact) {
	for _, a := range r.Artifacts {
		if a.Kind == kind && (len(a.Platforms) == 0 || slices.Contains(a.Platforms, platform)) {
			out = append(out, a)
		}
	}
	return out
}

// Size is how many bytes the artifacts have, those that are the same counted once.
func (r *Release) Size() (n int64) {
	for _, b := range r.Blobs() {
		n += b.Size
	}
	return n
}

// Blob is a part of a bundle as it is kept.
type Blob struct {
	Digest blob.Digest
	Size   int64
}

// Blobs lists what the artifacts are kept as, indexes of frames included, each once.
func (r *Release) Blobs() []Blob {
	all := map[blob.Digest]int64{}
	for _, a := range r.Artifacts {
		for _, b := range a.blobs() {
			all[b.Digest] = b.Size
		}
	}
	out := make([]Blob, 0, len(all))
	for _, d := range slices.Sorted(maps.Keys(all)) {
		out = append(out, Blob{d, all[d]})
	}
	return out
}

// blobs lists what an artifact is kept as.
func (a *Artifact) blobs() []Blob {
	out := []Blob{{a.Digest, a.Size}}
	if a.Disk != nil {
		out = append(out, Blob{a.Disk.Frames, a.Disk.FramesSize})
	}
	return out
}

// check holds that a release can be one.
func (r *Release) check() error {
	if err := CheckRelease(r.Name); err != nil {
		return err
	}
	if len(r.Artifacts) > maxArtifacts {
		return fmt.Errorf("it has %d artifacts, at most %d are possible", len(r.Artifacts), maxArtifacts)
	}
	sizes := map[blob.Digest]int64{}
	var total int64
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		if err := a.check(); err != nil {
			return err
		}
		if i > 0 && r.Artifacts[i-1].Name >= a.Name {
			return fmt.Errorf("artifact %s: the artifacts are not sorted, or two have this name", a.Name)
		}
		for _, b := range a.blobs() {
			if n, twice := sizes[b.Digest]; twice && n != b.Size {
				return fmt.Errorf("artifact %s: %s has %d and %d bytes", a.Name, b.Digest.Short(), n, b.Size)
			} else if !twice {
				total += b.Size
			}
			sizes[b.Digest] = b.Size
		}
	}
	if total > maxTotal {
		return fmt.Errorf("it has %s, at most %s are possible", blob.Bytes(total), blob.Bytes(maxTotal))
	}
	return nil
}

// Manifest is the release as it is written; the same release makes the same bytes.
// It fails on a release that cannot be one.
func (r *Release) Manifest() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("release %.*q: %w", maxShown, r.Name, err)
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: releaseType,
		Config: emptyConfig(), Layers: []ocispec.Descriptor{}, Annotations: map[string]string{ocispec.AnnotationVersion: r.Name}}
	indexes := map[blob.Digest]int64{}
	for _, a := range r.Artifacts {
		notes := map[string]string{ocispec.AnnotationTitle: a.Name, kindKey: string(a.Kind)}
		if len(a.Platforms) > 0 {
			notes[platformsKey] = strings.Join(a.Platforms, ",")
		}
		if d := a.Disk; d != nil {
			notes[rawDigestKey], notes[rawSizeKey], notes[framesKey] = string(d.RawDigest), strconv.FormatInt(d.RawSize, 10), string(d.Frames)
			indexes[d.Frames] = d.FramesSize
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: a.Kind.mediaType(), Digest: oci(a.Digest), Size: a.Size, Annotations: notes})
	}
	for _, d := range slices.Sorted(maps.Keys(indexes)) {
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: frames.MediaType, Digest: oci(d), Size: indexes[d]})
	}
	if len(m.Layers) == 0 { // an image manifest has at least one (image-spec, manifest.md)
		m.Layers = append(m.Layers, emptyConfig())
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("release %s: its manifest has %d bytes, at most %d are possible: make two releases of it", r.Name, len(b), maxManifest)
	}
	return b, nil
}

// ParseRelease reads a manifest. Its bytes may come from anybody.
func ParseRelease(b []byte) (*Release, error) {
	r, err := parseRelease(b)
	if err != nil {
		return nil, fmt.Errorf("manifest of a release: %w", err)
	}
	return r, nil
}

func parseRelease(b []byte) (*Release, error) {
	m, err := parseManifest(b)
	if err != nil {
		return nil, err
	}
	switch {
	case m.ArtifactType == releaseType:
	case strings.HasPrefix(m.ArtifactType, anyNewRelease):
		return nil, fmt.Errorf("a newer rackreach made it (%.*q): use that one", maxShown, m.ArtifactType)
	default:
		return nil, fmt.Errorf("it is no bundle of rackreach: its artifact type is %.*q, not %s", maxShown, m.ArtifactType, releaseType)
	}
	if m.Subject != nil {
		return nil, errors.New("it refers to another manifest, which a release does not")
	}
	r := &Release{Name: m.Annotations[ocispec.AnnotationVersion]}
	indexes := map[blob.Digest]int64{}
	var layers []ocispec.Descriptor
	for _, l := range m.Layers {
		switch {
		case l.MediaType == frames.MediaType:
			indexes[blob.Digest(l.Digest)] = l.Size
		case l.MediaType != ocispec.MediaTypeEmptyJSON:
			layers = append(layers, l)
		}
	}
	used := map[blob.Digest]bool{}
	for _, l := range layers {
		a, err := artifactOf(l, indexes)
		if err != nil {
			return nil, err
		}
		if a.Disk != nil {
			used[a.Disk.Frames] = true
		}
		r.Artifacts = append(r.Artifacts, a)
	}
	if len(used) != len(indexes) {
		return nil, errors.New("it has an index of frames that belongs to no disk image")
	}
	return r, r.check()
}

// artifactOf reads a layer. What can be wrong with the fields themselves, check
// says.
func artifactOf(l ocispec.Descriptor, indexes map[blob.Digest]int64) (Artifact, error) {
	a := Artifact{Name: l.Annotations[ocispec.AnnotationTitle], Kind: Kind(l.Annotations[kindKey]), Digest: blob.Digest(l.Digest), Size: l.Size}
	if list := l.Annotations[platformsKey]; list != "" {
		a.Platforms = strings.SplitN(list, ",", maxPlatforms+2)
	}
	if l.MediaType != a.Kind.mediaType() {
		return a, fmt.Errorf("artifact %.*q: %.*q is not the media type of the kind %.*q", maxShown, a.Name, maxShown, l.MediaType, maxShown, a.Kind)
	}
	if a.Kind != DiskImage {
		return a, nil
	}
	raw, err := blob.ParseDigest(l.Annotations[rawDigestKey])
	if err != nil {
		return a, fmt.Errorf("artifact %.*q: %s: %w", maxShown, a.Name, rawDigestKey, err)
	}
	size, err := strconv.ParseInt(l.Annotations[rawSizeKey], 10, 64)
	if err != nil {
		return a, fmt.Errorf("artifact %.*q: %s is %.*q, which is no size", maxShown, a.Name, rawSizeKey, maxShown, l.Annotations[rawSizeKey])
	}
	index := blob.Digest(l.Annotations[framesKey])
	n, ok := indexes[index]
	if !ok {
		return a, fmt.Errorf("artifact %.*q: its index of frames is not there", maxShown, a.Name)
	}
	a.Disk = &Disk{RawDigest: raw, RawSize: size, Frames: index, FramesSize: n}
	return a, nil
}
