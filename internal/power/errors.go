package power

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/rackreach/rackreach/internal/rack"
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

// Finer kinds: each is one of those above too, except ErrBusy, which may be the
// answer to a login as well as to a command.
var (
	// ErrBusy: the BMC would have done it at another time.
	ErrBusy = errors.New("busy")
	// ErrStuck: it accepted a power command, and the power state did not follow.
	ErrStuck = fmt.Errorf("power state %w", ErrNotKept)
	// ErrOverride: it accepted where to boot from, and reads back something else.
	ErrOverride = fmt.Errorf("boot override %w", ErrNotKept)
)

// Retryable reports whether the same may succeed later without anybody's doing:
// the BMC was silent or busy, or did not do what it accepted.
func Retryable(err error) bool {
	return errors.Is(err, ErrSilent) || errors.Is(err, ErrBusy) || errors.Is(err, ErrNotKept)
}

// Recovery names what another attempt makes up for; empty: nothing that has a name.
func (e *Error) Recovery() rack.Recovery {
	switch {
	case errors.Is(e.Kind, ErrStuck):
		return rack.PowerAgain
	case errors.Is(e.Kind, ErrOverride):
		return rack.OverrideAgain
	}
	return ""
}

// Answered reports whether the BMC said something: then that, and not the time that
// passed, is why a call that had to be ended did not succeed.
func (e *Error) Answered() bool {
	return !errors.Is(e.Kind, ErrSilent) && !errors.Is(e.Kind, ErrCanceled)
}

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
func (t Target) explain(ctx context.Context, asked string, cause error) error {
	var done *Error
	if cause == nil || errors.As(cause, &done) {
		return cause
	}
	e := &Error{Device: t.Device, Address: t.addrPort(), Asked: asked, Cause: cause}
	var no *refusal
	var login *loginRefusal
	var noise *noisy
	switch {
	case errors.As(cause, &no):
		e.Kind, e.Code, e.Answer, e.Next = ErrRefused, uint8(no.code), "it answered "+no.Error(), nextAfter(no)
		if no.busy() {
			e.Cause = errors.Join(ErrBusy, cause)
		}
	case errors.As(cause, &login):
		e.Kind, e.Answer, e.Next = ErrLogin, "it refused the login: "+login.Error(), nextAfterLogin(login)
		if login.busy() {
			e.Kind, e.Answer = ErrBusy, "it has no room for a login: "+login.Error()
		}
	case errors.Is(cause, errEnded):
		e.Kind, e.Answer, e.Next = ErrCanceled, "given up before it answered", "nothing to do: rackreach is ending"
	case errors.Is(cause, errUndecodable):
		e.Kind, e.Answer, e.Next = ErrSilent, cause.Error(), "update its firmware, or check what else answers at this address"
	case errors.Is(cause, syscall.ECONNREFUSED):
		e.Kind, e.Answer, e.Next = ErrSilent, "nothing listens there", "enable IPMI over LAN on it, or correct bmc.address in the rack file"
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind, e.Answer, e.Next = ErrCanceled, "given up before it answered", "nothing to do: the run was stopped"
	case errors.As(cause, &noise):
		e.Kind, e.Next = ErrSilent, "check what answers at this address, then its password and firmware"
		e.Answer = fmt.Sprintf("no valid answer, but %d datagrams that answer nothing or fail their integrity check", noise.dropped)
	default:
		e.Kind, e.Answer, e.Next = ErrSilent, "no answer", "check its cable, its address in the rack file, and that IPMI over LAN is enabled"
	}
	return e
}

// busy tells a refusal for now from one for good: Ironic retries on the same codes
// (ironic, drivers/modules/ipmitool.py), and 81h is another's change of the same
// boot options that is not finished (§28.12).
func (r *refusal) busy() bool {
	switch r.code {
	case types.CodeNodeBusy, types.CodeProcessTimeout, types.CodeOutOfSpace, types.CodeCannotProvideResponse,
		types.CodeCannotProvideResponseSDRRInUpdate, types.CodeCannotProvideResponseFirmwareUpdate, types.CodeCannotProvideResponseBMCInitialize:
		return true
	case types.CodeParamConfigSetInProgressConflict:
		return r.cmd.Key() == types.CommandSetSystemBootOptions.Key()
	}
	return false
}

// busy: all sessions are taken, or the BMC has forgotten the one that was being set
// up for another one that came between.
func (l *loginRefusal) busy() bool {
	if l.badCode {
		return false
	}
	switch l.status {
	case types.RmcpStatusCodeNoResToCreateSess, types.RmcpStatusCodeNoResToCreateSessAtRole,
		types.RmcpStatusCodeInvalidSessionID, types.RmcpStatusCodeInactiveSessionID:
		return true
	}
	return false
}

func nextAfter(r *refusal) string {
	switch {
	case r.busy():
		return "wait a minute and retry; if it stays so, reset the BMC"
	case r.code == types.CodeInsufficientPrivilege:
		return "give its user the privilege Administrator on the LAN channel"
	}
	return "update its firmware, or do this step by hand and retry"
}

func nextAfterLogin(l *loginRefusal) string {
	switch {
	case l.badCode:
		return "correct the user or password that bmc.credentials refers to"
	case l.busy():
		return "all its sessions are taken: close other tools that are logged in, or wait a minute"
	case l.status == types.RmcpStatusCodeUnauthorizedName || l.status == types.RmcpStatusCodeUnauthorizedRoleOfPriLevel:
		return "correct the user that bmc.credentials refers to, and give it the privilege Administrator on the LAN channel"
	case l.status == types.RmcpStatusCodeNoCipherSuiteMatch || l.status == types.RmcpStatusCodeInvalidAuthAlg ||
		l.status == types.RmcpStatusCodeInvalidIntegrityAlg || l.status == types.RmcpStatusCodeInvalidConfidentAlg:
		return "enable cipher suite 17 or 3 on it"
	}
	return "check the user and password that bmc.credentials refers to"
}
