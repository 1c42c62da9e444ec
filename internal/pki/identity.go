package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/rackreach/rackreach/internal/durable"
)

// Errors of an agent's identity. They are wrapped.
var (
	// ErrNoIdentity says that an agent was never enrolled.
	ErrNoIdentity = errors.New("the agent is not enrolled")
	// ErrAway says that the coordinator cannot be reached. The same may go well later.
	ErrAway = errors.New("no coordinator answers")
	// ErrExpired says that a certificate has expired.
	ErrExpired = errors.New("the certificate has expired")
)

// Files of an identity. A new key is pending until its certificate is written;
// whoever loads takes the key that fits the certificate.
const (
	keyFile     = "key.pem"
	pendingFile = "pending.pem"
	certFile    = "cert.pem"
	caFile      = "ca.pem"
	serverFile  = "server"
	lockFile    = "lock"
	tokenHeader = "Token" // of a pending key: the hash of the token that it is for
)

// Waits for the lock of an identity: it is held for one call at most.
const (
	lockLimit = callLimit + 10*time.Second
	lockEvery = 20 * time.Millisecond
)

// Identity is who an agent is: its key, which never leaves its directory, its
// certificate, and the authorities it trusts. It changes while it is used.
type Identity struct {
	dir    string
	server string
	mu     sync.Mutex // held by who changes the directory
	state  atomic.Pointer[identityState]
}

// identityState is an Identity at one moment. It never changes.
type identityState struct {
	rack        string
	certificate tls.Certificate
	authorities *x509.CertPool
}

// LoadIdentity reads an identity from its directory. Errors: ErrNoIdentity,
// wrapped; one that says what is wrong with it. An expired one is loaded: it says
// so when it is used.
func LoadIdentity(dir string) (*Identity, error) {
	if _, err := os.Lstat(filepath.Join(dir, certFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, noIdentity(dir)
	}
	unlock, err := lock(context.Background(), dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	id := &Identity{dir: dir}
	state, err := readIdentity(dir)
	if err != nil {
		return nil, err
	}
	server, err := read(filepath.Join(dir, serverFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load the agent's identity: %w", err)
	}
	id.server = strings.TrimSpace(string(server))
	id.state.Store(state)
	return id, nil
}

func noIdentity(dir string) error {
	return fmt.Errorf("%s: %w: \"rackreach enroll --rack NAME\" at the coordinator makes a token for it", dir, ErrNoIdentity)
}

// lock keeps other processes from changing an identity.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	f := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	if _, err := f.TryLockContext(ctx, lockEvery); err != nil {
		why := ""
		if errors.Is(err, context.DeadlineExceeded) {
			why = "another process may be enrolling it: "
		}
		return nil, errors.Join(fmt.Errorf("lock the agent's identity in %s: %s%w", dir, why, err), f.Close())
	}
	return func() { _ = f.Close() }, nil // nothing was written: closing it lets go of the lock
}

func readIdentity(dir string) (*identityState, error) {
	certs, err := readCertificates(filepath.Join(dir, certFile), maxChain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noIdentity(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("load the agent's identity: %w", err)
	}
	authorities, err := readCertificates(filepath.Join(dir, caFile), maxCAs)
	if err != nil {
		return nil, fmt.Errorf("load the agent's identity: %w", err)
	}
	key, err := fittingKey(dir, certs[0])
	if err != nil {
		return nil, err
	}
	return newIdentityState(key, certs, authorities)
}

// fittingKey is the key of a certificate. One that is still pending is moved to
// its place: the process that enrolled was interrupted there.
func fittingKey(dir string, c *x509.Certificate) (crypto.Signer, error) {
	key, _, err := readKey(filepath.Join(dir, keyFile))
	if err == nil && samePublic(key, c) {
		return key, nil
	}
	pending, _, pendingErr := readKey(filepath.Join(dir, pendingFile))
	if pendingErr == nil && samePublic(pending, c) {
		return pending, settle(dir)
	}
	if err == nil {
		err = fmt.Errorf("%s is not the key of %s", filepath.Join(dir, keyFile), certFile)
	}
	return nil, fmt.Errorf("load the agent's identity: %w: enroll the agent again with a new token", err)
}

// settle makes the pending key the one that counts.
func settle(dir string) error {
	if err := os.Rename(filepath.Join(dir, pendingFile), filepath.Join(dir, keyFile)); err != nil {
		return fmt.Errorf("keep the agent's key: %w", err)
	}
	if err := durable.SyncDir(dir); err != nil {
		return fmt.Errorf("keep the agent's key: %w", err)
	}
	return nil
}

func newIdentityState(key crypto.Signer, certs, authorities []*x509.Certificate) (*identityState, error) {
	is, err := claimOf(certs[0])
	if err != nil {
		return nil, fmt.Errorf("the agent's certificate: %w", err)
	}
	out := &identityState{rack: is.rack, certificate: tls.Certificate{PrivateKey: key, Leaf: certs[0]}, authorities: poolOf(authorities)}
	for _, c := range certs {
		out.certificate.Certificate = append(out.certificate.Certificate, c.Raw)
	}
	return out, nil
}

// keep makes what a coordinator answered durable and live, if it is what was
// asked for. pending.pem holds the key.
func (id *Identity) keep(rack string, key crypto.Signer, certDERs, authorityDERs [][]byte) error {
	certs, err := parseCertificates(certDERs, maxChain)
	if err != nil {
		return fmt.Errorf("the coordinator's answer: %w", err)
	}
	authorities, err := parseCertificates(authorityDERs, maxCAs)
	if err != nil {
		return fmt.Errorf("the coordinator's answer: authorities: %w", err)
	}
	state, err := newIdentityState(key, certs, authorities)
	switch {
	case err != nil:
		return fmt.Errorf("the coordinator's answer: %w", err)
	case state.rack != rack:
		return fmt.Errorf("the coordinator's answer: a certificate for rack %s was asked for, it is for %s", rack, state.rack)
	case !samePublic(key, certs[0]):
		return errors.New("the coordinator's answer: the certificate is for another key")
	}
	for _, c := range authorities {
		if !c.IsCA {
			return fmt.Errorf("the coordinator's answer: %.80q is not an authority", c.Subject)
		}
	}
	// The authorities come first: the old certificate goes with them too.
	if err := durable.Write(filepath.Join(id.dir, caFile), encodeCertificates(authorities)); err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(id.dir, certFile), encodeCertificates(certs)); err != nil {
		return err
	}
	if err := settle(id.dir); err != nil {
		return err
	}
	id.state.Store(state)
	return nil
}

// reload takes what another process has put into the directory.
func (id *Identity) reload(ctx context.Context) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	unlock, err := lock(ctx, id.dir)
	if err != nil {
		return err
	}
	defer unlock()
	state, err := readIdentity(id.dir)
	if err != nil {
		return err
	}
	if now := id.state.Load(); !bytes.Equal(now.certificate.Leaf.Raw, state.certificate.Leaf.Raw) {
		if state.rack != now.rack {
			return fmt.Errorf("the certificate in %s is now for rack %s: restart the agent if it is to be that one's", id.dir, state.rack)
		}
		id.state.Store(state)
	}
	return nil
}

// Rack is the rack of the agent.
func (id *Identity) Rack() string { return id.state.Load().rack }

// Server is the URL of the coordinator that enrolled it; empty when it is not
// known.
func (id *Identity) Server() string { return id.server }

// Expires is when the present certificate expires.
func (id *Identity) Expires() time.Time { return id.state.Load().certificate.Leaf.NotAfter }

// ClientTLS is the configuration with which the agent dials a coordinator at
// host, a DNS name or an address. It follows what is renewed: each handshake
// shows the certificate and believes the authorities of its moment.
func (id *Identity) ClientTLS(host string) *tls.Config {
	c := clientTLS(host, func([]*x509.Certificate) (*x509.CertPool, error) { return id.state.Load().authorities, nil })
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &id.state.Load().certificate, nil
	}
	return c
}
