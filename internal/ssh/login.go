package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	xssh "golang.org/x/crypto/ssh"
)

const asksLogin = "let us log in"

// Methods of authentication (RFC 4252 §7 and §8, RFC 4256).
const (
	methodKey      = "publickey"
	methodPassword = "password"
	methodQuestion = "keyboard-interactive"
)

// login is how far a login is. It belongs to NewClientConn's goroutine.
type login struct {
	wire     *wire
	asked    bool // which method is next
	key      bool // the key was offered
	password bool // the password was offered
	banners  int
	banner   int // bytes
	rounds   int
	answered bool // the question for the password
}

// wire is the connection below SSH. The library asks for another method also when
// the connection broke, and does not say so.
type wire struct {
	net.Conn
	broken atomic.Pointer[error] // nil: it is whole
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.broken.CompareAndSwap(nil, &err)
	}
	return n, err
}

// connect opens the connection and logs in.
func (k *talk) connect(ctx context.Context) error {
	pinned, ok, err := k.c.o.Keys.Get(k.t.Device, k.t.Life)
	if err != nil {
		return k.unrecorded(err)
	}
	if ok {
		k.pinned = pinned
	}
	limited, cancel := context.WithTimeout(ctx, k.c.o.Login)
	defer cancel()
	address := k.t.addrPort().String()
	conn, err := k.c.o.Dial(limited, "tcp", address)
	if err != nil {
		return k.unreachable(ctx, err)
	}
	wire := &wire{Conn: conn}
	k.login.wire = wire
	inTime := context.AfterFunc(limited, func() { wire.Close() })
	session, channels, requests, err := xssh.NewClientConn(wire, address, k.config())
	if !inTime() && err == nil {
		_ = session.Close()
		err = limited.Err()
	}
	if err != nil {
		return k.refused(ctx, limited, err)
	}
	if !k.login.asked {
		k.c.o.Logger.Warn("the device lets everybody in", "device", k.t.Device, "address", address)
	}
	k.client = xssh.NewClient(session, channels, requests)
	k.ended, k.end = context.WithCancelCause(ctx)
	context.AfterFunc(k.ended, func() { k.client.Close() })
	return nil
}

func (k *talk) config() *xssh.ClientConfig {
	safe := xssh.SupportedAlgorithms()
	return &xssh.ClientConfig{
		Config:            xssh.Config{KeyExchanges: safe.KeyExchanges, Ciphers: safe.Ciphers, MACs: safe.MACs},
		ClientVersion:     "SSH-2.0-rackreach",
		User:              k.t.User,
		HostKeyCallback:   k.checkKey,
		HostKeyAlgorithms: hostKeyOrder(k.pinned),
		BannerCallback:    k.bannered,
		AuthCallback:      k.method,
	}
}

// method chooses how to log in next: by the key, then by the password, once. The
// password goes the way that the device offers: a wrong one that is sent both
// ways counts twice where accounts are locked.
func (k *talk) method(c *xssh.ClientAuthContext) (xssh.AuthMethod, error) {
	if e := k.stopped.Load(); e != nil {
		return nil, e
	}
	l := &k.login
	if broken := l.wire.broken.Load(); broken != nil { // not refused: it went away
		return nil, *broken
	}
	l.asked = true
	offers := func(method string) bool { return slices.Contains(c.AllowedMethods, method) }
	switch {
	case k.signer != nil && !l.key && offers(methodKey):
		l.key = true
		return xssh.PublicKeys(k.signer), nil
	case k.t.Password != "" && !l.password && offers(methodPassword):
		l.password = true
		return xssh.Password(k.t.Password), nil
	case k.t.Password != "" && !l.password && offers(methodQuestion):
		l.password = true
		return xssh.KeyboardInteractive(k.answer), nil
	}
	return nil, k.stop(k.noLogin(c))
}

func (k *talk) noLogin(c *xssh.ClientAuthContext) *Error {
	var tried []string
	if k.login.key {
		tried = append(tried, "the key")
	}
	if k.login.password {
		tried = append(tried, "the password")
	}
	offers := short(strings.Join(c.AllowedMethods, ", "), maxQuoted)
	e := Error{Asked: asksLogin, Kind: ErrLogin}
	switch {
	case len(tried) == 0:
		e.Answer = fmt.Sprintf("it offers %s, for which user %q has nothing", offers, k.t.User)
		e.Next = "give this device a credential of that kind in the rack file"
	case len(c.PartialSuccessMethods) > 0:
		e.Answer = fmt.Sprintf("it took %s of user %q and wants more: %s", strings.Join(tried, " and "), k.t.User, offers)
		e.Next = "let it take one factor from this agent"
	default:
		e.Answer = fmt.Sprintf("it refused %s of user %q; it offers %s", strings.Join(tried, " and "), k.t.User, offers)
		e.Next = "correct user and credential in the rack file, before more attempts lock the account"
	}
	return k.fail(e)
}

// answer answers one question for the password, which is not echoed (RFC 4256
// §3.1), and none of any other kind.
func (k *talk) answer(_, _ string, questions []string, echoes []bool) ([]string, error) {
	l := &k.login
	l.rounds++
	switch {
	case l.rounds > maxRounds || len(questions) > 1 || len(questions) == 1 && (l.answered || echoes[0]):
		return nil, k.stop(k.fail(Error{Asked: asksLogin, Kind: ErrLogin,
			Answer: fmt.Sprintf("it asks more than for a password: %q", short(strings.Join(questions, " "), maxQuoted)),
			Next:   "let it take a password or a key alone from this agent, or correct the password if it asks for it again"}))
	case len(questions) == 0:
		return nil, nil
	}
	l.answered = true
	return []string{k.t.Password}, nil
}

// bannered counts what is said before the login. Where it has no end the wire is
// closed, and what came is read to its end all the same: the library's reader else
// waits for ever to hand over what nobody takes.
func (k *talk) bannered(text string) error {
	l := &k.login
	l.banners++
	l.banner += len(text)
	if l.banners <= maxBanners && l.banner <= maxBanner {
		return nil
	}
	_ = k.stop(k.fail(Error{Asked: asksLogin, Kind: ErrLogin,
		Answer: fmt.Sprintf("its banner has no end (%d messages, %d bytes)", l.banners, l.banner), Next: "check what answers at this address"}))
	_ = l.wire.Close()
	return nil
}

// unreachable explains why there is no connection.
func (k *talk) unreachable(ctx context.Context, cause error) error {
	e := Error{Asked: asksLogin, Kind: ErrSilent, Cause: cause}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return k.canceled(ctx)
	case errors.Is(cause, syscall.ECONNREFUSED):
		e.Answer, e.Next = "nothing listens there", "wait until it is up; enable SSH on it, or correct its address or port in the rack file"
	default:
		e.Answer, e.Next = "no answer: "+short(cause.Error(), maxQuoted), "check its cable, its power, and its address in the rack file"
	}
	return k.fail(e)
}

func (k *talk) canceled(ctx context.Context) error {
	return k.fail(Error{Asked: asksLogin, Kind: ErrCanceled, Cause: ctx.Err(), Answer: "given up before it was done", Next: "nothing to do: the run was stopped"})
}

// refused explains why there is a connection, but no login.
func (k *talk) refused(ctx, limited context.Context, cause error) error {
	if e := k.stopped.Load(); e != nil {
		return e
	}
	words := short(strings.TrimPrefix(cause.Error(), "ssh: handshake failed: "), maxQuoted)
	e := Error{Asked: asksLogin, Kind: ErrSilent, Cause: cause}
	var common *xssh.AlgorithmNegotiationError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return k.canceled(ctx)
	case limited.Err() != nil:
		e.Kind = ErrSlow
		e.Answer = "it took the connection, but did not let us in in time"
		e.Next = "wait until it is up; check its load, and that it need not ask a name server for our name"
	case errors.As(cause, &common):
		e.Kind = ErrLogin
		e.Answer = fmt.Sprintf("it speaks nothing that is safe (%s; it knows %s)", short(common.What, maxQuoted), short(strings.Join(common.RequestedAlgorithms, ", "), maxQuoted))
		e.Next = "update its software, or enable newer algorithms on it"
	case k.login.key || k.login.password:
		e.Kind = ErrLogin
		e.Answer = fmt.Sprintf("it closed the connection when user %q logged in: %s", k.t.User, words)
		e.Next = "check user and credential in the rack file, and the device's own log, before more attempts lock the account"
	default:
		e.Answer = "it ended the connection before the login: " + words
		e.Next = "wait until it is up; check that SSH answers at this port and lets this machine in"
	}
	return k.fail(e)
}
