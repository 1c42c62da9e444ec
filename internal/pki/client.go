package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrUntrusted says that a server is not who it should be. It is wrapped.
var ErrUntrusted = errors.New("the server is not the one that is trusted")

// ClientTLS is the configuration of people and programs that use the API of the
// server at host (a DNS name or an address). They trust the authorities of a PEM
// file, or the authority of a fingerprint, or, with neither, those of their
// system.
func ClientTLS(host, caFile, fingerprint string) (*tls.Config, error) {
	switch {
	case caFile != "" && fingerprint != "":
		return nil, errors.New("trust a server: give the file of its authority or its fingerprint, not both")
	case caFile != "":
		certs, err := readCertificates(caFile, maxCAs)
		if err != nil {
			return nil, fmt.Errorf("trust a server: %w", err)
		}
		pool := poolOf(certs)
		return clientTLS(host, func([]*x509.Certificate) (*x509.CertPool, error) { return pool, nil }), nil
	case fingerprint != "":
		pin := strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
		if !isFingerprint(pin) {
			return nil, fmt.Errorf("trust a server: %.80q is not a fingerprint: 64 hex digits are expected, the SHA-256 of its authority's certificate", fingerprint)
		}
		return pinned(host, pin), nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, ServerName: host}, nil
}

// pinned trusts the authority of a fingerprint; the server shows its certificate.
func pinned(host, pin string) *tls.Config {
	return clientTLS(host, func(chain []*x509.Certificate) (*x509.CertPool, error) {
		for _, c := range chain[1:] {
			if Fingerprint(c) == pin {
				return poolOf([]*x509.Certificate{c}), nil
			}
		}
		return nil, fmt.Errorf("%w: it shows no authority with the fingerprint %.16s…: somebody is in between, or its authority was rotated: ask for a new token or fingerprint", ErrUntrusted, pin)
	})
}

// clientTLS is a configuration that believes a server at host by the roots of
// the moment. crypto/tls takes a fixed pool only, so its own check is switched
// off and made here, wholly: chain, time, name, and what the certificate is for.
func clientTLS(host string, roots func(chain []*x509.Certificate) (*x509.CertPool, error)) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, ServerName: host, InsecureSkipVerify: true}
	config.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return fmt.Errorf("%w: it shows no certificate", ErrUntrusted)
		}
		pool, err := roots(s.PeerCertificates)
		if err != nil {
			return err
		}
		o := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), DNSName: host, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if config.Time != nil {
			o.CurrentTime = config.Time()
		}
		for _, c := range s.PeerCertificates[1:] {
			o.Intermediates.AddCert(c)
		}
		leaf := s.PeerCertificates[0]
		if _, err = leaf.Verify(o); err == nil {
			return nil
		}
		if late := byClock(leaf, o, err); late != nil {
			err = late
		}
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return config
}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool
}

// Limits of one call to the EnrollmentService.
const (
	callLimit   = 30 * time.Second
	maxResponse = 1 << 20 // bytes
)

// httpClient makes calls over a configuration. The caller closes its idle
// connections.
func httpClient(c *tls.Config) *http.Client {
	return &http.Client{
		Timeout:   callLimit,
		Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: callLimit / 3},
		// A token is for the server that it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
