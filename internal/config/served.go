package config

import (
	"path"
	"strings"
)

// Served are the values of what a device fetches while its ticket is open. There is no
// secret among them: whoever reads a document learns who may log in, and not how.
type Served struct {
	*Values
	URL      string // below which its documents are, and where it reports: URL/report/installed
	ImageURL string
	SHA256   string // of the image, 64 hex digits
	File     string // name of the image, as a file
	User     string // that the device is logged in to as
	Key      string // that user's public key, as in authorized_keys; empty: a password is used
}

// NewServed adds to values what only somebody who serves can say.
func NewServed(v *Values, url, imageURL, user, key string) *Served {
	return &Served{Values: v, URL: url, ImageURL: imageURL, SHA256: strings.TrimPrefix(v.Digest, "sha256:"), File: path.Base(v.Image), User: user, Key: key}
}

// CheckServed is Check for a template of a document.
func CheckServed(name, text string) error {
	_, err := Render(name, text, SampleServed(Sample()))
	return err
}

// SampleServed stands in for what only a ticket and a login can say.
func SampleServed(v *Values) *Served {
	return NewServed(v, "http://agent/native/TOKEN", "http://agent/image/TOKEN", "USER", "ssh-ed25519 KEY")
}
