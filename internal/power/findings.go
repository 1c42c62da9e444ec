package power

import (
	"context"
	"errors"
	"fmt"

	"github.com/bougou/go-ipmi/pkg/types"
)

// Finding is a weakness of a BMC that somebody ought to know.
type Finding struct {
	What string // it is, for people
	Next string // what to do
}

// wellKnown are logins that BMCs are delivered with, by their makers' manuals, and
// those without a password.
var wellKnown = map[Credentials]string{
	{"ADMIN", "ADMIN"}:     "Supermicro",
	{"root", "calvin"}:     "Dell",
	{"USERID", "PASSW0RD"}: "Lenovo",
	{"admin", "admin"}:     "several makers",
	{"root", "0penBmc"}:    "OpenBMC",
	{"root", "changeme"}:   "Oracle",
}

// Delivered says whether a login is one that BMCs are delivered with. Nothing is sent.
func Delivered(user, password string) (Finding, bool) {
	maker, ok := wellKnown[Credentials{user, password}]
	what := "the login that rackreach was given is one that everybody knows: that of " + maker
	if password == "" {
		what, ok = "the login that rackreach was given has no password", true
	}
	return Finding{
		What: what,
		Next: "change the password, and what bmc.credentials refers to",
	}, ok
}

// Defaults are the logins that the maker of a BMC delivers it with, at most MaxLogins; none
// where the maker is not known: each try may count towards a lock.
func Defaults(i Info) (out []Credentials) {
	for l, maker := range wellKnown {
		if maker == i.Maker() && len(out) < MaxLogins {
			out = append(out, l)
		}
	}
	return out
}

// SuiteZero asks for a session of cipher suite 0, which checks no password, and goes
// no further: no session comes of it, and nothing is changed. The BMC forgets the
// question by itself.
//
// Errors: as Login. A BMC that refuses has no error and no finding.
func (c *Client) SuiteZero(ctx context.Context, t Target) (found *Finding, err error) {
	err = c.talk(ctx, t, "refuse sessions without a password", stranger, func(ctx context.Context, s *session) error {
		s.c.WithCipherSuiteID(types.CipherSuiteID0).WithRetry(s.o.c.o.Retries)
		_, err := s.c.OpenSession(ctx)
		if s.g.verdict() != nil {
			return nil // it refuses
		}
		if err == nil {
			found = &Finding{
				What: "it opens sessions of cipher suite 0, in which no password is asked for",
				Next: "switch cipher suite 0 off on its LAN channel: ipmitool lan set CHANNEL cipher_privs Xaaaaaaaaaaaaaa",
			}
		}
		return err
	})
	return found, err
}

// MaxLogins bounds how many logins TryLogins tries at one BMC. Some lock an account
// after three failures.
const MaxLogins = 2

// Credentials are a login to try.
type Credentials struct{ User, Password string }

// TryLogins tries logins that somebody listed, at most MaxLogins, and stops at the
// first that the BMC accepts. It reads only: the session is closed again. Every
// failure counts where a BMC locks accounts, and may lock out those who work there:
// nobody's list is tried that they did not write down.
//
// Errors: ErrBadInput for a longer list; as Login, except ErrLogin.
func (c *Client) TryLogins(ctx context.Context, t Target, list []Credentials) (*Finding, error) {
	if len(list) > MaxLogins {
		return nil, &Error{Device: t.Device, Address: t.addrPort(), Asked: "refuse logins that everybody knows", Kind: ErrBadInput,
			Answer: fmt.Sprintf("%d logins are too many: a BMC may lock the account", len(list)), Next: fmt.Sprintf("list %d at most", MaxLogins)}
	}
	for i, l := range list {
		if i > 0 {
			if err := pause(ctx, max(c.o.Gap, 0)); err != nil {
				return nil, t.explain(ctx, "refuse logins that everybody knows", err)
			}
		}
		u := t
		u.User, u.Password = l.User, l.Password
		_, err := c.PowerState(ctx, u)
		if err == nil {
			return &Finding{What: fmt.Sprintf("it lets in user %q with a password that was tried", l.User), Next: "change that password on it"}, nil
		}
		if !errors.Is(err, ErrLogin) {
			return nil, err
		}
	}
	return nil, nil
}
