package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds of what is read.
const (
	maxFile  = 1 << 20  // bytes of a file with certificates
	maxDER   = 16 << 10 // bytes of one certificate or signing request
	maxChain = 8        // certificates of a chain
	maxCAs   = 64       // authorities that are trusted at once
)

// read is a file of at most maxFile bytes.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", path, maxFile)
	}
	return b, nil
}

// readCertificates reads the certificates of a PEM file; what else it holds is
// passed over. At least one, at most limit.
func readCertificates(path string, limit int) ([]*x509.Certificate, error) {
	b, err := read(path)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: certificate %d: %w", path, len(out)+1, err)
		}
		if out = append(out, c); len(out) > limit {
			return nil, fmt.Errorf("read %s: it holds more than %d certificates", path, limit)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read %s: it holds no certificate: PEM is expected, \"-----BEGIN CERTIFICATE-----\"", path)
	}
	return out, nil
}

// parseCertificates parses certificates that a peer sent, 1 to limit of them.
func parseCertificates(ders [][]byte, limit int) ([]*x509.Certificate, error) {
	if len(ders) == 0 || len(ders) > limit {
		return nil, fmt.Errorf("%d certificates: 1 to %d are expected", len(ders), limit)
	}
	var out []*x509.Certificate
	for i, der := range ders {
		if len(der) > maxDER {
			return nil, fmt.Errorf("certificate %d has %d bytes, more than %d", i+1, len(der), maxDER)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// encodeCertificates is certificates as PEM.
func encodeCertificates(certs []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// newKey makes a private key: ECDSA on P-256.
func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// encodeKey is a private key as PEM (PKCS #8).
func encodeKey(key crypto.Signer, headers map[string]string) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: headers, Bytes: der}), nil
}

// readKey is the private key of a PEM file, and the headers of its block. Its
// errors never show what the file holds.
func readKey(path string) (crypto.Signer, map[string]string, error) {
	b, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, nil, fmt.Errorf("read %s: it holds no private key: PEM is expected, \"-----BEGIN PRIVATE KEY-----\"", path)
		}
		var key any
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue // the parameters of a curve, a certificate
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: its private key is damaged, or of a kind that is not known", path)
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, nil, fmt.Errorf("read %s: its private key cannot sign", path)
		}
		return signer, block.Headers, nil
	}
}

// samePublic reports whether a key is that of a certificate.
func samePublic(key crypto.Signer, c *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// checkPublic refuses keys that are too weak, or so large that they cost.
func checkPublic(key any) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return errors.New("an ECDSA key must be on P-256 or P-384")
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= 3072 && bits <= 4096 {
			return nil
		}
		return errors.New("an RSA key must have 3072 to 4096 bits")
	}
	return errors.New("the key must be ECDSA (P-256, P-384), Ed25519 or RSA")
}
