package ssh

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	xssh "golang.org/x/crypto/ssh"
)

// Port is where SSH servers listen (RFC 4253 §4.1).
const Port = 22

// Target is one device and how to log in to it.
type Target struct {
	Device   string // slot, for messages and the pinned key
	Life     string // ticket of the installation that it lives by
	Address  netip.Addr
	Port     uint16 // 0: Port
	User     string
	Password string `json:"-"` // tried after Key; empty: none
	Key      []byte `json:"-"` // private key in PEM, without passphrase; nil: none
}

func (t Target) addrPort() netip.AddrPort {
	if t.Port == 0 {
		return netip.AddrPortFrom(t.Address, Port)
	}
	return netip.AddrPortFrom(t.Address, t.Port)
}

// String names the target without its secrets.
func (t Target) String() string { return t.Device + " at " + t.addrPort().String() }

// GoString keeps the secrets out of %#v.
func (t Target) GoString() string { return t.String() }

// check says what makes it impossible to log in.
func (t Target) check() error {
	switch {
	case !validName(t.Device):
		return fmt.Errorf("its name %q is none", short(t.Device, maxQuoted))
	case !validName(t.Life):
		return errors.New("it is not said by which installation it lives (Target.Life), so its host key cannot be pinned")
	case !t.Address.IsValid():
		return errors.New("it has no address")
	case t.User == "" || len(t.User) > maxUser || !printableLine(t.User):
		return fmt.Errorf("its user must have 1 to %d printable bytes", maxUser)
	case t.Password == "" && len(t.Key) == 0:
		return errors.New("it has neither a password nor a key")
	case len(t.Password) > maxPassword || strings.ContainsRune(t.Password, 0):
		return fmt.Errorf("its password must have at most %d bytes, none of them zero", maxPassword)
	case len(t.Key) > maxPEM:
		return fmt.Errorf("its private key has more than %d bytes", maxPEM)
	}
	return nil
}

// signer reads the private key; nil where there is none.
func (t Target) signer() (xssh.Signer, error) {
	if len(t.Key) == 0 {
		return nil, nil
	}
	s, err := xssh.ParsePrivateKey(t.Key)
	if missing := (*xssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		return nil, errors.New("its private key is locked with a passphrase")
	}
	if err != nil {
		return nil, errors.New("its private key is none that can be read (PEM, OpenSSH or PKCS)")
	}
	if s.PublicKey().Type() != xssh.KeyAlgoRSA {
		return s, nil
	}
	// Else a server that does not say what it knows gets a signature with SHA-1
	// (RFC 8332 §3.3).
	algorithms, ok := s.(xssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("its private key cannot sign with SHA-2")
	}
	s, err = xssh.NewSignerWithAlgorithms(algorithms, []string{xssh.KeyAlgoRSASHA256, xssh.KeyAlgoRSASHA512})
	if err != nil {
		return nil, errors.New("its private key cannot sign with SHA-2")
	}
	return s, nil
}

// validName reports whether s can name a device or a life.
func validName(s string) bool {
	return s != "" && len(s) <= maxName && printableLine(s) && !strings.ContainsRune(s, ' ')
}

// printableLine reports whether s is printable as it is.
func printableLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
