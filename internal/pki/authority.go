package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rackreach/rackreach/internal/durable"
)

// Lives of what is issued.
const (
	// AuthorityLife outlives a data centre's racks; authorities are rotated long before.
	AuthorityLife = 10 * 365 * 24 * time.Hour
	// ServerLife and AgentLife are short, because certificates renew by themselves
	// at two thirds of it: an agent may be cut off for ten days without harm.
	ServerLife = 30 * 24 * time.Hour
	AgentLife  = 30 * 24 * time.Hour
	// backdated is how far the clock of who reads a certificate may be behind.
	backdated = 2 * time.Hour
)

// ErrNoAuthority says that a directory holds no authority. It is wrapped.
var ErrNoAuthority = errors.New("there is no authority")

// Authority is a certificate authority: a certificate and its key.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// Fingerprint is the SHA-256 of a certificate's DER, in hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Fingerprint is that of the authority's certificate.
func (a *Authority) Fingerprint() string { return Fingerprint(a.Certificate) }

// CreateAuthority makes a new authority in a directory: ca.crt, and ca.key for
// its owner only. It refuses a directory that has one.
func CreateAuthority(dir string) (*Authority, error) {
	crt := filepath.Join(dir, "ca.crt")
	switch _, err := os.Lstat(crt); {
	case err == nil:
		return nil, fmt.Errorf("make an authority in %s: it has one already: it would no longer be believed", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("make an authority in %s: %w", dir, err)
	}
	a, err := newAuthority(time.Now(), AuthorityLife)
	if err != nil {
		return nil, err
	}
	return a, a.store(dir)
}

// store writes an authority. The certificate comes last: where it stands, all of
// the authority does.
func (a *Authority) store(dir string) error {
	key, err := encodeKey(a.key, nil)
	if err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(dir, "ca.key"), key); err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, "ca.crt"), encodeCertificates([]*x509.Certificate{a.Certificate}))
}

// LoadAuthority reads an authority from its directory. Errors: ErrNoAuthority,
// wrapped; one that says what is wrong with it.
func LoadAuthority(dir string) (*Authority, error) {
	certs, err := readCertificates(filepath.Join(dir, "ca.crt"), 1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: \"rackreach coordinator init\" makes one", dir, ErrNoAuthority)
	}
	if err != nil {
		return nil, fmt.Errorf("load the authority: %w", err)
	}
	key, _, err := readKey(filepath.Join(dir, "ca.key"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("load the authority: %w: restore it from a backup, or rotate to a new authority", err)
	case !certs[0].IsCA:
		return nil, fmt.Errorf("load the authority: %s is not the certificate of an authority", filepath.Join(dir, "ca.crt"))
	case !samePublic(key, certs[0]):
		return nil, fmt.Errorf("load the authority: ca.key in %s is not the key of ca.crt: restore both from one backup", dir)
	}
	return &Authority{certs[0], key}, nil
}

func newAuthority(now time.Time, life time.Duration) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	// The name is new each time: who trusts two authorities must be able to tell
	// which of them signed.
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "rackreach authority " + now.UTC().Format("2006-01-02") + " " + serial.Text(16)[:8]},
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	span(tmpl, now, life)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	return &Authority{c, key}, nil
}

// issueServer makes a certificate for a server of these DNS names and addresses.
func (a *Authority) issueServer(names []string, now time.Time, life time.Duration) (key crypto.Signer, cert *x509.Certificate, err error) {
	tmpl := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, Subject: pkix.Name{CommonName: "rackreach coordinator"}}
	for _, name := range names {
		if ip := net.ParseIP(strings.Trim(name, "[]")); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, name)
		}
	}
	if len(names) == 0 {
		return nil, nil, errors.New("make a server's certificate: it has no name: give the names and addresses by which agents reach it")
	}
	if key, err = newKey(); err != nil {
		return nil, nil, fmt.Errorf("make a server's certificate: %w", err)
	}
	cert, err = a.issue(tmpl, key.Public(), now, life)
	return key, cert, err
}

// issueAgent makes a certificate for the agent of a rack out of a signing
// request, of which nothing but the key is taken.
func (a *Authority) issueAgent(rack string, generation uint64, csr *x509.CertificateRequest, now time.Time, life time.Duration) (*x509.Certificate, error) {
	if !ValidRack(rack) {
		return nil, fmt.Errorf("make an agent's certificate: %.80q is not the name of a rack", rack)
	}
	return a.issue(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, Subject: pkix.Name{CommonName: rack},
		URIs: []*url.URL{rackURI(rack), generationURI(generation)}}, csr.PublicKey, now, life)
}

func (a *Authority) issue(tmpl *x509.Certificate, public crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	tmpl.SerialNumber, tmpl.KeyUsage, tmpl.BasicConstraintsValid = serial, x509.KeyUsageDigitalSignature, true
	span(tmpl, now, life)
	if tmpl.NotAfter.After(a.Certificate.NotAfter) {
		tmpl.NotAfter = a.Certificate.NotAfter
	}
	if !now.Before(tmpl.NotAfter) {
		return nil, fmt.Errorf("issue a certificate: the authority itself expired at %s: rotate to a new one", a.Certificate.NotAfter.Format(time.RFC3339))
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.Certificate, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// span sets from when to when a certificate holds. X.509 counts whole seconds.
func span(tmpl *x509.Certificate, now time.Time, life time.Duration) {
	tmpl.NotBefore = now.Add(-min(backdated, life/4)).UTC().Truncate(time.Second)
	tmpl.NotAfter = now.Add(life + time.Second - 1).UTC().Truncate(time.Second)
}

// renewAt is when two thirds of a certificate's life are over.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3)
}

// newSerial is a serial number that nobody can foretell (RFC 5280 §4.1.2.2: at
// most 20 octets, positive).
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

// parseCSR reads a signing request (PKCS #10, DER): its signature proves that
// who sends it holds the key.
func parseCSR(der []byte) (*x509.CertificateRequest, error) {
	if len(der) == 0 || len(der) > maxDER {
		return nil, fmt.Errorf("the signing request has %d bytes: 1 to %d are expected", len(der), maxDER)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("the signing request is no PKCS #10: %w", err)
	}
	if err := checkPublic(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("the signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the signing request is not signed by its own key: %w", err)
	}
	return csr, nil
}

// newCSR is a signing request for a key.
func newCSR(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "rackreach agent"}}, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	return der, nil
}

// keyHash is the SHA-256 of a public key, cut to 16 bytes for the eye.
func keyHash(public any) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("read a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// jitter is a random share of d, so that agents that were made together do not
// renew together.
func jitter(d time.Duration) time.Duration {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil || d <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(b[:]) % uint64(d))
}
