package bundle

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rackreach/rackreach/internal/blob"
)

// emptyConfig is the descriptor of "{}" (image-spec v1.1, manifest.md, Guidance for
// an Empty Descriptor).
func emptyConfig() ocispec.Descriptor {
	d := ocispec.DescriptorEmptyJSON
	d.Data = nil
	return d
}

func oci(d blob.Digest) digest.Digest { return digest.Digest(d) }

// parseManifest reads an image manifest and holds that its descriptors can be what
// they say.
func parseManifest(b []byte) (*ocispec.Manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("it is larger than %d bytes", maxManifest)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("it is not JSON of a manifest: %s", cut(err.Error()))
	}
	switch {
	case m.SchemaVersion != 2:
		return nil, fmt.Errorf("its schemaVersion is %d, not 2", m.SchemaVersion)
	case m.MediaType != ocispec.MediaTypeImageManifest:
		return nil, fmt.Errorf("its media type is %.*q, not %s", maxShown, m.MediaType, ocispec.MediaTypeImageManifest)
	case m.Config.Digest != ocispec.DescriptorEmptyJSON.Digest || m.Config.Size != ocispec.DescriptorEmptyJSON.Size:
		return nil, errors.New("its config is not empty")
	case len(m.Layers) > 2*maxArtifacts:
		return nil, fmt.Errorf("it has %d layers, at most %d are possible", len(m.Layers), 2*maxArtifacts)
	}
	for _, l := range m.Layers {
		if err := checkDescriptor(l, maxBlob); err != nil {
			return nil, err
		}
	}
	if m.Subject != nil {
		if err := checkDescriptor(*m.Subject, maxManifest); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

// checkDescriptor holds that what is described can be fetched by its digest, and only
// so.
func checkDescriptor(d ocispec.Descriptor, most int64) error {
	if _, err := blob.ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > most {
		return fmt.Errorf("%s: %d bytes: it must be 0 to %d", blob.Digest(d.Digest).Short(), d.Size, most)
	}
	if len(d.URLs) > 0 {
		return fmt.Errorf("%s: it is to come from another place (urls), which is not done", blob.Digest(d.Digest).Short())
	}
	return nil
}

// cut is text that may hold a stranger's, bounded and printable.
func cut(s string) string {
	if len(s) > 2*maxShown {
		s = s[:2*maxShown] + "…"
	}
	return fmt.Sprintf("%.*q", 4*maxShown, s)
}
