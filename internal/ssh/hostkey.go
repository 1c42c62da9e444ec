package ssh

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"

	xssh "golang.org/x/crypto/ssh"
)

// HostKeys are the keys that devices showed at first contact, by device and
// life. A key is the public key blob of RFC 4253 §6.6.
type HostKeys interface {
	// Get returns the key of a device in a life; false where none is pinned. An
	// error means that it is not known whether one is.
	Get(device, life string) (key []byte, ok bool, err error)
	// Put pins a key; it is durable when Put returns. It replaces nothing: where
	// another key is pinned in that life, the error is ErrHostKey.
	Put(device, life string, key []byte) error
}

// hostKeyTypes are the kinds of host keys that are believed, best first. A
// certificate is none of them: we know no authority that could have signed it.
var hostKeyTypes = []string{
	xssh.KeyAlgoED25519, xssh.KeyAlgoECDSA256, xssh.KeyAlgoECDSA384, xssh.KeyAlgoECDSA521,
	xssh.KeyAlgoRSASHA512, xssh.KeyAlgoRSASHA256,
}

// hostKeyOrder asks for the kind of the pinned key first: a device has one of
// each kind.
func hostKeyOrder(pinned []byte) []string {
	out := slices.Clone(hostKeyTypes)
	k, err := xssh.ParsePublicKey(pinned)
	if err != nil {
		return out
	}
	first := func(s string) bool {
		return s == k.Type() || k.Type() == xssh.KeyAlgoRSA && (s == xssh.KeyAlgoRSASHA512 || s == xssh.KeyAlgoRSASHA256)
	}
	slices.SortStableFunc(out, func(a, b string) int {
		switch {
		case first(a) && !first(b):
			return -1
		case first(b) && !first(a):
			return 1
		}
		return 0
	})
	return out
}

// checkKey pins or compares the key that the device proved to have. It runs
// before the login, and again whenever the keys of the connection are renewed.
func (k *talk) checkKey(_ string, _ net.Addr, key xssh.PublicKey) error {
	got := key.Marshal()
	if k.pinned == nil {
		err := k.c.o.Keys.Put(k.t.Device, k.t.Life, got)
		if errors.Is(err, ErrHostKey) { // somebody else was first
			if pinned, ok, getErr := k.c.o.Keys.Get(k.t.Device, k.t.Life); getErr == nil && ok {
				k.pinned = pinned
			}
		}
		if err != nil && k.pinned == nil {
			return k.stop(k.unrecorded(err))
		}
		if err == nil {
			k.pinned = got
			k.c.o.Logger.Info("host key pinned at first contact", "device", k.t.Device, "life", k.t.Life,
				"address", k.t.addrPort().String(), "key", fingerprint(got))
		}
	}
	if bytes.Equal(k.pinned, got) {
		return nil
	}
	return k.stop(k.fail(Error{Asked: asksLogin, Kind: ErrHostKey,
		Answer: fmt.Sprintf("its host key is %s, but since its installation by %s it was %s", fingerprint(got), k.t.Life, fingerprint(k.pinned)),
		Next: "find out who answers at this address before a password is sent there; when the device was installed or given keys by hand, " +
			"remove its line from the file " + FileName + " in the rack's state directory, and retry"}))
}

func (k *talk) unrecorded(err error) *Error {
	return k.fail(Error{Asked: asksLogin, Kind: ErrRecord, Cause: err,
		Answer: "its host key can be neither compared nor recorded: " + short(err.Error(), 2*maxQuoted),
		Next:   "nothing secret was sent to it; mend the state directory, and retry"})
}

// fingerprint is how people compare keys (ssh-keygen -l).
func fingerprint(key []byte) string {
	k, err := xssh.ParsePublicKey(key)
	if err != nil {
		return "unreadable"
	}
	return xssh.FingerprintSHA256(k)
}
