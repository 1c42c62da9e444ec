package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rackreach/rackreach/internal/blob"
)

// Place is where bundles are read from: a directory, a tar or a registry. What it
// gives is checked by whoever asks.
type Place interface {
	// String is how people name it.
	String() string
	// Refs lists the manifests that are there, as far as the place can tell: a
	// registry only tells of the release that was asked for.
	Refs(ctx context.Context) ([]Ref, error)
	// Referrers lists manifests that may refer to the given one, at most
	// maxSignatures.
	Referrers(ctx context.Context, to Ref) ([]Ref, error)
	// Fetch gives a blob or a manifest from a byte on.
	blob.Source
	// Close frees what the place holds.
	Close() error
}

// Local is a place on this machine, whose blobs are read where they are.
type Local interface {
	Place
	// Open opens a blob. An *os.File, or a *Section of one, can be sent by the
	// kernel. Error: blob.ErrNone, wrapped.
	Open(d blob.Digest) (io.ReadSeekCloser, error)
}

// ErrNoRelease says that there is no such release. It is wrapped.
var ErrNoRelease = errors.New("there is no such release")

// Bundle is a release somewhere.
type Bundle struct {
	*Release
	Ref   Ref
	Place Place
}

// Find finds a release by its name; "": the only one there is. Error: ErrNoRelease,
// wrapped; what is wrong with its manifest.
func Find(ctx context.Context, p Place, name string) (*Bundle, error) {
	refs, err := p.Refs(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	var found Ref
	for _, r := range refs {
		if r.Tag != "" {
			names = append(names, r.Tag)
			if name == "" || r.Tag == name {
				found = r
			}
		}
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("%s: %w: it is empty. Next: rackreach bundle add, or bundle build", p, ErrNoRelease)
	case name == "" && len(names) > 1:
		return nil, fmt.Errorf("%s holds %d releases: say which with --release: %s", p, len(names), some(names))
	case found.Digest == "":
		return nil, fmt.Errorf("%s: %w as %s: there is %s", p, ErrNoRelease, name, some(names))
	}
	b, err := manifest(ctx, p, found, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("%s: release %s: %w", p, found.Tag, err)
	}
	r, err := ParseRelease(b)
	if err != nil {
		return nil, fmt.Errorf("%s: release %s: %w", p, found.Tag, err)
	}
	if r.Name != found.Tag {
		return nil, fmt.Errorf("%s: what stands there as release %s calls itself %s: it was moved or swapped: fetch the bundle again from whoever made it", p, found.Tag, r.Name)
	}
	return &Bundle{r, found, p}, nil
}

// some is a list of names, not too long for a line.
func some(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// manifest reads something small whole and holds that it is what its digest says.
func manifest(ctx context.Context, p blob.Source, r Ref, most int64) ([]byte, error) {
	if r.Size < 0 || r.Size > most {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", r.Digest.Short(), r.Size, most)
	}
	f, err := p.Fetch(ctx, r.Digest, r.Size, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, r.Size+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) != r.Size || blob.Of(b) != r.Digest {
		return nil, fmt.Errorf("%s: %w", r.Digest, blob.ErrMismatch)
	}
	return b, nil
}
