package pki

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Token is what an agent needs to enroll, in one line of text.
type Token struct {
	URL         string `json:"u"` // of the coordinator: "https://host:port"
	Fingerprint string `json:"f"` // of its authority
	Rack        string `json:"r"`
	Secret      string `json:"s"`
}

const (
	tokenPrefix = "rackreach-enroll-"
	maxToken    = 1024 // bytes of its text
	maxURL      = 512  // bytes
	secretLen   = 26   // of rand.Text: 130 bits
)

// String is the text of a token. It holds a secret.
func (t Token) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		return "" // cannot be: four strings
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads the text of a token. Its errors never show the secret.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	body, ok := strings.CutPrefix(text, tokenPrefix)
	switch {
	case !ok:
		return Token{}, fmt.Errorf("the enrollment token does not begin with %s: copy all of what \"rackreach enroll\" printed", tokenPrefix)
	case len(text) > maxToken:
		return Token{}, fmt.Errorf("the enrollment token has %d bytes, more than %d", len(text), maxToken)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	var t Token
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return Token{}, errors.New("the enrollment token is damaged: copy all of what \"rackreach enroll\" printed")
	}
	if err := t.check(); err != nil {
		return Token{}, fmt.Errorf("the enrollment token: %w", err)
	}
	return t, nil
}

func (t Token) check() error {
	switch {
	case !isFingerprint(t.Fingerprint):
		return errors.New("it has no fingerprint of an authority")
	case !ValidRack(t.Rack):
		return fmt.Errorf("%.80q is not the name of a rack", t.Rack)
	case len(t.Secret) != secretLen || strings.Trim(t.Secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "":
		return errors.New("its secret is damaged")
	}
	_, err := hostOf(t.URL)
	return err
}

// hostOf is the host of a coordinator's URL: a DNS name or an address.
func hostOf(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL || err != nil:
		return "", fmt.Errorf("%.80q is not the URL of a coordinator: https://HOST:PORT is expected", text)
	case u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", fmt.Errorf("%.80q is not the URL of a coordinator: https://HOST:PORT is expected and nothing more", text)
	}
	return u.Hostname(), nil
}

// secretHash is the key under which a secret stands in the table: nobody who
// reads the table learns the secret. It needs no salt: the secret has 130 random
// bits.
func secretHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
