package ssh

import (
	"errors"
	"strings"

	xssh "golang.org/x/crypto/ssh"
)

// PublicKey is the public half of a private key in PEM, as it stands in authorized_keys
// (sshd(8)). Its error holds nothing of the key.
func PublicKey(private []byte) (string, error) {
	if len(private) > maxPEM {
		return "", errors.New("a private key of this size is none")
	}
	s, err := Target{Key: private}.signer()
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(xssh.MarshalAuthorizedKey(s.PublicKey()))), nil
}
