package bundle

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rackreach/rackreach/internal/blob"
)

// The words of a signature, as cosign writes it for an OCI 1.1 referrer
// (sigstore/cosign specs/SIGNATURE_SPEC.md).
const (
	signatureType = "application/vnd.dev.cosign.artifact.sig.v1+json"
	payloadType   = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureKey  = "dev.cosignproject.cosign/signature"
	keyIDKey      = "dev.rackreach.key"
	criticalType  = "cosign container image signature"
)

// ErrUnsigned says that nobody vouches for a release. It is wrapped.
var ErrUnsigned = errors.New("it is not signed")

// ErrUntrusted says that nobody who is trusted vouches for a release. It is wrapped.
var ErrUntrusted = errors.New("nobody who is trusted has signed it")

// payload is what is signed.
type payload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]string `json:"optional"`
}

// signature is a signature that refers to a release.
type signature struct {
	ref     Ref
	payload Blob
	sig     []byte
	keyID   string // as the signature says; nobody has checked it
}

// parseSignature reads the manifest of a signature of a release.
func parseSignature(b []byte, of blob.Digest) (signature, error) {
	m, err := parseManifest(b)
	if err != nil {
		return signature{}, err
	}
	switch {
	case m.ArtifactType != signatureType || m.Subject == nil || blob.Digest(m.Subject.Digest) != of:
		return signature{}, errors.New("it is no signature of this release")
	case len(m.Layers) != 1 || m.Layers[0].MediaType != payloadType || m.Layers[0].Size > maxSignature:
		return signature{}, errors.New("it has no payload that is read")
	}
	l := m.Layers[0]
	sig, err := base64.StdEncoding.DecodeString(l.Annotations[signatureKey])
	if err != nil || len(sig) != ed25519.SignatureSize {
		return signature{}, errors.New("its signature is none of Ed25519")
	}
	return signature{payload: Blob{blob.Digest(l.Digest), l.Size}, sig: sig, keyID: l.Annotations[keyIDKey]}, nil
}

// signatures lists what refers to a release and is a signature. What is none is
// left out: it vouches for nothing.
func (b *Bundle) signatures(ctx context.Context) ([]signature, error) {
	refs, err := b.Place.Referrers(ctx, b.Ref)
	if err != nil {
		return nil, fmt.Errorf("%s: look for signatures: %w", b.Place, err)
	}
	var out []signature
	for _, r := range refs[:min(len(refs), maxSignatures)] {
		m, err := manifest(ctx, b.Place, r, maxSignature)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		if s, err := parseSignature(m, b.Ref.Digest); err == nil {
			s.ref = Ref{Digest: r.Digest, Size: r.Size}
			out = append(out, s)
		}
	}
	return out, nil
}

// Claims lists the ids of the keys that signatures name, which nobody has checked.
func (b *Bundle) Claims(ctx context.Context) ([]string, error) {
	signatures, err := b.signatures(ctx)
	var out []string
	for _, s := range signatures {
		if id := claimed(s.keyID); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, err
}

// keyIDForm is what an id looks like.
var keyIDForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

// claimed is the id of a key as a stranger wrote it.
func claimed(id string) string {
	if !keyIDForm.MatchString(id) {
		return "of another form"
	}
	return id
}

// Signer is who has signed a release: the first trusted key that has. It reads no
// artifact: each is checked against its digest when it is read. Errors: ErrUnsigned,
// ErrUntrusted, wrapped, with what to do.
func (b *Bundle) Signer(ctx context.Context, t Trust) (PublicKey, error) {
	signatures, err := b.signatures(ctx)
	if err != nil {
		return PublicKey{}, err
	}
	if len(signatures) == 0 {
		return PublicKey{}, fmt.Errorf("%s: release %s: %w, so it may be anybody's. Next: if it is yours, rackreach bundle sign %s --key FILE; else ask whoever made it for a signed one", b.Place, b.Name, ErrUnsigned, b.Place)
	}
	var ids []string
	for _, s := range signatures {
		p, err := manifest(ctx, b.Place, Ref{Digest: s.payload.Digest, Size: s.payload.Size}, maxSignature)
		if err != nil {
			continue
		}
		if k, ok := t.vouches(p, s.sig, b); ok {
			return k, nil
		}
		if id := claimed(s.keyID); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	by := ""
	if len(ids) > 0 {
		by = ", only key " + some(ids)
	}
	if len(t.keys) == 0 {
		return PublicKey{}, fmt.Errorf("%s: release %s: %w%s: no key is trusted yet (%s). Next: get the public key of whoever made it, over a way that you trust, and give it with --trust FILE.pub, or put it there", b.Place, b.Name, ErrUntrusted, by, t.Paths())
	}
	return PublicKey{}, fmt.Errorf("%s: release %s: %w%s, or it was altered since (trusted are the %d keys of %s). Next: do not use it; get it again from whoever made it, and their public key if it has changed", b.Place, b.Name, ErrUntrusted, by, len(t.keys), t.Paths())
}

// vouches tells which trusted key has signed a payload that names the release.
func (t Trust) vouches(text, sig []byte, b *Bundle) (PublicKey, bool) {
	var p payload
	if err := json.Unmarshal(text, &p); err != nil || p.Critical.Type != criticalType || p.Critical.Image.Digest != string(b.Ref.Digest) {
		return PublicKey{}, false
	}
	for _, k := range t.keys {
		if ed25519.Verify(k.key, text, sig) {
			return k, true
		}
	}
	return PublicKey{}, false
}

// Sign signs a release of a layout. Signing twice with one key changes nothing.
func (l *Layout) Sign(ctx context.Context, b *Bundle, k *Key) (PublicKey, error) {
	public, err := k.Public()
	if err != nil {
		return PublicKey{}, err
	}
	var p payload
	p.Critical.Image.Digest, p.Critical.Type, p.Optional = string(b.Ref.Digest), criticalType, map[string]string{"release": b.Name}
	text, err := json.Marshal(p)
	if err != nil {
		return PublicKey{}, err
	}
	subject := b.Ref.descriptor()
	m, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: signatureType,
		Config: emptyConfig(), Subject: &subject, Layers: []ocispec.Descriptor{{MediaType: payloadType, Digest: oci(blob.Of(text)), Size: int64(len(text)),
			Annotations: map[string]string{signatureKey: base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, text)), keyIDKey: public.ID}}}})
	if err != nil {
		return PublicKey{}, err
	}
	for _, x := range [][]byte{text, m} {
		if _, err := l.store.Put(x); err != nil {
			return PublicKey{}, err
		}
	}
	return public, l.refer(ctx, Ref{Digest: blob.Of(m), Size: int64(len(m))})
}
