package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAuthorityIsLoadedAsItWasMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	made, err := CreateAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadAuthority(dir)
	if err != nil || loaded.Fingerprint() != made.Fingerprint() || len(made.Fingerprint()) != 64 {
		t.Fatalf("%v: %s, made as %s", err, loaded.Fingerprint(), made.Fingerprint())
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info.Mode(), err)
	}
	if _, err := CreateAuthority(dir); err == nil {
		t.Error("an authority was overwritten")
	}
	other := filepath.Join(t.TempDir(), "other")
	if _, err := CreateAuthority(other); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, "ca.key"), filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(dir); err == nil || !strings.Contains(err.Error(), "not the key of") {
		t.Errorf("another authority's key: %v", err)
	}
	if _, err := LoadAuthority(t.TempDir()); !errors.Is(err, ErrNoAuthority) {
		t.Errorf("no authority: %v", err)
	}
}

func TestAnInterruptedAuthorityIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateAuthority(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(dir); err != nil {
		t.Error(err)
	}
}

func TestSigningRequestsAreJudged(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	good, err := newCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	of := func(key any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	for name, csr := range map[string][]byte{"RSA 2048": of(weak), "P-224": of(odd), "forged": forged, "empty": nil, "noise": []byte("noise"), "huge": make([]byte, maxDER+1)} {
		if _, err := parseCSR(csr); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := parseCSR(good); err != nil {
		t.Error(err)
	}
}

func TestNothingOutlivesItsAuthority(t *testing.T) {
	now := time.Now()
	a, err := newAuthority(now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, c, err := a.issueServer([]string{"localhost"}, now, ServerLife)
	if err != nil || c.NotAfter.After(a.Certificate.NotAfter) {
		t.Errorf("%v, until %v", err, c.NotAfter)
	}
	if _, _, err := a.issueServer([]string{"localhost"}, now.Add(2*time.Hour), ServerLife); err == nil {
		t.Error("an expired authority signs")
	}
	if c.NotBefore.After(now.Add(-time.Hour)) {
		t.Errorf("a clock an hour behind refuses it: %v", c.NotBefore)
	}
}

// TestDropGoesOn: a drop that was interrupted behind its first step is done again.
func TestDropGoesOn(t *testing.T) {
	dir := t.TempDir()
	if err := InitAuthorities(dir); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAuthorities(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	next, err := a.Add()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, next, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if err := a.Drop(next); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, next)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its key is still there: %v", err)
	}
	if err := a.Drop(next); err == nil {
		t.Error("what is not there was dropped")
	}
}
