package power

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/bougou/go-ipmi/pkg/types"
)

// Kinds of failures, for errors.Is. Every error of a Client's methods is an
// *Error that wraps one of them.
var (
	ErrSilent   = errors.New("no answer")
	ErrLogin    = errors.New("login refused")
	ErrRefused  = errors.New("command refused")
	ErrNotKept  = errors.New("not done although accepted")
	ErrBadInput = errors.New("cannot be asked")
	ErrCanceled = errors.New("given up")
)

// Error says which BMC, what it was asked, what it answered and what to do.
type Error struct {
	Device  string
	Address netip.AddrPort
	Asked   string
	Answer  string // the BMC's answer in words, or why there is none
	Next    string // what to do next
	Code    uint8  // IPMI completion code; 0 where none was given
	Kind    error  // one of the kinds above
	Cause   error  // the library's or the network's own error; may be nil
}

// Error is the message for people.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: BMC %s, asked to %s: %s; %s", e.Device, e.Address, e.Asked, e.Answer, e.Next)
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// refusal is a completion code other than 0 (IPMI 2.0 table 5-2).
type refusal struct {
	cmd  types.Command
	code types.CompletionCode
}

func (r *refusal) Error() string {
	return fmt.Sprintf("completion code 0x%02X, %s", uint8(r.code), types.StrCC(r.cmd, uint8(r.code)))
}

// loginRefusal is an RMCP+ status other than 0 (IPMI 2.0 table 13-15), or an
// authentication code that does not fit the password.
type loginRefusal struct {
	status  types.RmcpStatusCode
	badCode bool
}

func (l *loginRefusal) Error() string {
	if l.badCode {
		return "its authentication code does not fit our user and password"
	}
	return fmt.Sprintf("RMCP+ status 0x%02X, %s", uint8(l.status), l.status)
}

// errUndecodable is a reply that the library could not take apart.
var errUndecodable = errors.New("its reply cannot be decoded")

// explain turns any error of a conversation into one for people.
func (t Target) explain(ctx context.Context, asked string, cause error, dropped int) error {
	var done *Error
	if errors.As(cause, &done) {
		return cause
	}
	e := &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Cause: cause}
	var no *refusal
	var login *loginRefusal
	switch {
	case errors.As(cause, &no):
		e.Kind, e.Code, e.Answer, e.Next = ErrRefused, uint8(no.code), "it answered "+no.Error(), nextAfter(no.code)
	case errors.As(cause, &login):
		e.Kind, e.Answer, e.Next = ErrLogin, "it refused the login: "+login.Error(), nextAfterLogin(login)
	case errors.Is(cause, errUndecodable):
		e.Kind, e.Answer, e.Next = ErrSilent, cause.Error(), "update its firmware, or check what else answers at this address"
	case errors.Is(cause, syscall.ECONNREFUSED):
		e.Kind, e.Answer, e.Next = ErrSilent, "nothing listens there", "enable IPMI over LAN on it, or correct bmc.address in the rack file"
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind, e.Answer, e.Next = ErrCanceled, "given up before it answered", "nothing to do: the run was stopped"
	case dropped > 0:
		e.Kind, e.Next = ErrSilent, "check what answers at this address, then its password and firmware"
		e.Answer = fmt.Sprintf("no valid answer, but %d datagrams that answer nothing or fail their integrity check", dropped)
	default:
		e.Kind, e.Answer, e.Next = ErrSilent, "no answer", "check its cable, its address in the rack file, and that IPMI over LAN is enabled"
	}
	return e
}

func nextAfter(c types.CompletionCode) string {
	switch c {
	case types.CodeNodeBusy, types.CodeProcessTimeout, types.CodeOutOfSpace, types.CodeCannotProvideResponse,
		types.CodeCannotProvideResponseFirmwareUpdate, types.CodeCannotProvideResponseBMCInitialize:
		return "wait a minute and retry; if it stays so, reset the BMC"
	case types.CodeInsufficientPrivilege:
		return "give its user the privilege Administrator on the LAN channel"
	}
	return "update its firmware, or do this step by hand and retry"
}

func nextAfterLogin(l *loginRefusal) string {
	switch {
	case l.badCode:
		return "correct the user or password that bmc.credentials refers to"
	case l.status == types.RmcpStatusCodeNoResToCreateSess || l.status == types.RmcpStatusCodeNoResToCreateSessAtRole:
		return "all its sessions are taken: close other tools that are logged in, or wait a minute"
	case l.status == types.RmcpStatusCodeUnauthorizedName || l.status == types.RmcpStatusCodeUnauthorizedRoleOfPriLevel:
		return "correct the user that bmc.credentials refers to, and give it the privilege Administrator on the LAN channel"
	case l.status == types.RmcpStatusCodeNoCipherSuiteMatch || l.status == types.RmcpStatusCodeInvalidAuthAlg ||
		l.status == types.RmcpStatusCodeInvalidIntegrityAlg || l.status == types.RmcpStatusCodeInvalidConfidentAlg:
		return "enable cipher suite 17 or 3 on it"
	}
	return "check the user and password that bmc.credentials refers to"
}
