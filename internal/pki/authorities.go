package pki

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rackreach/rackreach/internal/durable"
)

// lookEvery is how often at most files are looked at for changes.
const lookEvery = time.Second

// Authorities are the authorities of a coordinator, in a directory: one signs,
// all are trusted. A change to the directory, by this or another process, is
// seen within a second.
//
// To rotate: Add a new one; wait until every agent has renewed, so that it trusts
// both (SignAfter); let the new one Sign; wait until every agent has renewed again
// (DropAfter); Drop the old one. Nobody is restarted.
type Authorities struct {
	dir  string
	log  *slog.Logger
	look time.Duration

	mu      sync.Mutex // held by who reads or changes the directory
	looked  atomic.Int64
	stamp   string
	trouble string
	set     atomic.Pointer[authoritySet]
}

// authoritySet is the authorities at one moment. It never changes.
type authoritySet struct {
	signer  *Authority
	trusted []*x509.Certificate // the signer's first
	pool    *x509.CertPool
}

// AuthorityInfo is what there is to know of an authority.
type AuthorityInfo struct {
	Fingerprint string
	Made        time.Time
	Expires     time.Time
	Signs       bool
	SignsSince  time.Time // zero: it does not
}

// Waits of a rotation.
const (
	// SignAfter is when every agent that is not cut off has renewed once: it knows what was
	// trusted by then.
	SignAfter = AgentLife * 2 / 3
	// DropAfter is when nothing that was signed before is alive.
	DropAfter = AgentLife
	// MaxAuthorities is how many a directory may hold.
	MaxAuthorities = maxCAs
)

// InitAuthorities makes the first authority of a directory. It refuses a
// directory that has one that signs.
func InitAuthorities(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, "signer")); err == nil {
		return fmt.Errorf("make an authority in %s: it has one already: rotate to a new one if that is what you want", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make an authority in %s: %w", dir, err)
	}
	a, err := newAuthority(time.Now(), AuthorityLife)
	if err != nil {
		return err
	}
	if err := a.store(filepath.Join(dir, a.Fingerprint())); err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, "signer"), []byte(a.Fingerprint()+"\n"))
}

// OpenAuthorities reads the authorities of a directory. Errors: ErrNoAuthority,
// wrapped; one that says what is wrong with it.
func OpenAuthorities(dir string, log *slog.Logger) (*Authorities, error) {
	a := &Authorities{dir: dir, log: log, look: lookEvery}
	stamp := a.stampOf()
	set, err := readAuthorities(dir)
	if err != nil {
		return nil, err
	}
	a.stamp = stamp
	a.set.Store(set)
	a.looked.Store(time.Now().UnixNano())
	return a, nil
}

func readAuthorities(dir string) (*authoritySet, error) {
	name, err := read(filepath.Join(dir, "signer"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: \"rackreach coordinator init\" makes one", dir, ErrNoAuthority)
	}
	if err != nil {
		return nil, fmt.Errorf("load the authorities: %w", err)
	}
	signs := strings.TrimSpace(string(name))
	if !isFingerprint(signs) {
		return nil, fmt.Errorf("load the authorities: %s is damaged: write the name of the directory of the authority that signs", filepath.Join(dir, "signer"))
	}
	signer, err := LoadAuthority(filepath.Join(dir, signs))
	if err != nil {
		return nil, err
	}
	set := &authoritySet{signer: signer, trusted: []*x509.Certificate{signer.Certificate}, pool: x509.NewCertPool()}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("load the authorities: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !isFingerprint(e.Name()) || e.Name() == signs {
			continue
		}
		certs, err := readCertificates(filepath.Join(dir, e.Name(), "ca.crt"), 1)
		if errors.Is(err, fs.ErrNotExist) {
			continue // one that is being made, or dropped
		}
		if err != nil {
			return nil, fmt.Errorf("load the authorities: %w", err)
		}
		set.trusted = append(set.trusted, certs[0])
	}
	if len(set.trusted) > maxCAs {
		return nil, fmt.Errorf("load the authorities: %s holds %d of them, more than %d: drop what is old", dir, len(set.trusted), maxCAs)
	}
	for _, c := range set.trusted {
		if Fingerprint(c) != signs && !c.IsCA {
			return nil, fmt.Errorf("load the authorities: %s is not the certificate of an authority", Fingerprint(c))
		}
		set.pool.AddCert(c)
	}
	return set, nil
}

// isFingerprint reports whether s is 64 lower-case hex digits.
func isFingerprint(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// stampOf changes when the directory does.
func (a *Authorities) stampOf() string {
	var b strings.Builder
	paths, _ := filepath.Glob(filepath.Join(a.dir, "*", "ca.crt")) // the pattern is well formed
	for _, path := range append(paths, filepath.Join(a.dir, "signer")) {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", path, info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}

// load is the authorities of now. A directory that cannot be read leaves those
// that were known.
func (a *Authorities) load() *authoritySet {
	now := time.Now().UnixNano()
	if now-a.looked.Load() < int64(a.look) || !a.mu.TryLock() {
		return a.set.Load()
	}
	defer a.mu.Unlock()
	a.looked.Store(now)
	a.reload()
	return a.set.Load()
}

// reload reads the directory if it changed. The caller holds mu.
func (a *Authorities) reload() {
	stamp := a.stampOf()
	if stamp == a.stamp {
		return
	}
	set, err := readAuthorities(a.dir)
	if err != nil {
		if a.trouble != err.Error() {
			a.trouble = err.Error()
			a.log.Error("the authorities changed and cannot be read; those of before are kept", "error", err)
		}
		return
	}
	a.stamp, a.trouble = stamp, ""
	a.set.Store(set)
	a.log.Info("the authorities changed", "signs", set.signer.Fingerprint(), "trusted", len(set.trusted))
}

// Fingerprint is that of the authority that signs.
func (a *Authorities) Fingerprint() string { return a.load().signer.Fingerprint() }

// List is all authorities, the one that signs first.
func (a *Authorities) List() []AuthorityInfo {
	set := a.load()
	var out []AuthorityInfo
	for i, c := range set.trusted {
		x := AuthorityInfo{Fingerprint: Fingerprint(c), Made: c.NotBefore.Add(backdated), Expires: c.NotAfter, Signs: i == 0}
		if info, err := os.Stat(filepath.Join(a.dir, "signer")); x.Signs && err == nil {
			x.SignsSince = info.ModTime()
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out[1:], func(x, y AuthorityInfo) int { return cmp.Compare(x.Fingerprint, y.Fingerprint) })
	return out
}

// Leftovers are the authorities whose certificate is gone and whose directory, with the
// key, is still there: a drop was interrupted, or Add is at work. Only their fingerprints
// are known.
func (a *Authorities) Leftovers() (out []AuthorityInfo, err error) {
	signs := a.Fingerprint()
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, fmt.Errorf("look for authorities that are half gone: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !isFingerprint(e.Name()) || e.Name() == signs {
			continue
		}
		if _, err := os.Lstat(filepath.Join(a.dir, e.Name(), "ca.crt")); errors.Is(err, fs.ErrNotExist) {
			out = append(out, AuthorityInfo{Fingerprint: e.Name()})
		}
	}
	return out, nil
}

// Add makes a further authority. It is trusted and does not sign.
func (a *Authorities) Add() (fingerprint string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next, err := newAuthority(time.Now(), AuthorityLife)
	if err != nil {
		return "", err
	}
	if err := next.store(filepath.Join(a.dir, next.Fingerprint())); err != nil {
		return "", err
	}
	a.reload()
	return next.Fingerprint(), nil
}

// Sign lets another authority of the directory sign from now on.
func (a *Authorities) Sign(fingerprint string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !isFingerprint(fingerprint) {
		return fmt.Errorf("%.80q is not the fingerprint of an authority: 64 hex digits are expected", fingerprint)
	}
	if _, err := LoadAuthority(filepath.Join(a.dir, fingerprint)); err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(a.dir, "signer"), []byte(fingerprint+"\n")); err != nil {
		return err
	}
	a.reload()
	return nil
}

// Drop forgets an authority: what it signed is no longer believed. The one that
// signs cannot be dropped.
func (a *Authorities) Drop(fingerprint string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reload()
	dir := filepath.Join(a.dir, fingerprint)
	if !isFingerprint(fingerprint) {
		return fmt.Errorf("%.80q is not the fingerprint of an authority: 64 hex digits are expected", fingerprint)
	}
	if fingerprint == a.set.Load().signer.Fingerprint() {
		return fmt.Errorf("drop the authority %.16s: it signs: let another one sign first", fingerprint)
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("drop the authority %.16s: %w", fingerprint, err)
	}
	// Its certificate goes first: without it, it is not trusted. It is gone already when
	// somebody was interrupted.
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("drop the authority %.16s: %w", fingerprint, err)
	}
	err := durable.SyncDir(dir)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	a.reload()
	if err != nil {
		return fmt.Errorf("drop the authority %.16s: it is not trusted any more, but its key is still there: %w", fingerprint, err)
	}
	return nil
}
