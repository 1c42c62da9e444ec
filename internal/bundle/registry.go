package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/rackreach/rackreach/internal/blob"
)

// maxTags bounds the releases that are looked for in a repository when none is named.
const maxTags = 100

// remotePlace is a repository of an OCI registry.
type remotePlace struct {
	name   string
	ref    registry.Reference
	repo   *remote.Repository
	client *http.Client

	mu        sync.Mutex
	manifests map[blob.Digest]bool // what was told to be a manifest: those have another address
}

var _ Place = (*remotePlace)(nil)

func openRegistry(name string, a Access) (*remotePlace, error) {
	ref, err := parseReference(name)
	if err != nil {
		return nil, err
	}
	repo := &remote.Repository{Reference: ref, PlainHTTP: a.PlainHTTP || onThisMachine(ref.Registry), MaxMetadataBytes: maxManifest,
		SkipReferrersGC:    true,                                                                  // many registries refuse to delete
		ManifestMediaTypes: []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex}} // an index holds referrers where there is no table of them
	c := &auth.Client{Client: a.Client, Cache: auth.NewCache()}
	if a.Logins != "" {
		store, err := credentials.NewStore(a.Logins, credentials.StoreOptions{})
		if err != nil {
			return nil, fmt.Errorf("logins of registries: %w", err)
		}
		c.Credential = credentials.Credential(store)
	}
	c.SetUserAgent("rackreach")
	repo.Client = c
	return &remotePlace{name: name, ref: ref, repo: repo, client: a.Client, manifests: map[blob.Digest]bool{}}, nil
}

// String implements Place.
func (p *remotePlace) String() string { return p.name }

// Close implements Place.
func (p *remotePlace) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// Refs implements Place: the release of the reference, or all tags of the repository.
func (p *remotePlace) Refs(ctx context.Context) ([]Ref, error) {
	if p.ref.Reference != "" {
		r, err := p.resolve(ctx, p.ref.Reference)
		if err != nil {
			return nil, err
		}
		if _, err := digest.Parse(p.ref.Reference); err == nil { // a digest names no release, but its manifest does
			b, err := manifest(ctx, p, r, maxManifest)
			if err != nil {
				return nil, p.explain(err)
			}
			release, err := ParseRelease(b)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			r.Tag = release.Name
		}
		return []Ref{r}, nil
	}
	var tags []string
	err := p.repo.Tags(ctx, "", func(some []string) error {
		for _, t := range some {
			if CheckRelease(t) != nil || isFallback(t) {
				continue
			}
			if tags = append(tags, t); len(tags) > maxTags {
				return fmt.Errorf("%s has more than %d tags: name the release, %s:RELEASE", p.name, maxTags, p.name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, p.explain(err)
	}
	var out []Ref
	for _, t := range tags {
		r, err := p.resolve(ctx, t)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// isFallback reports whether a tag is where referrers stand in a registry that has no
// table of them (distribution-spec v1.1, Referrers Tag Schema).
func isFallback(tag string) bool {
	_, err := blob.ParseDigest("sha256:" + tag[min(len(tag), len("sha256-")):])
	return err == nil
}

func (p *remotePlace) resolve(ctx context.Context, reference string) (Ref, error) {
	d, err := p.repo.Resolve(ctx, reference)
	if err != nil {
		return Ref{}, p.explain(err)
	}
	if err := checkDescriptor(d, maxManifest); err != nil {
		return Ref{}, fmt.Errorf("%s: %w", p.name, err)
	}
	if d.MediaType != ocispec.MediaTypeImageManifest {
		return Ref{}, fmt.Errorf("%s: what stands there is no manifest of an image: its media type is %s", p.name, cut(d.MediaType))
	}
	r := Ref{Digest: blob.Digest(d.Digest), Size: d.Size}
	if _, err := digest.Parse(reference); err != nil {
		r.Tag = reference
	}
	p.learn(r.Digest)
	return r, nil
}

func (p *remotePlace) learn(d blob.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.manifests[d] = true
}

// errEnough ends a listing that is long enough.
var errEnough = errors.New("enough")

// Referrers implements Place.
func (p *remotePlace) Referrers(ctx context.Context, to Ref) (out []Ref, err error) {
	// Registries disagree about the type of what refers: each manifest is looked at.
	err = p.repo.Referrers(ctx, to.descriptor(), "", func(some []ocispec.Descriptor) error {
		for _, d := range some {
			if checkDescriptor(d, maxSignature) != nil || d.MediaType != ocispec.MediaTypeImageManifest {
				continue
			}
			if len(out) == maxSignatures {
				return errEnough
			}
			p.learn(blob.Digest(d.Digest))
			out = append(out, Ref{Digest: blob.Digest(d.Digest), Size: d.Size})
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, p.explain(err)
	}
	return out, nil
}

// Fetch implements blob.Source.
func (p *remotePlace) Fetch(ctx context.Context, d blob.Digest, size, from int64) (_ io.ReadCloser, err error) {
	ctx, body := newStalling(ctx)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: oci(d), Size: size}
	p.mu.Lock()
	is := p.manifests[d]
	p.mu.Unlock()
	if is {
		body.ReadCloser, err = p.repo.Manifests().Fetch(ctx, desc)
	} else {
		desc.MediaType = "application/octet-stream"
		body.ReadCloser, err = p.repo.Blobs().Fetch(ctx, desc)
	}
	if err != nil {
		body.ReadCloser = nil
		return nil, errors.Join(p.explain(body.cause(err)), body.Close())
	}
	if from == 0 {
		return body, nil
	}
	s, ok := body.ReadCloser.(io.Seeker)
	if !ok {
		return nil, errors.Join(blob.ErrNoRange, body.Close())
	}
	if _, err := s.Seek(from, io.SeekStart); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// explain says what to do about a registry's answer.
func (p *remotePlace) explain(err error) error {
	var answer *errcode.ErrorResponse
	refused := &blob.Final{Err: fmt.Errorf("%s: the registry refuses this: log in to it (oras login %s, or docker login), and give --registry-logins if that wrote somewhere else than ~/.docker/config.json", p.name, p.ref.Registry)}
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return refused
	case errors.Is(err, errdef.ErrNotFound):
		return &blob.Final{Err: fmt.Errorf("%s: %w: the registry does not have it", p.name, ErrNoRelease)}
	case !errors.As(err, &answer):
		return fmt.Errorf("%s: %w", p.name, err)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return refused
	case answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500:
		return &unwell{fmt.Errorf("%s: %s", p.name, cut(answer.Error()))}
	}
	return &blob.Final{Err: fmt.Errorf("%s: %s", p.name, cut(answer.Error()))}
}

// Push copies a release with its signatures to a registry, HOST/NAME or HOST/NAME:TAG,
// where TAG must be the release. What is there already is not sent. The tag comes last:
// a release that is there is whole. Error: *Unfit where TO cannot be that.
func Push(ctx context.Context, b *Bundle, to string, a Access) (string, error) {
	if a.Client == nil {
		a.Client = newClient()
	}
	if !isReference(to) {
		return "", unfitf("%s is no reference of a registry: write HOST/NAME:RELEASE", cut(to))
	}
	p, err := openRegistry(to, a)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if t := p.ref.Reference; t != "" && t != b.Name {
		return "", unfitf("%s: the release is called %s, and its tag must be so too: write %s/%s:%s", to, b.Name, p.ref.Registry, p.ref.Repository, b.Name)
	}
	files, _, err := closure(ctx, []*Bundle{b})
	if err != nil {
		return "", err
	}
	// Blobs, the release, then what refers to it.
	rank := func(x placed) int {
		switch {
		case !x.manifest:
			return 0
		case x.Digest == b.Ref.Digest:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(files, func(x, y placed) int { return rank(x) - rank(y) })
	for _, x := range files {
		if err := p.push(ctx, x); err != nil {
			return "", fmt.Errorf("push %s: %w", x.Digest.Short(), p.explain(err))
		}
	}
	if err := p.repo.Tag(ctx, b.Ref.descriptor(), b.Name); err != nil {
		return "", fmt.Errorf("push %s: %w", b.Name, p.explain(err))
	}
	return fmt.Sprintf("%s/%s:%s", p.ref.Registry, p.ref.Repository, b.Name), nil
}

func (p *remotePlace) push(ctx context.Context, x placed) error {
	if x.manifest {
		text, err := manifest(ctx, x.from, Ref{Digest: x.Digest, Size: x.Size}, maxManifest)
		if err != nil {
			return err
		}
		return p.repo.Manifests().Push(ctx, Ref{Digest: x.Digest, Size: x.Size}.descriptor(), bytes.NewReader(text))
	}
	desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: oci(x.Digest), Size: x.Size}
	if there, err := p.repo.Blobs().Exists(ctx, desc); err != nil || there {
		return err
	}
	s := newStream(ctx, x.from, x.Blob)
	return errors.Join(p.repo.Blobs().Push(ctx, desc, s), s.Close())
}
