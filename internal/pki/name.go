package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Errors of who somebody is. They are wrapped.
var (
	// ErrNoCertificate says that the other end has shown no certificate.
	ErrNoCertificate = errors.New("no certificate was shown")
	// ErrNoRack says that a certificate names no rack, or not clearly.
	ErrNoRack = errors.New("the certificate names no rack")
)

// scheme is that of the URIs in certificates.
const scheme = "rackreach"

// maxRack is the longest name of a rack: it must do as a host name (RFC 1123 §2.1).
const maxRack = 63 // characters

// ValidRack reports whether a certificate may name a rack so: lower-case
// letters, digits and hyphens, a letter or digit at both ends.
func ValidRack(name string) bool {
	for i := range len(name) {
		b := name[i]
		edge := i == 0 || i == len(name)-1
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && (b != '-' || edge) {
			return false
		}
	}
	return name != "" && len(name) <= maxRack
}

// maxHost is the longest DNS name (RFC 1035 §2.3.4).
const maxHost = 253 // characters

// CheckHost says what is wrong with a name by which a coordinator is to be reached:
// an address, or a DNS name (RFC 1123 §2.1), with nothing before or behind it.
func CheckHost(name string) error {
	if _, err := netip.ParseAddr(name); err == nil && !strings.Contains(name, "%") {
		return nil
	}
	ok := name != "" && len(name) <= maxHost
	for label := range strings.SplitSeq(name, ".") {
		edges := strings.Trim(label, "-")
		ok = ok && label != "" && len(label) <= maxRack && edges == label && strings.Trim(label, hostLetters) == ""
	}
	if !ok {
		return fmt.Errorf("%.80q is not the name of a machine: write a DNS name or an address, such as coordinator.example.net or 10.0.0.5, without https:// and without a port", name)
	}
	return nil
}

// hostLetters are those of a label; "_" is not one by the RFC, and in use.
const hostLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

func rackURI(rack string) *url.URL {
	return &url.URL{Scheme: scheme, Host: "rack", Path: "/" + rack}
}

func generationURI(n uint64) *url.URL {
	return &url.URL{Scheme: scheme, Host: "generation", Path: "/" + strconv.FormatUint(n, 10)}
}

// claim is what an agent's certificate says.
type claim struct {
	rack       string
	generation uint64
	counted    bool // it says its generation; one by a foreign authority does not
}

// claimOf reads a certificate. Whatever is unclear is refused: two names, a name
// in another spelling, a URI of ours that is not known. URIs of other schemes
// are passed over.
func claimOf(c *x509.Certificate) (claim, error) {
	var out claim
	for _, u := range c.URIs {
		if !strings.EqualFold(u.Scheme, scheme) {
			continue
		}
		name := strings.TrimPrefix(u.Path, "/")
		switch {
		case u.Host == "rack" && out.rack == "" && ValidRack(name) && *u == *rackURI(name):
			out.rack = name
		case u.Host == "generation" && !out.counted:
			n, err := strconv.ParseUint(name, 10, 64)
			if err != nil || *u != *generationURI(n) {
				return claim{}, fmt.Errorf("%w: its generation is unclear", ErrNoRack)
			}
			out.generation, out.counted = n, true
		default:
			return claim{}, fmt.Errorf("%w: %.100q is unclear: one rackreach://rack/NAME is expected", ErrNoRack, u)
		}
	}
	if out.rack == "" {
		return claim{}, fmt.Errorf("%w: rackreach://rack/NAME is expected as its URI", ErrNoRack)
	}
	return out, nil
}

// RackOf is the rack that a verified client certificate names, and the
// certificate's serial number in hex. Errors: ErrNoCertificate, ErrNoRack.
func RackOf(s tls.ConnectionState) (rack, serial string, err error) {
	leaf, err := verified(s)
	if err != nil {
		return "", "", err
	}
	c, err := claimOf(leaf)
	if err != nil {
		return "", "", err
	}
	return c.rack, leaf.SerialNumber.Text(16), nil
}

// verified is the client's certificate, if the handshake believed it.
func verified(s tls.ConnectionState) (*x509.Certificate, error) {
	if len(s.PeerCertificates) == 0 || len(s.VerifiedChains) == 0 {
		return nil, ErrNoCertificate
	}
	return s.PeerCertificates[0], nil
}

// stateKey is the context's key of the TLS connection of a request.
type stateKey struct{}

// WithConnection lets handlers ask over which TLS connection a request came:
// Connection, Rack.
func WithConnection(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			r = r.WithContext(context.WithValue(r.Context(), stateKey{}, *r.TLS))
		}
		next.ServeHTTP(w, r)
	})
}

// Connection is the TLS connection over which a request came.
func Connection(ctx context.Context) (tls.ConnectionState, bool) {
	s, ok := ctx.Value(stateKey{}).(tls.ConnectionState)
	return s, ok
}

// Rack is the rack whose agent sent a request, by its certificate. Errors: as
// RackOf.
func Rack(ctx context.Context) (rack, serial string, err error) {
	s, ok := Connection(ctx)
	if !ok {
		return "", "", ErrNoCertificate
	}
	return RackOf(s)
}
