package answerfile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
)

// Secret is text that no log, event or plan may hold. The zero Secret is none.
type Secret struct{ text string }

// hidden stands for a secret wherever it is printed.
const hidden = "(secret)"

// String implements fmt.Stringer.
func (Secret) String() string { return hidden }

// Format implements fmt.Formatter, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, hidden) // fmt sees the error too
}

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s.text == "" }

// maxHash bounds a hash of a password, in bytes; yescrypt's are the longest, with 106.
const maxHash = 256

// hash is a password's hash in the forms of crypt(5) that installers take: sha256crypt,
// sha512crypt, yescrypt, bcrypt.
var hash = regexp.MustCompile(`^\$(5|6|y|2[aby])\$[A-Za-z0-9./,=$]{8,}$`)

// ErrHash says that a text is no hash of a password. The text stands in no message.
var ErrHash = errors.New("it holds no hash of a password: write what mkpasswd -m sha512crypt prints, which begins with $6$")

// ParseHash reads the hash of a password, as crypt(5) writes it. Error: ErrHash.
func ParseHash(s string) (Secret, error) {
	if len(s) > maxHash || !hash.MatchString(s) {
		return Secret{}, ErrHash
	}
	return Secret{s}, nil
}
