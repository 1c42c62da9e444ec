package power

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Suites tried, in this order: SHA256 with AES, SHA1 with AES (table 22-20).
// The BMC is never asked which it has: some do not answer that, others lie.
const (
	suiteFirst  = types.CipherSuiteID17
	suiteSecond = types.CipherSuiteID3
)

// session is one conversation with one BMC. It belongs to one goroutine.
type session struct {
	c *client.Client
	g *guard
	// settle unhooks the guard from the context, after which nothing but the
	// session itself stops it. Called once.
	settle func()
}

// dialer hands the library a wire that exists already.
type dialer struct{ wire net.Conn }

// Dial implements golang.org/x/net/proxy.Dialer.
func (d dialer) Dial(string, string) (net.Conn, error) { return d.wire, nil }

// talk takes the turn at a BMC, connects, logs in if asked to, runs fn and
// closes. It ends soon after ctx does, whatever the BMC sends.
func (c *Client) talk(ctx context.Context, t Target, asked string, login bool, fn func(context.Context, *session) error) error {
	if err := t.valid(); err != nil {
		return &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Answer: err.Error(), Next: "correct bmc in the rack file, or what bmc.credentials refers to", Kind: ErrBadInput}
	}
	leave, err := c.enter(ctx, t)
	if err != nil {
		return &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Answer: "not asked: others were still talking to it", Next: "retry", Kind: ErrCanceled, Cause: err}
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, sessionLimit)
	defer cancel()
	wire, err := c.o.Dial(ctx, "udp", t.addrPort().String())
	if err != nil {
		return t.explain(ctx, asked, fmt.Errorf("dial: %w", err), 0)
	}
	g := &guard{Conn: wire, user: t.User, password: t.Password, awaiting: framing15}
	defer wire.Close()
	lib, err := client.NewClient(t.Address.String(), int(t.addrPort().Port()), t.User, t.Password)
	if err != nil {
		return t.explain(ctx, asked, err, 0)
	}
	lib.WithUDPProxy(dialer{g}).WithTimeout(c.o.Timeout).WithRetry(c.o.Retries).WithCipherSuiteID(suiteFirst, suiteSecond)
	s := &session{c: lib, g: g}
	fired := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() { g.stop(); close(fired) })
	s.settle = func() {
		if !unhook() {
			<-fired
		}
	}
	if err = s.run(ctx, login, fn); err != nil {
		_, dropped := g.seen()
		return t.explain(ctx, asked, err, dropped)
	}
	return nil
}

// run logs in, runs fn and says farewell. A session that never came up is not
// closed: the BMC would not understand, and the library would wait for it.
func (s *session) run(ctx context.Context, login bool, fn func(context.Context, *session) error) error {
	if !login {
		defer s.settle()
		return protect(func() error { return fn(ctx, s) })
	}
	if err := protect(func() error { return s.c.Connect(ctx) }); err != nil {
		s.settle()
		if v := s.g.verdict(); v != nil {
			return v
		}
		return s.refused(types.CommandSetSessionPrivilegeLevel, err)
	}
	err := protect(func() error { return fn(ctx, s) })
	s.close(ctx)
	return err
}

// close ends the session at the BMC, also when ctx is over: BMCs hold few
// sessions. Whether it hears that changes nothing for the caller.
func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	s.settle()
	s.g.resume()
	stop := context.AfterFunc(ctx, s.g.stop)
	defer stop()
	if err := protect(func() error { return s.c.Close(ctx) }); err != nil {
		s.g.stop()
	}
}

// protect turns a panic of the library over a reply it cannot decode into an
// error. Its other goroutine, which only reads, is protected by the guard.
func protect(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %.100v", errUndecodable, r)
		}
	}()
	return fn()
}

// refused picks a completion code out of the library's error, if it has one.
func (s *session) refused(cmd types.Command, err error) error {
	var r *types.ResponseError
	if !errors.As(err, &r) {
		return err
	}
	if r.CompletionCode() == types.CodeOK {
		return fmt.Errorf("%w: %s", errUndecodable, clip(r.Error()))
	}
	return &refusal{cmd: cmd, code: r.CompletionCode()}
}

// enter waits for the BMC to be free, then for a free slot: a caller that waits
// for a busy BMC keeps no other BMC waiting.
func (c *Client) enter(ctx context.Context, t Target) (leave func(), err error) {
	key := t.addrPort()
	c.mu.Lock()
	w := c.busy[key]
	if w == nil {
		w = &turn{hold: make(chan struct{}, 1)}
		c.busy[key] = w
	}
	w.refs++
	c.mu.Unlock()
	drop := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if w.refs--; w.refs == 0 {
			delete(c.busy, key)
		}
	}
	select {
	case w.hold <- struct{}{}:
	case <-ctx.Done():
		drop()
		return nil, context.Cause(ctx)
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		<-w.hold
		drop()
		return nil, context.Cause(ctx)
	}
	return func() {
		<-c.slots
		<-w.hold
		drop()
	}, nil
}

// clip bounds a text that contains a stranger's bytes.
func clip(s string) string {
	const most = 200 // bytes
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}
