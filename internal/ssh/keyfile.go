package ssh

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	xssh "golang.org/x/crypto/ssh"

	"github.com/rackreach/rackreach/internal/durable"
)

// FileName is the file of pinned keys in a rack's state directory.
const FileName = "hostkeys"

// Bounds of that file.
const (
	maxKeyFile = 4 << 20 // bytes
	maxPinned  = 8192    // lines
	maxKey     = 4 << 10 // bytes of a key; RSA with 16384 bits has 2 KiB
	maxLives   = 8       // of one device; the oldest is forgotten
)

// KeyFile keeps pinned keys in a file of one JSON object a line, in the order in
// which they were pinned:
//
//	{"device":"mgmt-1","life":"t-7","key":"ssh-ed25519 AAAA…"}
//
// It is read at every call, so an operator may remove a line while an agent
// runs, and written whole. One process writes it: the rack's agent.
type KeyFile struct {
	path string
	mu   sync.Mutex
}

var _ HostKeys = (*KeyFile)(nil)

// NewKeyFile keeps keys in the file of that path, which need not exist.
func NewKeyFile(path string) *KeyFile { return &KeyFile{path: path} }

// pin is a line of the file.
type pin struct {
	Device string `json:"device"`
	Life   string `json:"life"`
	Key    string `json:"key"` // kind and base64, as in known_hosts
}

// Get returns the pinned key. It fails when the file cannot be read or believed.
func (f *KeyFile) Get(device, life string) ([]byte, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pins, err := f.load()
	if err != nil {
		return nil, false, err
	}
	i := find(pins, device, life)
	if i < 0 {
		return nil, false, nil
	}
	key, err := pins[i].blob()
	return key, err == nil, err
}

// Put pins a key.
func (f *KeyFile) Put(device, life string, key []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	pins, err := f.load()
	if err != nil {
		return err
	}
	k, err := xssh.ParsePublicKey(key)
	if err != nil || len(key) > maxKey {
		return fmt.Errorf("pin a host key of %s: it is no public key of at most %d bytes", short(device, maxQuoted), maxKey)
	}
	line := pin{Device: device, Life: life, Key: k.Type() + " " + base64.StdEncoding.EncodeToString(key)}
	if err := line.check(); err != nil {
		return fmt.Errorf("pin a host key: %w", err)
	}
	if i := find(pins, device, life); i >= 0 {
		if pins[i].Key == line.Key {
			return nil
		}
		return fmt.Errorf("%w: %s has another one in the life %s", ErrHostKey, device, life)
	}
	pins = append(forget(pins, device), line)
	b, err := encode(pins)
	if err != nil {
		return err
	}
	if len(pins) > maxPinned || len(b) > maxKeyFile {
		return fmt.Errorf("%s is full (%d keys, %d bytes): remove lines of devices that are gone", f.path, len(pins), len(b))
	}
	return durable.Write(f.path, b)
}

func (f *KeyFile) load() ([]pin, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read host keys: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read host keys: %w", err)
	}
	pins, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: take it from a backup, or mend that line; when it is moved away, keys are pinned anew at the next contact", f.path, err)
	}
	return pins, nil
}

func find(pins []pin, device, life string) int {
	return slices.IndexFunc(pins, func(p pin) bool { return p.Device == device && p.Life == life })
}

// forget makes room for another life of a device.
func forget(pins []pin, device string) []pin {
	lives := 0
	for _, p := range pins {
		if p.Device == device {
			lives++
		}
	}
	return slices.DeleteFunc(pins, func(p pin) bool {
		if p.Device != device || lives < maxLives {
			return false
		}
		lives--
		return true
	})
}

func encode(pins []pin) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, p := range pins {
		if err := e.Encode(p); err != nil {
			return nil, fmt.Errorf("write host keys: %w", err)
		}
	}
	return b.Bytes(), nil
}

// decode reads a file, and believes nothing in it that encode would not write.
func decode(b []byte) ([]pin, error) {
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("more than %d bytes", maxKeyFile)
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, errors.New("its last line is cut off")
	}
	type name struct{ device, life string }
	var out []pin
	seen := map[name]bool{}
	for text := range bytes.Lines(b) {
		n := len(out) + 1
		if n > maxPinned {
			return nil, fmt.Errorf("more than %d lines", maxPinned)
		}
		var p pin
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fmt.Errorf("line %d: it is no JSON object with device, life and key", n)
		}
		if again, err := encode([]pin{p}); err != nil || !bytes.Equal(again, text) {
			return nil, fmt.Errorf("line %d: it is not written as rackreach writes it", n)
		}
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if seen[name{p.Device, p.Life}] {
			return nil, fmt.Errorf("line %d: a second key of %s in the life %s", n, p.Device, p.Life)
		}
		seen[name{p.Device, p.Life}] = true
		out = append(out, p)
	}
	return out, nil
}

func (p pin) check() error {
	if !validName(p.Device) || !validName(p.Life) {
		return fmt.Errorf("device %q and life %q must be names", short(p.Device, maxQuoted), short(p.Life, maxQuoted))
	}
	_, err := p.blob()
	return err
}

// blob is the key as it is on the wire.
func (p pin) blob() ([]byte, error) {
	kind, text, _ := strings.Cut(p.Key, " ")
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err == nil && len(b) <= maxKey {
		if k, err := xssh.ParsePublicKey(b); err == nil && k.Type() == kind && bytes.Equal(k.Marshal(), b) {
			return b, nil
		}
	}
	return nil, fmt.Errorf("the key of %s is no public key", short(p.Device, maxQuoted))
}
