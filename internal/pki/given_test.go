package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// given is an agent's certificate in files, and who signs it.
type given struct {
	t         *testing.T
	files     AgentFiles
	authority *Authority
}

func newGiven(t *testing.T) *given {
	t.Helper()
	dir := t.TempDir()
	a, err := newAuthority(time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &given{t, AgentFiles{filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"), filepath.Join(dir, "a.pem")}, a}
}

func (g *given) put(path string, b []byte) {
	g.t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// sign makes a certificate for a rack, good for half of life from now, and the key
// that it is for; with a negative one it began then, and has expired.
func (g *given) sign(rack string, life time.Duration) (certs, key []byte) {
	g.t.Helper()
	k, err := newKey()
	if err != nil {
		g.t.Fatal(err)
	}
	c, err := g.authority.issueAgent(rack, 0, &x509.CertificateRequest{PublicKey: k.Public()}, time.Now().Add(min(0, life)), life.Abs()/2)
	if err != nil {
		g.t.Fatal(err)
	}
	key, err = encodeKey(k, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return encodeCertificates([]*x509.Certificate{c}), key
}

func TestAGivenCertificateFollowsItsFiles(t *testing.T) {
	g := newGiven(t)
	cert, key := g.sign("r1", 10*time.Minute)
	g.put(g.files.Certificate, cert)
	g.put(g.files.Key, key)
	g.put(g.files.CA, encodeCertificates([]*x509.Certificate{g.authority.Certificate}))
	id, err := LoadGiven(g.files)
	if err != nil {
		t.Fatal(err)
	}
	if id.Rack() != "r1" {
		t.Error(id.Rack())
	}
	shows := func(when string, want []byte) {
		t.Helper()
		c, err := id.ClientTLS("127.0.0.1").GetClientCertificate(nil)
		if err != nil || string(encodeCertificates([]*x509.Certificate{c.Leaf})) != string(want) {
			t.Errorf("%s: another certificate is shown: %v", when, err)
		}
	}
	shows("at first", cert)
	before := id.Expires()
	cert2, key2 := g.sign("r1", 20*time.Minute)
	g.put(g.files.Certificate, cert2)
	shows("while the key does not fit", cert)
	g.put(g.files.Key, key2)
	shows("once it does", cert2)
	if !id.Expires().After(before) {
		t.Error("it expires when the one of before did")
	}
	g.put(g.files.CA, []byte("rubbish"))
	shows("while nobody is trusted", cert2)
	g.put(g.files.CA, encodeCertificates([]*x509.Certificate{g.authority.Certificate}))
	other, otherKey := g.sign("r2", 20*time.Minute)
	g.put(g.files.Certificate, other)
	g.put(g.files.Key, otherKey)
	shows("while the file is of another rack", cert2)
}

func TestAGivenCertificateThatIsWrong(t *testing.T) {
	g := newGiven(t)
	cert, key := g.sign("r1", 10*time.Minute)
	_, otherKey := g.sign("r1", 10*time.Minute)
	_, server, err := g.authority.issueServer([]string{"r1"}, time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ca := encodeCertificates([]*x509.Certificate{g.authority.Certificate})
	for _, x := range []struct {
		name          string
		cert, key, ca []byte
		want          string
	}{
		{"sound", cert, key, ca, ""},
		{"no certificate", nil, key, ca, "c.pem: it holds no certificate"},
		{"no key", cert, cert, ca, "k.pem: it holds no private key"},
		{"nobody to trust", cert, key, key, "a.pem: it holds no certificate"},
		{"the key of another", cert, otherKey, ca, "is not the key of"},
		{"it names no rack", encodeCertificates([]*x509.Certificate{server}), key, ca, "is not the key of"},
	} {
		g.put(g.files.Certificate, x.cert)
		g.put(g.files.Key, x.key)
		g.put(g.files.CA, x.ca)
		_, err := LoadGiven(g.files)
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "PRIVATE KEY-----\nM")) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func TestAGivenCertificateThatHasExpired(t *testing.T) {
	g := newGiven(t)
	cert, key := g.sign("r1", -time.Hour)
	g.put(g.files.Certificate, cert)
	g.put(g.files.Key, key)
	g.put(g.files.CA, encodeCertificates([]*x509.Certificate{g.authority.Certificate}))
	id, err := LoadGiven(g.files)
	if err != nil {
		t.Fatal(err) // the rack is imaged on
	}
	refused := errors.New("refused")
	if err := id.Explain(t.Context(), "https://127.0.0.1:1", refused); !errors.Is(err, refused) || !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "put a new one in the place of "+g.files.Certificate) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := id.Explain(ended, "https://127.0.0.1:1", refused); err != refused {
		t.Error(err)
	}
}
