package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"connectrpc.com/connect"
)

// GateOptions are what a Gate is made of.
type GateOptions struct {
	Tokens *Tokens
	Audit  *Audit
	// Agent is the rack whose agent calls, by the certificate of its connection;
	// "" when none was shown. Its error refuses the call. nil: nobody shows any.
	Agent func(ctx context.Context) (rack string, err error)
	// LoopbackViewer lets whoever calls from this machine without a token look.
	// It is for a port that listens on loopback only.
	LoopbackViewer bool
	// LoopbackAgents lets agents of this machine in without a certificate. It is
	// for a port that listens on loopback only.
	LoopbackAgents bool
	Log            *slog.Logger
}

// Gate is the interceptor of all handlers of a port: it finds out who calls,
// refuses who may not, and writes the audit trail.
type Gate struct {
	opts     GateOptions
	refusals throttle
}

var _ connect.Interceptor = (*Gate)(nil)

// NewGate makes a gate.
func NewGate(opts GateOptions) *Gate { return &Gate{opts: opts} }

// call is a call that is being judged.
type call struct {
	procedure, from string
	by              caller
	need            need
	secret          string // of the token that was shown; empty: none was
}

// WrapUnary implements connect.Interceptor.
func (g *Gate) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, q connect.AnyRequest) (connect.AnyResponse, error) {
		if q.Spec().IsClient {
			return next(ctx, q)
		}
		resource := resourceOf(q.Any())
		c, err := g.judge(ctx, q.Spec().Procedure, q.Header(), q.Peer().Addr, resource)
		if err != nil {
			return nil, err
		}
		if err := g.record(c, resource); err != nil {
			return nil, err
		}
		answer, err := next(context.WithValue(ctx, callerKey{}, c.by), q)
		g.recordRefusal(c, resource, err)
		return answer, err
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (g *Gate) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (g *Gate) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		c, err := g.judge(ctx, conn.Spec().Procedure, conn.RequestHeader(), conn.Peer().Addr, "")
		if err != nil {
			return err
		}
		watched := &watchedConn{StreamingHandlerConn: conn, gate: g, call: c}
		err = next(context.WithValue(ctx, callerKey{}, c.by), watched)
		g.recordRefusal(c, watched.resource, err)
		return err
	}
}

// watchedConn writes a stream down at its first message, which says what it is
// about.
type watchedConn struct {
	connect.StreamingHandlerConn
	gate     *Gate
	call     call
	begun    bool
	resource string
}

// Receive implements connect.StreamingHandlerConn.
func (w *watchedConn) Receive(m any) error {
	err := w.StreamingHandlerConn.Receive(m)
	if err != nil || w.begun {
		return err
	}
	w.begun, w.resource = true, resourceOf(m)
	return w.gate.record(w.call, w.resource)
}

// Send implements connect.StreamingHandlerConn. A token that was revoked, or has
// expired, is told nothing more.
func (w *watchedConn) Send(m any) error {
	if w.call.secret != "" {
		if _, err := w.gate.opts.Tokens.Check(w.call.secret); err != nil {
			return connect.NewError(connect.CodeUnauthenticated, err)
		}
	}
	return w.StreamingHandlerConn.Send(m)
}

// judge finds out who calls and whether they may. A refusal is written down.
func (g *Gate) judge(ctx context.Context, procedure string, header http.Header, from, resource string) (call, error) {
	c, rack, err := g.know(ctx, procedure, header, from, resource)
	switch {
	case err != nil:
		return c, err
	case c.need.open || c.need.agent:
		return c, nil
	case rack != "":
		return c, g.refuse(c, resource, connect.CodePermissionDenied, errors.New("an agent may not use the API: call without its certificate, with a token"))
	}
	if c.by.role < c.need.role {
		return c, g.refuse(c, resource, connect.CodePermissionDenied, fmt.Errorf("%s is the role of %s, and %s needs that of %s: ask an admin for a token", c.by.role, c.by.name, path.Base(procedure), c.need.role))
	}
	return c, nil
}

// know finds out who calls, and refuses whom nobody knows: rack is that of an
// agent. It needs nothing of the call's body.
func (g *Gate) know(ctx context.Context, procedure string, header http.Header, from, resource string) (c call, rack string, err error) {
	c = call{procedure: procedure, from: from}
	var known bool
	if c.need, known = policy[procedure]; !known {
		return c, "", g.refuse(c, resource, connect.CodePermissionDenied, errors.New("nobody may call this: it does not stand in the policy"))
	}
	if name, ok := ctx.Value(localKey{}).(string); ok {
		c.by, c.from = caller{name, Admin}, "this machine"
	}
	if g.opts.Agent != nil {
		rack, err = g.opts.Agent(ctx)
	}
	if err != nil {
		return c, "", g.refuse(c, resource, connect.CodeUnauthenticated, err)
	}
	if rack != "" {
		c.by = caller{"agent of " + rack, Nobody}
	}
	switch {
	case c.need.open:
		return c, rack, nil
	case c.need.agent:
		c, err = g.judgeAgent(c, rack, resource)
	case rack == "" && c.by.role == Nobody:
		if c.by, c.secret, err = g.bearer(header, from); err != nil {
			err = g.refuse(c, resource, connect.CodeUnauthenticated, err)
		}
	}
	return c, rack, err
}

func (g *Gate) judgeAgent(c call, rack, resource string) (call, error) {
	switch {
	case rack != "":
		return c, nil
	case g.opts.LoopbackAgents && (c.by.role != Nobody || isLoopback(c.from)):
		c.by = caller{"agent on this machine", Nobody}
		return c, nil
	}
	return c, g.refuse(c, resource, connect.CodeUnauthenticated, errors.New("only the agent of a rack may call this, with its certificate: \"rackreach enroll --rack NAME\" makes a token for one"))
}

// bearer is who shows a token, and its secret; or nobody in particular where that
// is enough.
func (g *Gate) bearer(header http.Header, from string) (by caller, secret string, err error) {
	values := header.Values("Authorization")
	if len(values) == 0 {
		if g.opts.LoopbackViewer && isLoopback(from) {
			return caller{"anonymous", Viewer}, "", nil
		}
		return caller{}, "", errors.New("no token was shown: send \"Authorization: Bearer TOKEN\" (RACKREACH_TOKEN, or the token of a context)")
	}
	kind, secret, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(kind, "Bearer") {
		return caller{}, "", errors.New("the Authorization header is not understood: \"Bearer TOKEN\" is expected, once")
	}
	secret = strings.TrimSpace(secret)
	t, err := g.opts.Tokens.Check(secret)
	if err != nil {
		return caller{}, "", fmt.Errorf("%w: ask an admin for a new one", err)
	}
	return caller{t.Name, t.Role}, secret, nil
}

// isLoopback reports whether an address is of this machine.
func isLoopback(from string) bool {
	host, _, err := net.SplitHostPort(from)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// entry is a line of the trail about a call.
func (c call) entry(resource, refused string) Entry {
	e := Entry{Who: c.by.name, From: c.from, Procedure: c.procedure, Resource: resource, Refused: refused}
	if c.by.role != Nobody {
		e.Role = c.by.role.String()
	}
	return e
}

// record writes down, durably, what is about to change something. What cannot be
// written down does not happen.
func (g *Gate) record(c call, resource string) error {
	if !c.need.changes {
		return nil
	}
	if err := g.opts.Audit.Write(c.entry(resource, "")); err != nil {
		g.opts.Log.Error("an order was refused, because it could not be written down", "procedure", c.procedure, "who", c.by.name, "error", err)
		return connect.NewError(connect.CodeUnavailable, errors.New("the order was not carried out, because it could not be written to the audit trail: look at the coordinator's log and disk"))
	}
	return nil
}

// recordRefusal writes down that a handler has refused a call for who made it.
func (g *Gate) recordRefusal(c call, resource string, err error) {
	var refused *connect.Error
	if errors.As(err, &refused) && (refused.Code() == connect.CodePermissionDenied || refused.Code() == connect.CodeUnauthenticated) {
		g.writeRefusal(c, resource, refused.Message())
	}
}

// refuse writes a refusal down and makes its error.
func (g *Gate) refuse(c call, resource string, code connect.Code, why error) error {
	g.writeRefusal(c, resource, why.Error())
	return connect.NewError(code, why)
}

// writeRefusal writes a refusal down, unless there are too many. The call is
// refused in any case.
func (g *Gate) writeRefusal(c call, resource, why string) {
	before, ok := g.refusals.allow(c.by.name, c.from, time.Now())
	if !ok {
		return
	}
	e := c.entry(resource, why)
	if before > 0 {
		e.Refused = fmt.Sprintf("%s (%d refusals before this one were too many to be written down)", clean(why, maxText/2), before)
	}
	if err := g.opts.Audit.Write(e); err != nil {
		g.opts.Log.Error("a refusal could not be written down", "procedure", c.procedure, "who", c.by.name, "error", err)
	}
}

// Unwritten is how many refusals were too many to be written down and are not
// yet told by a later line.
func (g *Gate) Unwritten() uint64 { return g.refusals.unwritten() }

// Look lets a handler of plain HTTP, such as metrics, be read by whoever may look.
func (g *Gate) Look(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, local := q.Context().Value(localKey{}).(string); !local {
			by, _, err := g.bearer(q.Header, q.RemoteAddr)
			if err != nil {
				_ = g.refuse(call{procedure: q.URL.Path, from: q.RemoteAddr, by: by}, "", connect.CodeUnauthenticated, err)
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, err.Error(), http.StatusUnauthorized)
				return
			}
		}
		next.ServeHTTP(w, q)
	})
}

// Plain lets a handler of plain HTTP be used by those who may call a procedure of the
// policy. It writes nothing down but refusals. The handler gets the ResponseWriter as
// it is.
func (g *Gate) Plain(procedure string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c, err := g.judge(q.Context(), procedure, q.Header, q.RemoteAddr, q.URL.Path)
		if err != nil {
			status := http.StatusUnauthorized
			if connect.CodeOf(err) == connect.CodePermissionDenied {
				status = http.StatusForbidden
			}
			var refused *connect.Error
			text := "refused"
			if errors.As(err, &refused) {
				text = refused.Message()
			}
			http.Error(w, text, status)
			return
		}
		next.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), callerKey{}, c.by)))
	})
}
