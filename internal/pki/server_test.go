package pki

import (
	"crypto"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFilesAreFollowed serves with certificates that somebody else made, and
// replaces them under the running server.
func TestFilesAreFollowed(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	f := &Files{filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"), filepath.Join(dir, "a.pem")}
	put := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pem := func(key crypto.Signer) []byte {
		b, err := encodeKey(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	authority, err := newAuthority(now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(life time.Duration) (crypto.Signer, *x509.Certificate) {
		key, cert, err := authority.issueServer([]string{"127.0.0.1"}, now, life)
		if err != nil {
			t.Fatal(err)
		}
		return key, cert
	}
	key, cert := issue(10 * time.Minute)
	put(f.Certificate, encodeCertificates([]*x509.Certificate{cert, authority.Certificate}))
	put(f.Key, pem(key))
	put(f.AgentCA, encodeCertificates([]*x509.Certificate{authority.Certificate}))

	var out lockedBuffer
	s, err := NewServer(ServerOptions{Files: f, View: NewView(nil), Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.look = 10 * time.Millisecond
	c := &coordinator{server: s}
	c.serve(t, s.TLS(), 0)
	people, err := ClientTLS("127.0.0.1", "", authority.Fingerprint())
	if err != nil {
		t.Fatal(err)
	}
	works := func(when string, until time.Time) {
		t.Helper()
		if _, err := c.who(people); err != nil || !s.Expires().Equal(until) {
			t.Errorf("%s: %v, until %v", when, err, s.Expires())
		}
	}
	works("at first", cert.NotAfter)
	// A new certificate comes in two steps; between them, the pair does not fit.
	key2, cert2 := issue(20 * time.Minute)
	put(f.Certificate, encodeCertificates([]*x509.Certificate{cert2, authority.Certificate}))
	eventually(t, "it is told that the key does not fit", func() bool { s.current(); return strings.Contains(out.String(), "is not the key of") })
	works("between", cert.NotAfter)
	put(f.Key, pem(key2))
	eventually(t, "the second certificate is shown", func() bool { return s.Expires().Equal(cert2.NotAfter) })
	works("after", cert2.NotAfter)
	for want, content := range map[string]string{"no certificate": "", "certificate 1": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "more than": strings.Repeat("x", maxFile+1)} {
		put(f.AgentCA, []byte(content))
		eventually(t, "it is told of "+want, func() bool { s.current(); return strings.Contains(out.String(), want) })
		works(want, cert2.NotAfter)
	}
	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told that a file is gone", func() bool { s.current(); return strings.Contains(out.String(), "no such file") })
	works("without its key's file", cert2.NotAfter)
	if lines := strings.Count(out.String(), "could not be replaced"); lines > 12 {
		t.Errorf("%d lines: each handshake complains", lines)
	}
	if strings.Contains(out.String(), "PRIVATE") {
		t.Error("the log shows a key")
	}
}

func TestAServerNeedsSomething(t *testing.T) {
	if _, err := NewServer(ServerOptions{View: NewView(nil), Log: quiet}); err == nil || !strings.Contains(err.Error(), "coordinator init") {
		t.Error(err)
	}
}
