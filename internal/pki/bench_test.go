package pki

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

// BenchmarkHandshake is what an agent that connects costs both sides together.
func BenchmarkHandshake(b *testing.B) {
	c, id := benched(b)
	for b.Loop() {
		if err := probe(b.Context(), c.url, id.ClientTLS("127.0.0.1")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck is what each question costs whether a certificate still holds.
func BenchmarkCheck(b *testing.B) {
	_, id := benched(b)
	leaf := id.state.Load().certificate.Leaf
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}
	view := NewView(nil)
	for b.Loop() {
		if err := view.Check(state); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEnroll is a whole enrollment: key, token, call, files.
func BenchmarkEnroll(b *testing.B) {
	c, _ := benched(b)
	for b.Loop() {
		text, _, err := c.enrollments.Create(b.Context(), "r1", time.Time{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Enroll(b.Context(), text, b.TempDir()); err != nil {
			b.Fatal(err)
		}
	}
}

func benched(b *testing.B) (*coordinator, *Identity) {
	c := newCoordinator(b, lives{})
	return c, c.enroll(b, "r1")
}
