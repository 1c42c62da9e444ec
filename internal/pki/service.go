package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Service gives agents their certificates. It is served behind WithConnection.
type Service struct {
	opts     ServiceOptions
	failures throttle
}

// ServiceOptions are what a Service is made of.
type ServiceOptions struct {
	Enrollments *Enrollments
	Authorities *Authorities  // required: who has none serves no enrollment
	Server      *Server       // says whom agents must trust
	Life        time.Duration // of an agent's certificate; 0: AgentLife
	Log         *slog.Logger
	// Enrolled is told of each certificate that was given for a token; nil: nobody is.
	Enrolled func(ctx context.Context, rack, from string)
}

var _ messagesconnect.EnrollmentServiceHandler = (*Service)(nil)

// NewService makes a service.
func NewService(opts ServiceOptions) *Service {
	if opts.Life == 0 {
		opts.Life = AgentLife
	}
	return &Service{opts: opts}
}

// Enroll implements the EnrollmentService.
func (s *Service) Enroll(ctx context.Context, q *connect.Request[messages.EnrollRequest]) (*connect.Response[messages.EnrollResponse], error) {
	from := source(q.Peer().Addr)
	if wait := s.failures.wait(from, time.Now()); wait > 0 {
		return nil, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("too many wrong enrollment tokens came from %s: try again in %s", from, wait.Round(time.Second)))
	}
	rack, generation, csr, err := s.taken(ctx, q.Msg)
	if err != nil {
		var refused *connect.Error
		if !errors.As(err, &refused) {
			// What went wrong here may have used the token up; the same agent can try
			// again with the same key.
			s.opts.Log.Error("an agent could not be enrolled", "from", q.Peer().Addr, "error", err)
			return nil, connect.NewError(connect.CodeUnavailable, errors.New("the coordinator could not enroll the agent: try again with the same token"))
		}
		s.failures.failed(from, time.Now())
		s.opts.Log.Warn("an agent was not enrolled", "from", q.Peer().Addr, "error", refused.Message())
		return nil, err
	}
	certs, authorities, err := s.issue(rack, generation, csr)
	if err != nil {
		return nil, err
	}
	s.opts.Log.Info("an agent was enrolled", "rack", rack, "generation", generation, "from", q.Peer().Addr)
	if s.opts.Enrolled != nil {
		s.opts.Enrolled(ctx, rack, q.Peer().Addr)
	}
	return connect.NewResponse(&messages.EnrollResponse{Certificates: certs, Authorities: authorities}), nil
}

// taken uses a token up for a signing request. An error that is the caller's
// fault is a *connect.Error.
func (s *Service) taken(ctx context.Context, q *messages.EnrollRequest) (rack string, generation uint64, csr *x509.CertificateRequest, err error) {
	csr, err = parseCSR(q.GetCsr())
	if err != nil {
		return "", 0, nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	key, err := keyHash(csr.PublicKey)
	if err != nil {
		return "", 0, nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	rack, generation, err = s.opts.Enrollments.take(ctx, q.GetSecret(), key)
	if errors.Is(err, ErrToken) || errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrTokenUsed) {
		err = connect.NewError(connect.CodeUnauthenticated, fmt.Errorf("%w: \"rackreach enroll\" makes a new one", err))
	}
	return rack, generation, csr, err
}

// Renew implements the EnrollmentService. Who asks is what the connection's
// certificate says, judged by the table itself and by the clock of now: a
// connection may be older than either.
func (s *Service) Renew(ctx context.Context, q *connect.Request[messages.RenewRequest]) (*connect.Response[messages.RenewResponse], error) {
	state, ok := Connection(ctx)
	if !ok {
		return nil, connect.NewError(connect.CodeUnauthenticated, fmt.Errorf("%w: only the agent of a rack renews its certificate", ErrNoCertificate))
	}
	if err := s.opts.Enrollments.View.Check(state); err != nil {
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	}
	rack, generation, err := s.opts.Enrollments.current(ctx, state.PeerCertificates[0])
	switch {
	case errors.Is(err, ErrRevoked):
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	case err != nil:
		s.opts.Log.Error("a certificate could not be renewed", "from", q.Peer().Addr, "error", err)
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("the coordinator cannot read which certificates are revoked: try again later"))
	}
	csr, err := parseCSR(q.Msg.GetCsr())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	certs, authorities, err := s.issue(rack, generation, csr)
	if err != nil {
		return nil, err
	}
	s.opts.Log.Info("an agent's certificate was renewed", "rack", rack, "generation", generation, "from", q.Peer().Addr)
	return connect.NewResponse(&messages.RenewResponse{Certificates: certs, Authorities: authorities}), nil
}

// issue makes the certificate of a rack, and says whom its agent trusts.
func (s *Service) issue(rack string, generation uint64, csr *x509.CertificateRequest) (certs, authorities [][]byte, err error) {
	c, err := s.opts.Authorities.load().signer.issueAgent(rack, generation, csr, time.Now(), s.opts.Life)
	if err != nil {
		s.opts.Log.Error("no certificate could be issued", "rack", rack, "error", err)
		return nil, nil, connect.NewError(connect.CodeUnavailable, errors.New("the coordinator could not issue a certificate: its log says why"))
	}
	for _, a := range s.opts.Server.Trusted() {
		authorities = append(authorities, a.Raw)
	}
	return [][]byte{c.Raw}, authorities, nil
}
