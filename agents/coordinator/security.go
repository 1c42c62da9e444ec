package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/rackreach/rackreach/actors"
	"github.com/rackreach/rackreach/internal/access"
	"github.com/rackreach/rackreach/internal/api"
	"github.com/rackreach/rackreach/internal/fleetlog"
	"github.com/rackreach/rackreach/internal/pki"
)

// Security is who a coordinator is, and whom it lets in. Without Names and Files
// there are no certificates, and it must listen on loopback only.
type Security struct {
	Dir   string     // of the authority ("pki") and the audit trail
	Names []string   // by which it is reached; the authority makes its certificate
	Files *pki.Files // certificates that somebody else makes; nil: none
	URL   string     // how agents reach it
}

// secure reports whether there are certificates.
func (s Security) secure() bool { return len(s.Names) > 0 || s.Files != nil }

// auditLimit is how large a file of the audit trail grows; the one before it is kept.
const auditLimit = 64 << 20 // bytes

// keeper keeps who may do what.
type keeper struct {
	tokens      *access.Tokens
	tokenTable  *fleetlog.Table
	audit       *access.Audit
	access      *access.Service
	view        *pki.View
	generations *fleetlog.Table // nil: there are no certificates
	server      *pki.Server     // nil: as above
	enrollment  *pki.Service    // nil: the certificates are somebody else's
	log         *slog.Logger

	mu      sync.Mutex
	revoked func(rack string) // set once there are connections to close
}

// table is a table of the log in the words of the packages that use it.
type table struct {
	*fleetlog.Table
	none, conflict error
}

func (t table) told(err error) error {
	switch {
	case errors.Is(err, fleetlog.ErrNone):
		return fmt.Errorf("%w: %w", t.none, err)
	case errors.Is(err, fleetlog.ErrConflict):
		return fmt.Errorf("%w: %w", t.conflict, err)
	}
	return err
}

func (t table) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	v, revision, err := t.Table.Get(ctx, key)
	return v, revision, t.told(err)
}

func (t table) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	n, err := t.Table.Update(ctx, key, value, revision)
	return n, t.told(err)
}

func newKeeper(ctx context.Context, s Security, log *fleetlog.Log, logger *slog.Logger) (_ *keeper, err error) {
	k := &keeper{log: logger}
	if k.tokenTable, err = log.Table(ctx, "tokens"); err != nil {
		return nil, err
	}
	k.tokens = access.NewTokens(table{k.tokenTable, access.ErrNone, access.ErrConflict})
	if err := k.tokens.Load(ctx); err != nil {
		return nil, err
	}
	if k.audit, err = access.OpenAudit(filepath.Join(s.Dir, "audit.jsonl"), auditLimit); err != nil {
		return nil, err
	}
	o := access.ServiceOptions{Tokens: k.tokens, Audit: k.audit, Log: logger}
	if s.secure() {
		if err := k.certify(ctx, s, log, &o); err != nil {
			return nil, errors.Join(err, k.audit.Close())
		}
	}
	k.access = access.NewService(o)
	return k, nil
}

// certify sets up the certificates.
func (k *keeper) certify(ctx context.Context, s Security, log *fleetlog.Log, o *access.ServiceOptions) (err error) {
	if k.generations, err = log.Table(ctx, "generations"); err != nil {
		return err
	}
	k.view = pki.NewView(k.whenRevoked)
	generations := table{k.generations, pki.ErrNone, pki.ErrConflict}
	if err := k.view.Load(ctx, generations); err != nil {
		return err
	}
	so := pki.ServerOptions{Names: s.Names, Files: s.Files, View: k.view, Log: k.log}
	if len(s.Names) > 0 {
		if so.Authorities, err = pki.OpenAuthorities(filepath.Join(s.Dir, "pki"), k.log); err != nil {
			return err
		}
	}
	if k.server, err = pki.NewServer(so); err != nil {
		return err
	}
	secrets, err := log.Table(ctx, "enrollments")
	if err != nil {
		return err
	}
	e := &pki.Enrollments{Tokens: table{secrets, pki.ErrNone, pki.ErrConflict}, Generations: generations, View: k.view, URL: s.URL, Fingerprint: k.server.Fingerprint}
	o.Revoke = e.Revoke
	if so.Authorities == nil {
		return nil
	}
	o.Enroll = e.Create
	k.enrollment = pki.NewService(pki.ServiceOptions{Enrollments: e, Authorities: so.Authorities, Server: k.server, Log: k.log,
		Enrolled: func(_ context.Context, rack, from string) {
			if err := k.audit.Write(access.Entry{Who: "agent of " + rack, From: from, Procedure: "/rackreach.v1.EnrollmentService/Enroll", Resource: "racks/" + rack}); err != nil {
				k.log.Error("an enrollment could not be written to the audit trail", "rack", rack, "error", err)
			}
		}})
	return nil
}

// whenRevoked is told of racks whose certificates are worth nothing any more.
func (k *keeper) whenRevoked(rack string) {
	k.mu.Lock()
	fn := k.revoked
	k.mu.Unlock()
	if fn != nil {
		fn(rack)
	}
}

// closes says what to do with the connections of a rack that is revoked.
func (k *keeper) closes(fn func(rack string)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked = fn
}

func (k *keeper) close() error { return k.audit.Close() }

// followTokens follows what other coordinators do.
func (k *keeper) followTokens(ctx context.Context) error {
	return k.tokenTable.Watch(ctx, k.tokens.Set)
}

func (k *keeper) followGenerations(ctx context.Context) error {
	if k.generations == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return k.generations.Watch(ctx, func(rack string, value []byte, revision uint64) error {
		if value == nil {
			return nil
		}
		return k.view.Set(rack, value, revision)
	})
}

// port is one of the places where a coordinator serves.
type port struct {
	listener net.Listener
	tls      *tls.Config
	gate     *access.Gate
	rack     func(ctx context.Context) (string, error)
	local    bool // only the owner of this process can open it
}

// local is the port of this machine: whoever may open the socket is an admin.
func (k *keeper) local(l net.Listener) port {
	return port{listener: l, local: true, gate: access.NewGate(access.GateOptions{Tokens: k.tokens, Audit: k.audit, LoopbackAgents: true, Log: k.log}), rack: believe}
}

// network is the port of all others; on loopback when there are no certificates.
func (k *keeper) network(l net.Listener) port {
	if k.server == nil {
		return port{listener: l, rack: believe,
			gate: access.NewGate(access.GateOptions{Tokens: k.tokens, Audit: k.audit, LoopbackViewer: true, LoopbackAgents: true, Log: k.log})}
	}
	// A connection may be older than a revocation, and outlive its certificate: each
	// call is judged.
	rackOf := func(ctx context.Context) (string, error) {
		s, ok := pki.Connection(ctx)
		if !ok {
			return "", pki.ErrNoCertificate
		}
		if err := k.view.Check(s); err != nil {
			return "", err
		}
		rack, _, err := pki.RackOf(s)
		return rack, err
	}
	agent := func(ctx context.Context) (string, error) {
		rack, err := rackOf(ctx)
		if errors.Is(err, pki.ErrNoCertificate) {
			return "", nil
		}
		return rack, err
	}
	return port{listener: l, tls: k.server.TLS(), gate: access.NewGate(access.GateOptions{Tokens: k.tokens, Audit: k.audit, Agent: agent, Log: k.log}), rack: rackOf}
}

// believe lets an agent say itself which rack it is of.
func believe(context.Context) (string, error) { return "", nil }

// agentOf names the agent that asks the depot: by its certificate, or on this machine
// by its connection.
func agentOf(q *http.Request) string {
	name := who(q.Context())
	if q.TLS == nil {
		name += " " + q.RemoteAddr
	}
	return name
}

// still says why an agent may fetch nothing more: its certificate may have been revoked
// since it began.
func (k *keeper) still(q *http.Request) error {
	if s, ok := pki.Connection(q.Context()); ok && k.view != nil {
		return k.view.Check(s)
	}
	return nil
}

// connected puts into the context of a connection who is at its other end.
func connected(ctx context.Context, c net.Conn) context.Context {
	if _, unix := c.(*net.UnixConn); unix {
		return access.WithLocal(ctx, api.Peer(c))
	}
	return ctx
}

// who names who calls.
func who(ctx context.Context) string {
	name, _ := access.Who(ctx)
	return name
}

// kick ends the connection of a rack's agent.
func (c *Coordinator) kick(rack string, why error) {
	c.system.Root.Send(c.fleet, &actors.Kick{Rack: rack, Why: why})
}
