package ssh

import (
	"errors"
	"fmt"
	"net/netip"
)

// Kinds of failures, for errors.Is. Every error of Do is an *Error that wraps
// one of them.
var (
	// ErrSilent: there was no connection, or it ended before a login was tried.
	// Nothing was done.
	ErrSilent = errors.New("no answer")
	// ErrSlow: it took the connection, and there was no login in time. Nothing was done,
	// but something answers.
	ErrSlow = errors.New("login took too long")
	// ErrLogin: the device refused us, or speaks nothing that is safe. Nothing was
	// done; trying again may lock the account.
	ErrLogin = errors.New("login refused")
	// ErrHostKey: the device shows another key than in the same life before.
	// Nothing secret was sent.
	ErrHostKey = errors.New("host key changed")
	// ErrRecord: the host key could not be read or recorded here. Nothing secret
	// was sent.
	ErrRecord = errors.New("host key not recorded")
	// ErrFailed: a command, or the writing of a file, ended badly.
	ErrFailed = errors.New("command failed")
	// ErrLost: the connection or the time ended after the login. What ran then may
	// have been carried out, or not, or in part.
	ErrLost = errors.New("connection lost")
	// ErrBadInput: Target or Exchange cannot be carried out. Nothing was sent.
	ErrBadInput = errors.New("cannot be asked")
	// ErrCanceled: the context was cancelled; otherwise as ErrLost.
	ErrCanceled = errors.New("given up")
)

// Error says which device, what it was asked, what it answered and what to do.
// All of it is printable, and no secret stands in it.
type Error struct {
	Device  string
	Address netip.AddrPort
	Asked   string
	Answer  string // the device's answer in words, or why there is none
	Next    string // what to do next
	Status  int    // of the command, with ErrFailed; -1: none was told
	Kind    error  // one of the kinds above
	Cause   error  // the network's or the store's own error; may be nil
}

// Error is the message for people.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: SSH to %s, asked to %s: %s; %s", e.Device, e.Address, e.Asked, e.Answer, e.Next)
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Final reports whether nobody may try again before a person has looked: another attempt
// may lock the account, or tell a secret to a stranger.
func (e *Error) Final() bool { return e.Kind == ErrLogin || e.Kind == ErrHostKey }

// Retry reports whether the same exchange may go better a little later, without
// anybody doing anything: after ErrSilent, ErrSlow, ErrRecord and ErrLost. After ErrLost
// commands may run a second time: only who wrote them knows whether they may, and
// whether a command that failed (ErrFailed) is worth another attempt.
func (e *Error) Retry() bool {
	return e.Kind == ErrSilent || e.Kind == ErrSlow || e.Kind == ErrRecord || e.Kind == ErrLost
}
