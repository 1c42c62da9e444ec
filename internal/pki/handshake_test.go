package pki

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhoIsRefusedAtTheHandshake(t *testing.T) {
	c := newCoordinator(t, lives{})
	id := c.enroll(t, "r1")
	now := time.Now()
	authority := c.authorities.load().signer
	stranger, err := newAuthority(now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	// shows a certificate of this kind, whatever it is.
	shows := func(by *Authority, change func(*x509.Certificate), at time.Time) *tls.Config {
		tmpl := &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{rackURI("r1"), generationURI(0)}}
		change(tmpl)
		cert, err := by.issue(tmpl, key.Public(), at, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		config := id.ClientTLS("127.0.0.1")
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
		}
		return config
	}
	same := func(*x509.Certificate) {}
	for _, x := range []struct {
		name   string
		config *tls.Config
		want   string // of the error; empty: let in as r1
	}{
		{"its own", id.ClientTLS("127.0.0.1"), ""},
		{"of this authority", shows(authority, same, now), ""},
		{"of an unknown authority", shows(stranger, same, now), "unknown certificate authority"},
		{"expired", shows(authority, same, now.Add(-time.Hour)), "expired certificate"},
		{"not valid yet", shows(authority, same, now.Add(time.Hour)), "expired certificate"},
		{"for a server", shows(authority, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, now), "bad certificate"},
		{"without a rack", shows(authority, func(c *x509.Certificate) { c.URIs = nil }, now), "bad certificate"},
		{"of two racks", shows(authority, func(c *x509.Certificate) { c.URIs = append(c.URIs, rackURI("r2")) }, now), "bad certificate"},
		{"of a hostile rack", shows(authority, func(c *x509.Certificate) { c.URIs = []*url.URL{rackURI("../r1")} }, now), "bad certificate"},
	} {
		got, err := c.who(x.config)
		if x.want != "" {
			if err == nil {
				t.Errorf("a certificate %s is taken", x.name)
			}
			err = probe(t.Context(), c.url, x.config) // says why
		}
		switch {
		case x.want == "" && (err != nil || got != "r1 HTTP/2.0"):
			t.Errorf("a certificate %s: %q %v", x.name, got, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
			t.Errorf("a certificate %s: %q %v, want %q", x.name, got, err, x.want)
		}
	}
	old := id.ClientTLS("127.0.0.1")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, err := c.who(old); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
	none := id.ClientTLS("127.0.0.1")
	none.GetClientCertificate = nil
	if got, err := c.who(none); err != nil || !strings.Contains(got, ErrNoCertificate.Error()) {
		t.Errorf("no certificate: %q %v", got, err)
	}
}

func TestWhomPeopleTrust(t *testing.T) {
	c := newCoordinator(t, lives{})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, encodeCertificates(c.server.Trusted()), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ host, file, pin, want string }{
		{"127.0.0.1", file, "", ""},
		{"127.0.0.1", "", c.server.Fingerprint(), ""},
		{"127.0.0.1", "", strings.ToUpper(c.server.Fingerprint()), ""},
		{"127.0.0.1", "", stranger.Fingerprint(), "no authority with the fingerprint"},
		{"127.0.0.2", "", c.server.Fingerprint(), "not 127.0.0.2"},
		{"127.0.0.2", file, "", "not 127.0.0.2"},
		{"127.0.0.1", "", "", "unknown authority"}, // that of the system
		{"127.0.0.1", file, c.server.Fingerprint(), "not both"},
		{"127.0.0.1", "", "abc", "not a fingerprint"},
	} {
		config, err := ClientTLS(x.host, x.file, x.pin)
		if err == nil {
			_, err = c.who(config)
		}
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

// TestAPinIsOfAnAuthority holds that whoever shows a pinned certificate has to
// have something that its authority signed.
func TestAPinIsOfAnAuthority(t *testing.T) {
	c := newCoordinator(t, lives{})
	pin := c.server.Fingerprint()
	stranger, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := stranger.issueServer([]string{"127.0.0.1"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	chain := [][]byte{cert.Raw, stranger.Certificate.Raw, c.authorities.load().signer.Certificate.Raw}
	c.serve(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}, Rand: rand.Reader}, 0)
	config, err := ClientTLS("127.0.0.1", "", pin)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.who(config); err == nil {
		t.Errorf("a stranger who shows the authority's certificate is believed: %q", got)
	}
}
