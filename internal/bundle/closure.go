package bundle

import (
	"cmp"
	"context"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rackreach/rackreach/internal/blob"
)

// placed is a part of a bundle and where it is.
type placed struct {
	Blob
	from     Place
	manifest bool // or a blob
}

// closure is all that makes up releases: their manifests, blobs and signatures,
// each once, by digest; and what their index says.
func closure(ctx context.Context, bundles []*Bundle) (files []placed, refs []Ref, err error) {
	seen := map[blob.Digest]bool{}
	add := func(x placed) {
		if !seen[x.Digest] {
			seen[x.Digest] = true
			files = append(files, x)
		}
	}
	for _, b := range bundles {
		refs = append(refs, b.Ref)
		add(placed{Blob{b.Ref.Digest, b.Ref.Size}, b.Place, true})
		add(placed{emptyBlob, emptyPlace{}, false})
		for _, x := range b.Blobs() {
			add(placed{x, b.Place, false})
		}
		signatures, err := b.signatures(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range signatures {
			refs = append(refs, s.ref)
			add(placed{Blob{s.ref.Digest, s.ref.Size}, b.Place, true})
			add(placed{s.payload, b.Place, false})
		}
	}
	slices.SortFunc(files, func(a, b placed) int { return cmp.Compare(a.Digest, b.Digest) })
	return files, refs, nil
}

var emptyBlob = Blob{blob.Digest(ocispec.DescriptorEmptyJSON.Digest), ocispec.DescriptorEmptyJSON.Size}
