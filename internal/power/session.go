package power

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/types"
)

// Suites tried, in this order: SHA256 with AES, SHA1 with AES (table 22-20).
// The BMC is never asked which it has: some do not answer that, others lie.
const (
	suiteFirst  = types.CipherSuiteID17
	suiteSecond = types.CipherSuiteID3
)

// session is one conversation with one BMC. It belongs to its owner's goroutine.
type session struct {
	o     *owner
	t     Target
	c     *client.Client
	g     *guard
	suite types.CipherSuiteID
	kept  bool // it has served a call before
	// sent says that the call under way has sent what must not be sent blindly again.
	sent bool
}

// dialer hands the library a wire that exists already.
type dialer struct{ wire net.Conn }

// Dial implements golang.org/x/net/proxy.Dialer.
func (d dialer) Dial(string, string) (net.Conn, error) { return d.wire, nil }

// dial opens the wire to a BMC; nothing is sent.
func (o *owner) dial(ctx context.Context, t Target) (*session, error) {
	wire, err := o.c.o.Dial(ctx, "udp", t.addrPort().String())
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	g := &guard{Conn: wire, user: t.User, password: t.Password, awaiting: framing15}
	lib, err := client.NewClient(t.Address.String(), int(t.addrPort().Port()), t.User, t.Password)
	if err != nil {
		return nil, errors.Join(err, wire.Close())
	}
	lib.WithUDPProxy(dialer{g}).WithTimeout(o.c.o.Timeout).WithRetry(0).WithMaxPrivilegeLevel(types.PrivilegeLevelAdministrator)
	return &session{o: o, t: t, c: lib, g: g}, nil
}

// do runs fn until it ends or ctx does. Errors know how many datagrams were dropped
// meanwhile.
func (s *session) do(ctx context.Context, fn func(context.Context, *session) error) error {
	s.sent = false
	s.g.resume()
	fired := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() { s.g.stop(); close(fired) })
	defer func() {
		if !unhook() {
			<-fired
		}
	}()
	_, before := s.g.seen()
	err := protect(func() error { return fn(ctx, s) })
	if err != nil {
		if _, after := s.g.seen(); after > before {
			return &noisy{error: err, dropped: after - before}
		}
	}
	return err
}

// noisy is an error of a conversation in which datagrams were dropped.
type noisy struct {
	error
	dropped int
}

func (n *noisy) Unwrap() error { return n.error }

// login opens the session (§13.15) with the suite that worked last, then with the
// other one. It does so step by step: the library's own way begins with a question
// that needs no answer, and leaves a goroutine behind that sends commands of its
// own between ours.
func (s *session) login(ctx context.Context) error {
	suites := [2]types.CipherSuiteID{suiteFirst, suiteSecond}
	if s.o.suite == suiteSecond {
		suites[0], suites[1] = suites[1], suites[0]
	}
	s.c.WithRetry(s.o.c.o.Retries) // the same bytes again, which is right here
	var err error
	for _, suite := range suites {
		s.suite = suite
		s.c.WithCipherSuiteID(suite)
		if err = s.handshake(ctx); err == nil {
			break
		}
		if ctx.Err() != nil || errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if s.g.verdict() == nil {
			// Nobody has said no: it is silent, or drops what it does not know.
			s.c.WithRetry(0)
		}
	}
	s.c.WithRetry(0)
	if err != nil {
		if v := s.g.verdict(); v != nil {
			return v
		}
		return s.refused(types.CommandSetSessionPrivilegeLevel, err)
	}
	// A session begins as one of a user, who may not change anything (§22.18).
	return s.ask(ctx, types.CommandSetSessionPrivilegeLevel, func() error {
		_, err := s.c.SetSessionPrivilegeLevel(ctx, types.PrivilegeLevelAdministrator)
		return err
	})
}

func (s *session) handshake(ctx context.Context) error {
	if _, err := s.c.OpenSession(ctx); err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	if _, err := s.c.RAKPMessage1(ctx); err != nil {
		return fmt.Errorf("RAKP message 1: %w", err)
	}
	if _, err := s.c.RAKPMessage3(ctx); err != nil {
		return fmt.Errorf("RAKP message 3: %w", err)
	}
	return nil
}

// warmTries is how many questions a session that worked may leave unanswered before
// it is taken for lost.
const warmTries = 2

// ask asks a question, which may be repeated: each time as a new command with a new
// sequence number, since a BMC drops one that it has seen (§6.12.13).
func (s *session) ask(ctx context.Context, cmd types.Command, question func() error) error {
	tries := s.o.c.o.Retries + 1
	if s.kept {
		tries = min(tries, warmTries)
	}
	for {
		err := s.refused(cmd, question())
		tries--
		if err == nil || tries <= 0 || ctx.Err() != nil || errors.As(err, new(*refusal)) || errors.Is(err, errUndecodable) || errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
}

// change runs do, which sends one change. It is refused as tooSoon while the BMC must
// be left alone; the error is nil or a refusal when it was answered.
func (s *session) change(cmd types.Command, do func() error) error {
	if wait := time.Until(s.o.ready); wait > 0 {
		return &tooSoon{wait}
	}
	err := s.refused(cmd, do())
	s.o.ready = time.Now().Add(s.o.c.o.Gap)
	return err
}

// sound reports whether the session can be used after a call that ended so.
func (s *session) sound(err error) bool {
	var done *Error
	return err == nil || errors.As(err, new(*refusal)) || errors.As(err, new(*tooSoon)) || errors.As(err, &done) && done.Kind != ErrSilent
}

// close ends the session at the BMC, also when ctx is over: BMCs hold few
// sessions. Whether it hears that changes nothing for the caller.
func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	defer s.hangUp()
	s.g.resume()
	stop := context.AfterFunc(ctx, s.g.stop)
	defer stop()
	if err := protect(func() error { return s.c.Close(ctx) }); err != nil {
		s.g.stop()
	}
}

// hangUp closes the wire. A session that never came up is not closed: the BMC would
// not understand, and the library would wait for it.
func (s *session) hangUp() {
	s.g.stop()
	s.g.Conn.Close() // of a socket without a peer: nothing can be lost
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

// clip bounds a text that contains a stranger's bytes.
func clip(s string) string {
	const most = 200 // bytes
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}
