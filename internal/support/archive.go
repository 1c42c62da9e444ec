package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// MaxFile bounds what is kept of one file, in bytes: the journal of a full rack with
	// many retries.
	MaxFile = 16 << 20
	// margin is read before what is kept, in bytes, so that no secret is cut in two.
	margin = 64 << 10
	// MaxFiles bounds the files.
	MaxFiles = 100
)

// Manifest says what stands in an archive, and what does not.
type Manifest struct {
	Rack    string    `json:"rack"`
	Version string    `json:"version"` // of the program that made it
	Time    time.Time `json:"time,omitzero"`
	Files   []File    `json:"files"`
	LeftOut []Omitted `json:"leftOut"`
	Removed int       `json:"removed"` // secrets that were taken out of the files
}

// File is one file of an archive.
type File struct {
	Name   string `json:"name"`
	What   string `json:"what"`
	Size   int    `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Omitted is something that does not stand in an archive.
type Omitted struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Archive is an archive in the making.
type Archive struct {
	Manifest
	redact *Redactor
	most   int // bytes of a file
	bodies [][]byte
	err    error
}

// New begins an archive. at is the time of its files: that of what they tell, not that
// of the making.
func New(rackName, version string, at time.Time, r *Redactor) *Archive {
	return &Archive{Manifest: Manifest{Rack: rackName, Version: version, Time: at.UTC(), Files: []File{}, LeftOut: []Omitted{}}, redact: r, most: MaxFile}
}

// Add adds a file; what says what it is. Of a long one the end is kept, from the begin
// of a line on.
func (a *Archive) Add(name, what string, body []byte) {
	if len(a.Files) >= MaxFiles {
		a.err = errors.New("support: too many files")
		return
	}
	left := len(body) - a.most
	if cut := left - margin; cut > 0 {
		body = body[cut:]
	}
	body, n := a.redact.Redact(body)
	a.Removed += n
	if left > 0 {
		cut := max(len(body)-a.most, 0)
		if i := bytes.IndexByte(body[cut:], '\n'); i >= 0 {
			cut += i + 1
		}
		body = body[cut:]
		a.LeaveOut("the beginning of "+name, fmt.Sprintf("%d bytes of a file are kept", a.most))
	}
	a.Files = append(a.Files, File{name, what, len(body), fmt.Sprintf("%x", sha256.Sum256(body))})
	a.bodies = append(a.bodies, body)
}

// AddJSON adds a value as indented JSON.
func (a *Archive) AddJSON(name, what string, value any) {
	b, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		a.err = errors.Join(a.err, fmt.Errorf("support: %s: %w", name, err))
		return
	}
	a.Add(name, what, append(b, '\n'))
}

// LeaveOut says that something is not in it.
func (a *Archive) LeaveOut(what, why string) {
	clean := func(s string) string {
		b, n := a.redact.Redact([]byte(s))
		a.Removed += n
		return string(b)
	}
	a.LeftOut = append(a.LeftOut, Omitted{clean(what), clean(why)})
}

// Write writes the archive, the manifest first. All files stand in one folder.
func (a *Archive) Write(w io.Writer) error {
	if a.err != nil {
		return a.err
	}
	manifest, err := json.MarshalIndent(a.Manifest, "", "  ")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	put := func(name string, body []byte) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "support-" + a.Rack + "/" + name, Mode: 0o600, Size: int64(len(body)), ModTime: a.Time.Truncate(time.Second), Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(body)
		return err
	}
	if err := put("manifest.json", append(manifest, '\n')); err != nil {
		return err
	}
	for i, f := range a.Files {
		if err := put(f.Name, a.bodies[i]); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}
