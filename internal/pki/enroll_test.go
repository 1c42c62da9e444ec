package pki

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
)

func TestATokenIsForOneAgent(t *testing.T) {
	c := newCoordinator(t, lives{})
	text, _, err := c.enrollments.Create(t.Context(), "r1", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	const agents = 20
	dir := t.TempDir()
	var enrolled atomic.Int32
	var all sync.WaitGroup
	for i := range agents {
		all.Go(func() {
			id, err := Enroll(t.Context(), text, filepath.Join(dir, strconv.Itoa(i)))
			if err == nil {
				enrolled.Add(1)
				if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
					t.Errorf("%q %v", got, err)
				}
			}
		})
	}
	all.Wait()
	if n := enrolled.Load(); n != 1 {
		t.Errorf("%d of %d agents got a certificate for one token", n, agents)
	}
}

// slow is a table in which two readers read before either writes.
type slow struct {
	Memory
	read sync.WaitGroup
}

func (s *slow) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	b, revision, err := s.Memory.Get(ctx, key)
	if revision == 1 { // what Create wrote
		s.read.Done()
		s.read.Wait()
	}
	return b, revision, err
}

func TestTwoReadOneTokenAndOneTakesIt(t *testing.T) {
	tokens := &slow{}
	e := &Enrollments{Tokens: tokens, Generations: &Memory{}, View: NewView(nil), URL: "https://h", Fingerprint: func() string { return strings.Repeat("a", 64) }}
	text, _, err := e.Create(t.Context(), "r1", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	const takers = 20
	tokens.read.Add(takers)
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for i := range takers {
		all.Go(func() {
			switch _, _, err := e.take(t.Context(), token.Secret, "key "+strconv.Itoa(i)); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrTokenUsed):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != takers-1 {
		t.Errorf("%d took it, %d were told it was used", won.Load(), lost.Load())
	}
}

// TestAnInterruptedEnrollmentGoesOn ends an agent after the token was used up and
// before, between and after its files were written.
func TestAnInterruptedEnrollmentGoesOn(t *testing.T) {
	c := newCoordinator(t, lives{})
	text, _, err := c.enrollments.Create(t.Context(), "r1", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Enroll(t.Context(), text, dir); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, undo := range map[string]func() error{
		"nothing written but the key": func() error {
			return errors.Join(os.Rename(path(keyFile), path(pendingFile)), os.Remove(path(certFile)), os.Remove(path(caFile)), os.Remove(path(serverFile)))
		},
		"the authorities written": func() error {
			return errors.Join(os.Rename(path(keyFile), path(pendingFile)), os.Remove(path(certFile)))
		},
		"all written": func() error { return nil },
	} {
		if err := undo(); err != nil {
			t.Fatal(err)
		}
		id, err := Enroll(t.Context(), text, dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	// All but the last renaming: it is made up for when the identity is loaded.
	if err := os.Rename(path(keyFile), path(pendingFile)); err != nil {
		t.Fatal(err)
	}
	id, err := LoadIdentity(dir)
	if err != nil || id.Rack() != "r1" || id.Server() != c.url {
		t.Fatalf("%v", err)
	}
	if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
		t.Errorf("with the key that was pending: %q %v", got, err)
	}
	if info, err := os.Stat(path(keyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", info, err)
	}
	if _, err := Enroll(t.Context(), text, t.TempDir()); err == nil || !strings.Contains(err.Error(), "used already") || !strings.Contains(err.Error(), "rackreach enroll") {
		t.Errorf("another directory with the same token: %v", err)
	}
	if _, err := LoadIdentity(t.TempDir()); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("never enrolled: %v", err)
	}
}

func TestTokensThatAreNotTaken(t *testing.T) {
	c := newCoordinator(t, lives{})
	enroll := func(text string) error {
		_, err := Enroll(t.Context(), text, t.TempDir())
		return err
	}
	soon, _, err := c.enrollments.Create(t.Context(), "r1", time.Now().Add(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	token, err := ParseToken(soon)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token expires", func() bool {
		_, _, err := c.enrollments.take(t.Context(), token.Secret, "")
		return errors.Is(err, ErrTokenExpired)
	})
	before, _, err := c.enrollments.Create(t.Context(), "r2", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.enrollments.Revoke(t.Context(), "r2"); err != nil {
		t.Fatal(err)
	}
	foreign := aToken()
	foreign.URL, foreign.Fingerprint = c.url, c.server.Fingerprint()
	mitm := token
	mitm.Fingerprint = strings.Repeat("0", 64)
	nobody := token
	nobody.URL = "https://127.0.0.1:1"
	for _, x := range []struct{ name, text, want string }{
		{"of a coordinator that is away", nobody.String(), ErrAway.Error()},
		{"expired", soon, "has expired"},
		{"of a revoked rack", before, "was revoked after"},
		{"never made", foreign.String(), "not known"},
		{"of another authority", mitm.String(), "somebody is in between"},
	} {
		if err := enroll(x.text); err == nil || !strings.Contains(err.Error(), x.want) || errors.Is(err, ErrAway) != (x.want == ErrAway.Error()) {
			t.Errorf("a token %s: %v", x.name, err)
		}
	}
	for _, at := range []time.Time{time.Now().Add(-time.Second), time.Now().Add(maxTokenLife + time.Hour)} {
		if _, _, err := c.enrollments.Create(t.Context(), "r1", at); err == nil {
			t.Errorf("a token until %v is made", at)
		}
	}
	if _, _, err := c.enrollments.Create(t.Context(), "R 1", time.Time{}); err == nil {
		t.Error("a token for a rack without a name is made")
	}
	// The table holds no secret.
	keys, err := c.enrollments.Tokens.Keys(t.Context())
	if err != nil || len(keys) == 0 {
		t.Fatal(err)
	}
	for _, key := range keys {
		if row, _, err := c.enrollments.Tokens.Get(t.Context(), key); err != nil || strings.Contains(key+string(row), token.Secret) {
			t.Errorf("%s %s %v", key, row, err)
		}
	}
}

func TestGuessingIsBounded(t *testing.T) {
	c := newCoordinator(t, lives{})
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := newCSR(key)
	if err != nil {
		t.Fatal(err)
	}
	client, done := enrollmentClient(c.url, pinned("127.0.0.1", c.server.Fingerprint()))
	defer done()
	counts := map[connect.Code]int{}
	for range 3 * failuresAtOnce {
		_, err := client.Enroll(t.Context(), connect.NewRequest(&messages.EnrollRequest{Secret: "guess", Csr: csr}))
		counts[connect.CodeOf(err)]++
	}
	if n := counts[connect.CodeUnauthenticated]; n < failuresAtOnce || n > failuresAtOnce+2 || counts[connect.CodeResourceExhausted] == 0 {
		t.Errorf("answers: %v", counts)
	}
}

func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Now()
	a, b := source("192.0.2.1:1234"), source("[2001:db8::1]:99")
	if source("192.0.2.1:9") != a || source("[::ffff:192.0.2.1]:9") != a || source("[2001:db8::ff]:1") != b || a == b {
		t.Error("sources are not told apart as they should be")
	}
	for range failuresAtOnce {
		if w := th.wait(a, now); w != 0 {
			t.Fatalf("waits %s", w)
		}
		th.failed(a, now)
	}
	if w := th.wait(a, now); w != failureEvery {
		t.Errorf("waits %s", w)
	}
	if th.wait(b, now) != 0 || th.wait(a, now.Add(failureEvery)) != 0 {
		t.Error("others wait, or it waits for too long")
	}
	for i := range 3 * maxSources {
		th.failed(source("[2001:db8:0:"+strconv.FormatInt(int64(i), 16)+"::1]:1"), now)
	}
	if n := len(th.sources); n > maxSources+1 {
		t.Errorf("%d sources are remembered", n)
	}
	th.failed(a, now.Add(24*time.Hour))
	if n := len(th.sources); n > 2 {
		t.Errorf("%d sources are remembered for ever", n)
	}
}
