package ssh

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"
)

// blob is a new public key.
func blob(t *testing.T) []byte {
	t.Helper()
	s, _ := newKey(t)
	return s.PublicKey().Marshal()
}

func TestPinnedAtFirstContact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rack", FileName)
	keys := NewKeyFile(path)
	pinnedFirst := false
	d := newDevice(t, func(d *device) {
		check := d.config.PasswordCallback
		d.config.PasswordCallback = func(m xssh.ConnMetadata, p []byte) (*xssh.Permissions, error) {
			key, ok, err := NewKeyFile(path).Get("tor-01", "t-7")
			pinnedFirst = err == nil && ok && bytes.Equal(key, d.key.PublicKey().Marshal())
			return check(m, p)
		}
	})
	c := newClient(t, func(o *Options) { o.Keys = keys })
	for range 2 {
		if _, err := c.Do(t.Context(), d.target, Exchange{}); err != nil {
			t.Fatal(err)
		}
	}
	if !pinnedFirst {
		t.Error("the password was sent before the key was on disk")
	}
	if i, err := os.Stat(path); err != nil || i.Mode() != 0o600 {
		t.Errorf("%v %v", i.Mode(), err)
	}

	// Another one answers at the device's address.
	other := newDevice(t)
	_, err := c.Do(t.Context(), other.target, Exchange{})
	e := wantError(t, err, ErrHostKey, fingerprint(d.key.PublicKey().Marshal()), fingerprint(other.key.PublicKey().Marshal()), "t-7", FileName)
	if e.Retry() {
		t.Error("it is tried again")
	}
	if tries := other.noted(&other.tries); len(tries) > 0 {
		t.Errorf("it was sent %q", tries)
	}

	// In another life it may have another key.
	other.target.Life = "t-8"
	if _, err := c.Do(t.Context(), other.target, Exchange{}); err != nil {
		t.Error(err)
	}

	// A line that the operator removes is pinned anew, without a restart.
	other.target.Life = "t-7"
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), other.target, Exchange{}); err != nil {
		t.Error(err)
	}
}

// TestAnotherKindOfKey: a device with keys of several kinds shows the pinned one;
// one that lost it is another device.
func TestAnotherKindOfKey(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := xssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	for _, d := range []*device{
		newDevice(t, func(d *device) { d.key = old }),
		newDevice(t, func(d *device) { d.config.AddHostKey(old) }),
	} {
		if _, err := c.Do(t.Context(), d.target, Exchange{}); err != nil {
			t.Error(err)
		}
	}
	_, err = c.Do(t.Context(), newDevice(t).target, Exchange{})
	wantError(t, err, ErrHostKey, fingerprint(old.PublicKey().Marshal()))
}

// TestKeyChangesInAConnection: the keys of a connection are renewed under way; then
// the host shows its key again.
func TestKeyChangesInAConnection(t *testing.T) {
	d := newDevice(t)
	c := newClient(t)
	k := &talk{c: c, t: d.target}
	if err := k.checkKey("", nil, d.key.PublicKey()); err != nil {
		t.Fatal(err)
	}
	if err := k.checkKey("", nil, d.key.PublicKey()); err != nil {
		t.Error(err)
	}
	other, _ := newKey(t)
	wantError(t, k.checkKey("", nil, other.PublicKey()), ErrHostKey)
	wantError(t, k.broken(t.Context(), "", "", nil), ErrHostKey)
}

// brokenKeys fails where it is told to.
type brokenKeys struct{ get, put error }

func (b brokenKeys) Get(string, string) ([]byte, bool, error) { return nil, false, b.get }
func (b brokenKeys) Put(string, string, []byte) error         { return b.put }

func TestKeyCannotBeRecorded(t *testing.T) {
	full := errors.New("no space left on device")
	for _, b := range []brokenKeys{{get: full}, {put: full}, {put: ErrHostKey}} {
		d := newDevice(t)
		c := newClient(t, func(o *Options) { o.Keys = b })
		_, err := c.Do(t.Context(), d.target, Exchange{})
		if e := wantError(t, err, ErrRecord, "nothing secret was sent"); !e.Retry() {
			t.Error("it is not tried again")
		}
		if tries := d.noted(&d.tries); len(tries) > 0 {
			t.Errorf("it was sent %q", tries)
		}
	}
}

// TestTwoContactsAtOnce: whoever comes second compares with what the first pinned.
func TestTwoContactsAtOnce(t *testing.T) {
	d, c := newDevice(t), newClient(t)
	if err := c.o.Keys.Put("tor-01", "t-7", blob(t)); err != nil {
		t.Fatal(err)
	}
	k := &talk{c: c, t: d.target} // it saw no pinned key
	wantError(t, k.checkKey("", nil, d.key.PublicKey()), ErrHostKey)
}

func TestKeyFileReplacesNothing(t *testing.T) {
	f := NewKeyFile(filepath.Join(t.TempDir(), FileName))
	first, second := blob(t), blob(t)
	if err := errors.Join(f.Put("tor-01", "t-7", first), f.Put("tor-01", "t-7", first), f.Put("tor-02", "t-7", second)); err != nil {
		t.Fatal(err)
	}
	if err := f.Put("tor-01", "t-7", second); !errors.Is(err, ErrHostKey) {
		t.Errorf("%v", err)
	}
	if got, ok, err := f.Get("tor-01", "t-7"); err != nil || !ok || !bytes.Equal(got, first) {
		t.Errorf("%x %v %v", got, ok, err)
	}
	if _, ok, err := f.Get("tor-01", "t-8"); err != nil || ok {
		t.Errorf("%v %v", ok, err)
	}
	for _, bad := range [][3]string{{"", "t-7", string(first)}, {"tor 01", "t-7", string(first)}, {"tor-01", "", string(first)}, {"tor-03", "t-7", "x"}, {"tor-03", "t-7", string(first) + "x"}} {
		if err := f.Put(bad[0], bad[1], []byte(bad[2])); err == nil {
			t.Errorf("pinned %q", bad[:2])
		}
	}
}

func TestOldLivesAreForgotten(t *testing.T) {
	f := NewKeyFile(filepath.Join(t.TempDir(), FileName))
	if err := f.Put("tor-02", "t-1", blob(t)); err != nil {
		t.Fatal(err)
	}
	for i := range maxLives + 3 {
		if err := f.Put("tor-01", fmt.Sprint("t-", i), blob(t)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxLives + 3 {
		if _, ok, err := f.Get("tor-01", fmt.Sprint("t-", i)); err != nil || ok != (i >= 3) {
			t.Errorf("life %d: %v %v", i, ok, err)
		}
	}
	if _, ok, err := f.Get("tor-02", "t-1"); err != nil || !ok {
		t.Errorf("%v %v", ok, err)
	}
}

func TestKeyFileIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	key := blob(t)
	var pins []pin
	for i := range maxPinned {
		pins = append(pins, pinOf(t, fmt.Sprint("d-", i), "t-1", key))
	}
	b, err := encode(pins)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NewKeyFile(path).Put("tor-01", "t-1", key); err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("%v", err)
	}
}

func pinOf(t *testing.T, device, life string, key []byte) pin {
	t.Helper()
	k, err := xssh.ParsePublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pin{Device: device, Life: life, Key: strings.TrimSpace(string(xssh.MarshalAuthorizedKey(k)))}
}

func TestDamagedKeyFile(t *testing.T) {
	b, err := encode([]pin{pinOf(t, "tor-01", "t-7", blob(t))})
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for words, text := range map[string]string{
		"its last line is cut off":   good[:len(good)-1],
		"no JSON object":             good[:len(good)/2] + "\n",
		"line 2: a second key":       good + good,
		"as rackreach writes it":     strings.Replace(good, `{"device"`, `{ "device"`, 1),
		"device \"\" and life":       strings.Replace(good, "tor-01", "", 1),
		"the key of tor-01 is no":    strings.Replace(good, "AAAA", "AAAB", 1),
		"line 1: it is not written ": "{}\n",
		"more than 4194304 bytes":    strings.Repeat("\n", maxKeyFile+1),
	} {
		path := filepath.Join(t.TempDir(), FileName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, getErr := NewKeyFile(path).Get("tor-01", "t-7")
		putErr := NewKeyFile(path).Put("tor-01", "t-7", blob(t))
		for _, err := range []error{getErr, putErr} {
			if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "take it from a backup") {
				t.Errorf("%v, want %q", err, words)
			}
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("a damaged file was changed: %v", err)
		}
	}
}

// FuzzKeyFile: what is believed is what would be written.
func FuzzKeyFile(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS"
	line := `{"device":"tor-01","life":"t-7","key":"` + key + `"}` + "\n"
	for _, seed := range []string{"", line, line + line, line + strings.Replace(line, "t-7", "t-8", 1), line[:30], "{}\n", "null\n", "\n",
		strings.Replace(line, "tor-01", "a\\u001bb", 1), strings.Replace(line, "AAAAC3", "AAAAB3", 1), strings.Replace(line, "device", "Device", 1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pins, err := decode(b)
		if err != nil {
			if !printableLine(err.Error()) {
				t.Errorf("%q", err)
			}
			return
		}
		again, err := encode(pins)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q becomes %q, %v", b, again, err)
		}
		for _, p := range pins {
			if key, err := p.blob(); err != nil || fingerprint(key) == "unreadable" || !validName(p.Device) || !validName(p.Life) {
				t.Errorf("%+v: %v", p, err)
			}
		}
	})
}
