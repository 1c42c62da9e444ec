package web

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Keys are the public keys that devices showed at first contact, by device and life, as
// SSH writes public keys (RFC 4253 §6.6).
type Keys interface {
	Get(device, life string) (key []byte, ok bool, err error)
	// Put pins a key, durably. It replaces nothing.
	Put(device, life string, key []byte) error
}

// suffix tells the key of a certificate from the host key of SSH in the same life.
const suffix = "/tls"

// errPin: the key cannot be compared, or not be recorded. Nothing was sent.
var errPin = errors.New("its certificate cannot be held to its key")

// check pins the key of the first certificate, or compares it. TLS has proved that the
// device has the key.
func (c *Client) check(t Target, shown []*x509.Certificate) error {
	if len(shown) == 0 {
		return fmt.Errorf("%w: it shows none", errPin)
	}
	key, err := ssh.NewPublicKey(shown[0].PublicKey)
	if err != nil {
		return fmt.Errorf("%w: a key of the kind %s cannot be recorded: write certificate: unchecked at that step, without login", errPin, shown[0].PublicKeyAlgorithm)
	}
	life := t.Life + suffix
	pinned, ok, err := c.o.Keys.Get(t.Device, life)
	if err != nil {
		return fmt.Errorf("%w: %w", errPin, err)
	}
	if ok && bytes.Equal(pinned, key.Marshal()) {
		return nil
	}
	if !ok {
		if err := c.o.Keys.Put(t.Device, life, key.Marshal()); err != nil {
			return fmt.Errorf("%w: %w", errPin, err)
		}
		c.o.Logger.Info("key of a certificate pinned at first contact", "device", t.Device, "life", life, "address", t.Address.String(), "key", ssh.FingerprintSHA256(key))
		return nil
	}
	before := "another one"
	if p, err := ssh.ParsePublicKey(pinned); err == nil {
		before = ssh.FingerprintSHA256(p)
	}
	return fmt.Errorf("%w: it is %s, and was %s at first contact; nothing was sent: find out who answers at %s; when the device was given a certificate by hand, remove its line (life %s) from the file hostkeys in the rack's state directory, and retry",
		ErrKey, ssh.FingerprintSHA256(key), before, t.Address, life)
}
