package pki

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/durable"
	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Enroll gets the agent of a rack its first certificate for a one-time token, or
// a new one in place of one that is lost, expired or revoked, and keeps it in a
// directory. The key is made there and stays there.
//
// The token is bound to the key, and the key is durable before the token is
// used: whoever is interrupted calls Enroll again with the same token and the
// same directory until the token expires. Once the directory is lost, so is the
// token.
func Enroll(ctx context.Context, text, dir string) (*Identity, error) {
	t, err := ParseToken(text)
	if err != nil {
		return nil, err
	}
	host, err := hostOf(t.URL)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("enroll the agent of %s: %w", t.Rack, err)
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("enroll the agent of %s: %w", t.Rack, err)
	}
	defer unlock()
	id := &Identity{dir: dir, server: t.URL}
	key, err := pendingKey(dir, secretHash(t.Secret))
	if err != nil {
		return nil, fmt.Errorf("enroll the agent of %s: %w", t.Rack, err)
	}
	csr, err := newCSR(key)
	if err != nil {
		return nil, fmt.Errorf("enroll the agent of %s: %w", t.Rack, err)
	}
	client, done := enrollmentClient(t.URL, pinned(host, t.Fingerprint))
	defer done()
	answer, err := client.Enroll(ctx, connect.NewRequest(&messages.EnrollRequest{Secret: t.Secret, Csr: csr}))
	switch {
	case connect.CodeOf(err) == connect.CodeUnauthenticated:
		return nil, fmt.Errorf("enroll the agent of %s at %s: %w", t.Rack, t.URL, err)
	case ofTime(err):
		if clocks, _ := apart(ctx, t.URL, pinned(host, t.Fingerprint), err); clocks != "" {
			err = fmt.Errorf("%w: %s", err, clocks)
		}
		return nil, fmt.Errorf("enroll the agent of %s at %s: %w. The token is good for the same state directory until it expires", t.Rack, t.URL, err)
	case isAway(err):
		return nil, fmt.Errorf("enroll the agent of %s: %w at %s: %w: try again with the same token and the same state directory", t.Rack, ErrAway, t.URL, err)
	case err != nil:
		return nil, fmt.Errorf("enroll the agent of %s at %s: %w: try again with the same token and the same state directory; if it is refused then, make a new token", t.Rack, t.URL, err)
	}
	if err := durable.Write(filepath.Join(dir, serverFile), []byte(t.URL+"\n")); err != nil {
		return nil, fmt.Errorf("enroll the agent of %s: %w: try again with the same token", t.Rack, err)
	}
	if err := id.keep(t.Rack, key, answer.Msg.GetCertificates(), answer.Msg.GetAuthorities()); err != nil {
		return nil, fmt.Errorf("enroll the agent of %s: %w: try again with the same token", t.Rack, err)
	}
	return id, nil
}

// isAway reports whether there was no answer by whom we ask. A token that was shown is
// still good for the same key.
func isAway(err error) bool {
	code := connect.CodeOf(err)
	return (code == connect.CodeUnavailable || code == connect.CodeDeadlineExceeded) && !errors.Is(err, ErrUntrusted)
}

// pendingKey is a new key, durable in a directory; the one that is there already
// if it was made for the same token.
func pendingKey(dir, token string) (crypto.Signer, error) {
	path := filepath.Join(dir, pendingFile)
	if token != "" {
		for _, name := range []string{path, filepath.Join(dir, keyFile)} {
			key, headers, err := readKey(name)
			if err != nil || headers[tokenHeader] != token {
				continue // one that is damaged is replaced
			}
			if name == path {
				return key, nil
			}
			// It was enrolled wholly with this token: the same key serves again.
			return key, writeKey(path, key, token)
		}
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, writeKey(path, key, token)
}

func writeKey(path string, key crypto.Signer, token string) error {
	var headers map[string]string
	if token != "" {
		headers = map[string]string{tokenHeader: token}
	}
	b, err := encodeKey(key, headers)
	if err != nil {
		return err
	}
	return durable.Write(path, b)
}

// enrollmentClient calls the EnrollmentService of a coordinator. done ends it.
func enrollmentClient(url string, c *tls.Config) (client messagesconnect.EnrollmentServiceClient, done func()) {
	h := httpClient(c)
	return messagesconnect.NewEnrollmentServiceClient(h, url, connect.WithReadMaxBytes(maxResponse)), h.CloseIdleConnections
}
