package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Files are certificates that somebody else makes.
type Files struct {
	Certificate string // the coordinator's, PEM, then what leads to its authority
	Key         string // its private key, PEM
	AgentCA     string // the authorities of the agents' certificates, PEM
}

// Check says what is wrong with the files; nil: a server can be made of them now.
func (f *Files) Check() error {
	return new(Server).fromFiles(&serverState{pool: x509.NewCertPool()}, f, time.Now())
}

// ServerOptions are what a Server is made of: Authorities and Names, or Files.
// With both, the coordinator shows the certificate of the files, and agents of
// either are believed.
type ServerOptions struct {
	Authorities *Authorities
	Names       []string      // DNS names and addresses by which the coordinator is reached
	Life        time.Duration // of its certificate; 0: ServerLife
	Files       *Files
	View        *View // which certificates are revoked
	Log         *slog.Logger
}

// Server is the coordinator's own certificate, and whom it believes. Both follow
// their files and renew without a restart.
type Server struct {
	opts ServerOptions
	look time.Duration

	mu      sync.Mutex // held by who makes a new state
	looked  atomic.Int64
	trouble string
	state   atomic.Pointer[serverState]
}

// serverState is a Server at one moment. It never changes.
type serverState struct {
	certificate *tls.Certificate
	renew       time.Time // zero: never by itself
	pool        *x509.CertPool
	set         *authoritySet
	files       []fs.FileInfo
}

// NewServer reads or makes the certificate of a coordinator.
func NewServer(opts ServerOptions) (*Server, error) {
	if opts.Authorities == nil && opts.Files == nil {
		return nil, errors.New("serve with certificates: there is neither an authority nor a certificate: \"rackreach coordinator init\" makes an authority")
	}
	if opts.Life == 0 {
		opts.Life = ServerLife
	}
	s := &Server{opts: opts, look: lookEvery}
	files := s.stat()
	state, err := s.make(time.Now(), files)
	if err != nil {
		return nil, err
	}
	s.state.Store(state)
	s.looked.Store(time.Now().UnixNano())
	return s, nil
}

// stat is how the files are at this moment; nil for one that is not there.
func (s *Server) stat() []fs.FileInfo {
	if s.opts.Files == nil {
		return nil
	}
	var out []fs.FileInfo
	for _, path := range []string{s.opts.Files.Certificate, s.opts.Files.Key, s.opts.Files.AgentCA} {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		out = append(out, info)
	}
	return out
}

// sameFile reports whether a file was neither written nor replaced.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// make makes the state of now.
func (s *Server) make(now time.Time, files []fs.FileInfo) (*serverState, error) {
	out := &serverState{files: files, pool: x509.NewCertPool()}
	if s.opts.Authorities != nil {
		out.set = s.opts.Authorities.load()
		for _, c := range out.set.trusted {
			out.pool.AddCert(c)
		}
	}
	if f := s.opts.Files; f != nil {
		return out, s.fromFiles(out, f, now)
	}
	key, cert, err := out.set.signer.issueServer(s.opts.Names, now, s.opts.Life)
	if err != nil {
		return nil, err
	}
	// The authority's own certificate is shown too: who knows nothing but its
	// fingerprint can then check the rest.
	out.certificate = &tls.Certificate{Certificate: [][]byte{cert.Raw, out.set.signer.Certificate.Raw}, PrivateKey: key, Leaf: cert}
	out.renew = renewAt(cert)
	return out, nil
}

func (s *Server) fromFiles(out *serverState, f *Files, now time.Time) error {
	chain, err := readCertificates(f.Certificate, maxChain)
	if err != nil {
		return fmt.Errorf("load the coordinator's certificate: %w", err)
	}
	key, _, err := readKey(f.Key)
	if err != nil {
		return fmt.Errorf("load the coordinator's key: %w", err)
	}
	agents, err := readCertificates(f.AgentCA, maxCAs)
	if err != nil {
		return fmt.Errorf("load the authorities of the agents: %w", err)
	}
	switch {
	case !samePublic(key, chain[0]):
		return fmt.Errorf("load the coordinator's certificate: %s is not the key of %s", f.Key, f.Certificate)
	case !now.Before(chain[0].NotAfter):
		return fmt.Errorf("load the coordinator's certificate: %s expired at %s: put a new one in its place", f.Certificate, chain[0].NotAfter.Format(time.RFC3339))
	}
	for _, c := range agents {
		if !c.IsCA {
			return fmt.Errorf("load the authorities of the agents: %s holds %.80q, which is not an authority: it must hold those that signed the agents' certificates", f.AgentCA, c.Subject)
		}
		out.pool.AddCert(c)
	}
	out.certificate = &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		out.certificate.Certificate = append(out.certificate.Certificate, c.Raw)
	}
	return nil
}

// current is the state of now. What cannot be read or made leaves the one of
// before, and is logged once.
func (s *Server) current() *serverState {
	now, state := time.Now(), s.state.Load()
	if now.UnixNano()-s.looked.Load() < int64(s.look) || !s.mu.TryLock() {
		return state
	}
	defer s.mu.Unlock()
	s.looked.Store(now.UnixNano())
	files := s.stat()
	due := !state.renew.IsZero() && !now.Before(state.renew)
	changed := !slices.EqualFunc(files, state.files, sameFile) ||
		s.opts.Authorities != nil && s.opts.Authorities.load() != state.set
	if !due && !changed {
		return state
	}
	next, err := s.make(now, files)
	if err != nil {
		if s.trouble != err.Error() {
			s.trouble = err.Error()
			s.opts.Log.Error("the coordinator's certificate could not be replaced; the one of before is kept", "expires", state.certificate.Leaf.NotAfter, "error", err)
		}
		return state
	}
	s.trouble = ""
	s.state.Store(next)
	s.opts.Log.Info("the coordinator has a new certificate", "expires", next.certificate.Leaf.NotAfter)
	return next
}

// Expires is when the certificate that is shown now expires.
func (s *Server) Expires() time.Time { return s.current().certificate.Leaf.NotAfter }

// Fingerprint is that of the authority whose certificate is shown: what an
// enrollment token pins. Empty when none is shown: the file of the certificate
// then has to hold its authority too.
func (s *Server) Fingerprint() string {
	if shown := s.current().shown(); len(shown) > 0 {
		return Fingerprint(shown[len(shown)-1])
	}
	return ""
}

// Trusted is the authorities that agents must trust to reach this coordinator,
// and those that follow.
func (s *Server) Trusted() []*x509.Certificate {
	state := s.current()
	out := state.shown()
	if state.set != nil {
		for _, c := range state.set.trusted {
			if !slices.ContainsFunc(out, c.Equal) {
				out = append(out, c)
			}
		}
	}
	return out
}

// shown is the authorities behind the certificate.
func (s *serverState) shown() (out []*x509.Certificate) {
	for _, der := range s.certificate.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil && c.IsCA {
			out = append(out, c)
		}
	}
	return out
}

// TLS is the configuration of the coordinator's port: TLS 1.3, HTTP/2. A client
// may show a certificate; one that is unknown, expired, revoked, made for
// something else or that names no rack ends the handshake.
func (s *Server) TLS() *tls.Config {
	base := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2", "http/1.1"},
		ClientAuth:             tls.VerifyClientCertIfGiven,
		SessionTicketsDisabled: true, // whoever connects again is checked again
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.current().certificate, nil
		},
		VerifyConnection: s.verify,
	}
	out := base.Clone()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = s.current().pool
		return c, nil
	}
	return out
}

// verify judges a client's certificate after its chain was believed.
func (s *Server) verify(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 0 {
		return nil
	}
	return s.opts.View.Check(c)
}
