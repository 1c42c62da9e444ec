package bundle

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rackreach/rackreach/internal/durable"
)

// Key signs bundles.
type Key struct{ private ed25519.PrivateKey }

// PublicKey checks signatures.
type PublicKey struct {
	key  ed25519.PublicKey
	ID   string // 16 hex digits
	File string // where it came from
}

// publicSuffix ends the names of public keys.
const publicSuffix = ".pub"

// NewKey makes a key and writes it to a file that only its owner may read (PKCS #8,
// RFC 8410), and its public half to FILE.pub. It overwrites nothing.
func NewKey(file string) (PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return PublicKey{}, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return PublicKey{}, fmt.Errorf("make a key: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return PublicKey{}, fmt.Errorf("make a key: %w", err)
	}
	for _, name := range []string{file, file + publicSuffix} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return PublicKey{}, errors.Join(unfitf("%s is there already: give another name; a key that is lost cannot be made again", name), err)
		}
	}
	if err := durable.Write(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return PublicKey{}, err
	}
	if err := durable.WriteShared(file+publicSuffix, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})); err != nil {
		return PublicKey{}, err
	}
	return PublicKey{public, keyID(spki), file + publicSuffix}, nil
}

func keyID(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:8])
}

// ReadKey reads a key that signs.
func ReadKey(file string) (*Key, error) {
	der, err := readPEM(file, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := k.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is no Ed25519 key: rackreach bundle keygen makes one", file)
	}
	return &Key{private}, nil
}

// ReadPublicKey reads a key that checks.
func ReadPublicKey(file string) (PublicKey, error) {
	der, err := readPEM(file, "PUBLIC KEY")
	if err != nil {
		return PublicKey{}, err
	}
	k, err := x509.ParsePKIXPublicKey(der)
	public, ok := k.(ed25519.PublicKey)
	if err != nil || !ok {
		return PublicKey{}, fmt.Errorf("%s is no public Ed25519 key: rackreach bundle keygen makes one beside each key, with the end .pub", file)
	}
	return PublicKey{public, keyID(der), file}, nil
}

// Public is the half that checks.
func (k *Key) Public() (PublicKey, error) {
	public, ok := k.private.Public().(ed25519.PublicKey)
	if !ok {
		return PublicKey{}, errors.New("the key has no public half")
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{key: public, ID: keyID(spki)}, nil
}

// readPEM reads a file of one block.
func readPEM(file, kind string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	switch {
	case len(b) > maxKeyFile, block == nil:
		return nil, fmt.Errorf("%s is no key: it must hold -----BEGIN %s-----", file, kind)
	case block.Type != kind:
		return nil, fmt.Errorf("%s holds a %.40q, and a %s is needed", file, block.Type, kind)
	}
	return block.Bytes, nil
}

// Trust is whose signatures count.
type Trust struct {
	keys  []PublicKey
	paths []string // where they were looked for
}

// ReadTrust reads public keys from files, and from the files *.pub of directories. A
// directory that is not there holds none.
func ReadTrust(paths ...string) (Trust, error) {
	t := Trust{paths: paths}
	for _, path := range paths {
		files := []string{path}
		i, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(path, publicSuffix):
			continue
		case err != nil:
			return Trust{}, fmt.Errorf("trusted keys: %w", err)
		case i.IsDir():
			if files, err = filepath.Glob(filepath.Join(escaped(path), "*"+publicSuffix)); err != nil {
				return Trust{}, fmt.Errorf("trusted keys: %w", err)
			}
		}
		for _, f := range files {
			k, err := ReadPublicKey(f)
			if err != nil {
				return Trust{}, fmt.Errorf("trusted keys: %w", err)
			}
			if t.keys = append(t.keys, k); len(t.keys) > maxKeys {
				return Trust{}, fmt.Errorf("trusted keys: more than %d", maxKeys)
			}
		}
	}
	return t, nil
}

// escaped is a path in which no character is a pattern.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Keys lists the trusted keys.
func (t Trust) Keys() []PublicKey { return append([]PublicKey(nil), t.keys...) }

// Paths is where they were looked for, for people.
func (t Trust) Paths() string {
	if len(t.paths) == 0 {
		return "no place"
	}
	return strings.Join(t.paths, ", ")
}
