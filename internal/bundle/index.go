package bundle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rackreach/rackreach/internal/blob"
)

// Ref is a manifest that is somewhere.
type Ref struct {
	Digest blob.Digest
	Size   int64
	Tag    string // the release's name; empty: a signature, or what was replaced
}

// parseIndex reads the index.json of a layout. Entries that are no manifests of
// images are left out: others may keep more in the same layout.
func parseIndex(b []byte) ([]Ref, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("index.json: it is larger than %d bytes", maxManifest)
	}
	var x ocispec.Index
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("index.json: it is not JSON of an index: %s", cut(err.Error()))
	}
	switch {
	case x.SchemaVersion != 2:
		return nil, fmt.Errorf("index.json: its schemaVersion is %d, not 2", x.SchemaVersion)
	case len(x.Manifests) > maxReleases:
		return nil, fmt.Errorf("index.json: it has %d manifests, at most %d are possible", len(x.Manifests), maxReleases)
	}
	var out []Ref
	for _, m := range x.Manifests {
		if m.MediaType != ocispec.MediaTypeImageManifest {
			continue
		}
		if err := checkDescriptor(m, maxManifest); err != nil {
			return nil, fmt.Errorf("index.json: %w", err)
		}
		r := Ref{blob.Digest(m.Digest), m.Size, m.Annotations[ocispec.AnnotationRefName]}
		if r.Tag != "" {
			if err := CheckRelease(r.Tag); err != nil {
				return nil, fmt.Errorf("index.json: %w", err)
			}
			if slices.ContainsFunc(out, func(o Ref) bool { return o.Tag == r.Tag }) {
				return nil, fmt.Errorf("index.json: release %s stands there twice", r.Tag)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// encodeIndex is an index.json; the same references make the same bytes.
func encodeIndex(refs []Ref) ([]byte, error) {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b Ref) int {
		if (a.Tag == "") != (b.Tag == "") { // releases first
			return cmp.Compare(b.Tag, a.Tag)
		}
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Digest, b.Digest))
	})
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for _, r := range slices.Compact(refs) {
		d := r.descriptor()
		if r.Tag != "" {
			d.Annotations = map[string]string{ocispec.AnnotationRefName: r.Tag}
		}
		x.Manifests = append(x.Manifests, d)
	}
	b, err := json.MarshalIndent(x, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write index.json: %w", err)
	}
	return append(b, '\n'), nil
}

func (r Ref) descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: oci(r.Digest), Size: r.Size}
}

// layoutFile is what marks a layout (image-spec, image-layout.md).
var layoutFile = []byte(`{"imageLayoutVersion":"1.0.0"}` + "\n")

// parseLayoutFile holds that a layout is of a version that is known.
func parseLayoutFile(b []byte) error {
	var l ocispec.ImageLayout
	if err := json.Unmarshal(b, &l); err != nil {
		return errors.New("oci-layout: it is not JSON: this is no bundle")
	}
	if l.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("oci-layout: version %.*q is not known, only %s", maxShown, l.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}
