// Package secret reads what references of a rack file stand for. Secrets do not stand in
// rack files, plans, events or logs: a reference does, and its value is read where it is
// used, and told to nobody but the device that it is for.
package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/rackreach/rackreach/internal/rack"
)

// MaxSize bounds a secret, in bytes: a private key of 16,384 bits has 13 kB.
const MaxSize = 64 << 10

// MinSize is the shortest secret that is read, in bytes: a shorter one cannot be looked for
// in what is handed out (internal/support).
const MinSize = 4

// IdentityVariable names the file with the identities that encrypted secrets are read
// with, as age-keygen makes one.
const IdentityVariable = "RACKREACH_AGE_IDENTITY"

// Value is a secret. It prints as what it is, and never as what it says.
type Value struct{ text string }

// String hides it.
func (Value) String() string { return "(secret)" }

// GoString hides it in %#v.
func (Value) GoString() string { return "(secret)" }

// Format hides it in every verb.
func (Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// MarshalText hides it in JSON.
func (Value) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// Reveal is what it says.
func (v Value) Reveal() string { return v.text }

// Login is the secret as "user:password".
func (v Value) Login() (user, password string, ok bool) {
	user, password, ok = strings.Cut(v.text, ":")
	return user, password, ok && user != ""
}

// Reader reads secrets.
type Reader struct {
	Env func(name string) (string, bool)
}

// Read reads what a reference stands for; a line end at the end of a file is no part of
// it. Its errors never hold any of the secret.
func (r Reader) Read(reference string) (Value, error) {
	kind, name, ok := rack.Reference(reference)
	if !ok {
		return Value{}, errors.New("it is no reference: write env:NAME, file:/PATH, or age:/PATH of a file that is encrypted with age")
	}
	var b []byte
	var err error
	switch kind {
	case "env":
		s, ok := r.Env(name)
		if !ok {
			return Value{}, fmt.Errorf("the variable %s is not set", name)
		}
		b = []byte(s)
	case "file":
		b, err = r.file(name)
	case "age":
		b, err = r.encrypted(name)
	}
	if err != nil {
		return Value{}, err
	}
	if len(b) > MaxSize {
		return Value{}, fmt.Errorf("%s holds more than %d bytes, which is no secret", reference, MaxSize)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return Value{}, fmt.Errorf("%s is empty", reference)
	}
	v := Value{text}
	if _, password, ok := v.Login(); len(text) < MinSize || ok && password != "" && len(password) < MinSize {
		return Value{}, fmt.Errorf("%s holds a secret of fewer than %d bytes, which could not be kept out of support bundles, since it stands in words that are no secrets: give the device a longer one", reference, MinSize)
	}
	return v, nil
}

// file reads a file that nobody else may read.
func (r Reader) file(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", name)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s may be read by others (%04o): chmod 600 %s", name, info.Mode().Perm(), name)
	}
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// encrypted reads a file that age encrypted for one of our identities. The file itself
// may be read by anybody.
func (r Reader) encrypted(name string) ([]byte, error) {
	path, ok := r.Env(IdentityVariable)
	if !ok || path == "" {
		return nil, fmt.Errorf("%s is encrypted, and %s is not set: it names the file that age-keygen made", name, IdentityVariable)
	}
	key, err := r.file(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", IdentityVariable, err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(key))
	if err != nil {
		return nil, fmt.Errorf("%s: %s holds no identity of age: make one with age-keygen", IdentityVariable, path)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	plain, err := age.Decrypt(io.LimitReader(f, 2*MaxSize), ids...)
	if err != nil {
		// Not the library's own words: they repeat text of a file that is not encrypted.
		return nil, fmt.Errorf("%s cannot be decrypted with the identities of %s: encrypt it for one of them: age -r RECIPIENT -o %s FILE", name, path, name)
	}
	return io.ReadAll(io.LimitReader(plain, MaxSize+1))
}
