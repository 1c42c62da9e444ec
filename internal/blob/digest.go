package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Digest names a blob by its content: "sha256:" and 64 lower hex digits.
type Digest string

const algorithm = "sha256:"

// ParseDigest reads a digest. Its text may come from a stranger.
func ParseDigest(s string) (Digest, error) {
	h, ok := strings.CutPrefix(s, algorithm)
	if !ok || len(h) != hex.EncodedLen(sha256.Size) || strings.Trim(h, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%.80q is no digest: it must be sha256: and 64 lower hex digits", s)
	}
	return Digest(s), nil
}

// Of is the digest of bytes in memory.
func Of(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(algorithm + hex.EncodeToString(sum[:]))
}

func sumOf(h hash.Hash) Digest { return Digest(algorithm + hex.EncodeToString(h.Sum(nil))) }

// Hex is the digest without its algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), algorithm) }

// Short is enough of a digest for people.
func (d Digest) Short() string { return algorithm + d.Hex()[:min(12, len(d.Hex()))] }
