package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"
)

// AgentFiles are the certificate of an agent that somebody else makes.
type AgentFiles struct {
	Certificate string // the agent's, PEM, then what leads to its authority
	Key         string // its private key, PEM
	CA          string // the authorities of the coordinator's certificate, PEM
}

// Given is who an agent is by the files that somebody else makes. It follows them:
// each connection shows what they hold by then; while one is broken, or does not fit
// the others, what they held before.
type Given struct {
	files AgentFiles
	state atomic.Pointer[identityState]
}

// LoadGiven reads them. Errors say what is wrong with which file. An expired
// certificate is loaded: it says so when it is used, and may be replaced.
func LoadGiven(files AgentFiles) (*Given, error) {
	g := &Given{files: files}
	state, err := g.read()
	if err != nil {
		return nil, fmt.Errorf("load the agent's certificate: %w", err)
	}
	g.state.Store(state)
	return g, nil
}

func (g *Given) read() (*identityState, error) {
	certs, err := readCertificates(g.files.Certificate, maxChain)
	if err != nil {
		return nil, err
	}
	key, _, err := readKey(g.files.Key)
	if err != nil {
		return nil, err
	}
	authorities, err := readCertificates(g.files.CA, maxCAs)
	if err != nil {
		return nil, err
	}
	if !samePublic(key, certs[0]) {
		return nil, fmt.Errorf("%s is not the key of %s", g.files.Key, g.files.Certificate)
	}
	state, err := newIdentityState(key, certs, authorities)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.files.Certificate, err)
	}
	return state, nil
}

// now is what the files hold.
func (g *Given) now() *identityState {
	had := g.state.Load()
	if state, err := g.read(); err == nil && state.rack == had.rack {
		g.state.Store(state)
		return state
	}
	return had
}

// Rack is the rack that the certificate names.
func (g *Given) Rack() string { return g.state.Load().rack }

// Expires is when the certificate expires.
func (g *Given) Expires() time.Time { return g.now().certificate.Leaf.NotAfter }

// ClientTLS is the configuration with which the agent dials a coordinator at host,
// as that of an Identity.
func (g *Given) ClientTLS(host string) *tls.Config {
	c := clientTLS(host, func([]*x509.Certificate) (*x509.CertPool, error) { return g.now().authorities, nil })
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &g.now().certificate, nil }
	return c
}

// Explain is that of an Identity.
func (g *Given) Explain(ctx context.Context, url string, err error) error {
	return g.now().explain(ctx, url, g.ClientTLS, "put a new one in the place of "+g.files.Certificate+"; it is taken without a restart", err)
}
