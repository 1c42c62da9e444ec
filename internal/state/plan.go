package state

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rackreach/rackreach/internal/durable"
	"github.com/rackreach/rackreach/internal/rack"
)

// version of the files of this package.
const version = 1

// Bounds.
const (
	maxFile  = 16 << 20 // bytes of a plan
	maxPlans = 100      // plans that were shown and are kept
)

// ErrNone says that there is no such file. It is wrapped.
var ErrNone = errors.New("there is none")

// Plan is all that a run carries out, resolved: neither the rack file nor the
// tables of a later rackreach change a run that was begun.
type Plan struct {
	Rack      *rack.Rack               `json:"rack"`
	Platforms map[string]rack.Platform `json:"platforms"` // with the limits of real hardware
	Plan      *rack.Plan               `json:"plan"`
	Simulated *Simulated               `json:"simulated,omitempty"`
	Bundle    *Bundle                  `json:"bundle,omitempty"` // nil: the images are made up for a simulation
}

// Bundle is where the images of a run come from.
type Bundle struct {
	Place    string   `json:"place"` // path, URL or reference
	Release  string   `json:"release"`
	Digest   string   `json:"digest"`             // of the release's manifest
	Trust    []string `json:"trust,omitempty"`    // paths of the keys that count
	SignedBy string   `json:"signedBy,omitempty"` // the key that vouches for it; empty: nobody, and the operator allows it
}

// Words are the bundle and who vouches for it as events say them (rack.Detail); empty
// for none.
func (b *Bundle) Words() (bundle, signedBy string) {
	switch {
	case b == nil:
		return "", ""
	case b.SignedBy == "":
		return b.Release + "@" + b.Digest, rack.Nobody
	}
	return b.Release + "@" + b.Digest, b.SignedBy
}

// Simulated says that a run images a simulated rack.
type Simulated struct {
	Socket string `json:"socket"` // of the simulated rack
}

// sealed is a plan as it is written: what it says, and the sum of that.
type sealed struct {
	Version int             `json:"version"`
	Sum     string          `json:"sum"` // "sha256:" and 64 hex digits, of Says without spaces
	Says    json.RawMessage `json:"says"`
}

// sumOf is the sum of JSON, however it is spaced.
func sumOf(says []byte) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, says); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(b.Bytes())), nil
}

// Encode is a plan as JSON.
func (p *Plan) Encode() ([]byte, error) {
	says, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("write the plan: %w", err)
	}
	sum, err := sumOf(says)
	if err != nil {
		return nil, fmt.Errorf("write the plan: %w", err)
	}
	b, err := json.MarshalIndent(sealed{version, sum, says}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write the plan: %w", err)
	}
	return append(b, '\n'), nil
}

// Decode reads a plan from JSON and checks that it is whole and as it was
// written: a run must not carry out what nobody looked at.
func Decode(b []byte) (*Plan, error) {
	var s sealed
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	switch {
	case s.Version > version:
		return nil, fmt.Errorf("read the plan: a newer rackreach wrote it (version %d, this one knows %d): use that one", s.Version, version)
	case len(s.Says) == 0:
		return nil, errors.New("read the plan: a part of it is missing")
	}
	if sum, err := sumOf(s.Says); err != nil || sum != s.Sum {
		return nil, errors.Join(errors.New("read the plan: it was changed since it was written: its sum is wrong"), err)
	}
	var p Plan
	if err := json.Unmarshal(s.Says, &p); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	switch {
	case p.Rack == nil || p.Plan == nil || len(p.Platforms) == 0:
		return nil, errors.New("read the plan: a part of it is missing")
	}
	return &p, nil
}

// WritePlan keeps what the run of a rack carries out.
func (d Dir) WritePlan(p *Plan) error {
	b, err := p.Encode()
	if err != nil {
		return err
	}
	return durable.Write(d.file("plan.json"), b)
}

// ReadPlan is what the run of a rack carries out. Errors: ErrNone, wrapped; one
// of the file system; one that says what is wrong with it.
func (d Dir) ReadPlan() (*Plan, error) {
	b, err := read(d.file("plan.json"))
	if err != nil {
		return nil, err
	}
	p, err := Decode(b)
	if err != nil {
		return nil, Unfitf("%s: %w", d.file("plan.json"), err)
	}
	return p, nil
}

// TokenSecret is the secret of the rack's tickets, to look for it; nil where there is none.
func (d Dir) TokenSecret() []byte {
	b, err := read(d.file("secret"))
	if err != nil {
		return nil
	}
	return b
}

// Secret is the secret of the rack's tickets; a new one where there is none.
func (d Dir) Secret() ([]byte, error) {
	b, err := read(d.file("secret"))
	switch {
	case errors.Is(err, ErrNone):
		b = []byte(rand.Text())
		return b, durable.Write(d.file("secret"), b)
	case err != nil:
		return nil, err
	case len(b) < 16:
		return nil, Unfitf("%s is damaged: restore it, or delete it: devices in the middle of their job then begin anew", d.file("secret"))
	}
	return b, nil
}

// CopyTo copies what stands beside a journal to another directory; what is not
// there is left out.
func (d Dir) CopyTo(to Dir) error {
	for _, name := range []string{"plan.json", "secret", "epoch", "hostkeys"} {
		b, err := read(d.file(name))
		if errors.Is(err, ErrNone) {
			continue
		}
		if err == nil {
			err = durable.Write(to.file(name), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// KeepShown keeps a plan that was shown, so that what changed since can be told.
// Only the newest are kept.
func (h Home) KeepShown(p *Plan) error {
	dir := filepath.Join(string(h), "plans")
	b, err := p.Encode()
	if err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(dir, p.Plan.Hash+".json"), b); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("tidy up the plans that were shown: %w", err)
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, f := range files[min(len(files), maxPlans):] {
		err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
	}
	return err
}

// Shown is a plan that was shown, by its hash. Errors: as ReadPlan.
func (h Home) Shown(hash string) (*Plan, error) {
	if hash == "" || filepath.Base(hash) != hash {
		return nil, fmt.Errorf("%.40q is not the hash of a plan: %w", hash, ErrNone)
	}
	b, err := read(filepath.Join(string(h), "plans", hash+".json"))
	if err != nil {
		return nil, err
	}
	return Decode(b)
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, ErrNone)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case info.Size() > maxFile:
		return nil, Unfitf("read %s: it has %d bytes, more than %d: restore it from a backup", path, info.Size(), maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}
