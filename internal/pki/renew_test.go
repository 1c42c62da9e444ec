package pki

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestEverythingRenewsWhileItRuns lets the certificates of both sides live for
// seconds, and connects all the while.
func TestEverythingRenewsWhileItRuns(t *testing.T) {
	c := newCoordinator(t, lives{server: 3 * time.Second, agent: 3 * time.Second})
	id := c.enroll(t, "r1")
	firstServer, first := c.server.Expires(), id.Expires()
	h := httpClient(id.ClientTLS("127.0.0.1")) // one connection that lives through all of it
	defer h.CloseIdleConnections()
	ctx, stop := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { id.RenewLoop(ctx, func() string { return c.url }, quiet) })
	eventually(t, "both first certificates have expired, and nobody was refused", func() bool {
		if got, err := whoBy(h, c.url); got != "r1 HTTP/2.0" {
			t.Fatalf("the old connection: %q %v", got, err)
		}
		if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
			t.Fatalf("a new connection: %q %v", got, err)
		}
		now := time.Now()
		return now.After(firstServer) && now.After(first)
	})
	stop()
	loop.Wait()
	loaded, err := LoadIdentity(id.dir)
	if err != nil || !loaded.Expires().Equal(id.Expires()) || !loaded.Expires().After(first) {
		t.Errorf("what is live is not what is kept: %v", err)
	}
}

// lockedBuffer is a log that two goroutines use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAnExpiredAgentSaysWhatToDo keeps the coordinator away until the agent's
// certificate has expired, and then enrolls it again beside the running loop.
func TestAnExpiredAgentSaysWhatToDo(t *testing.T) {
	c := newCoordinator(t, lives{agent: time.Second})
	id := c.enroll(t, "r1")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out lockedBuffer
	var loop sync.WaitGroup
	loop.Go(func() {
		id.RenewLoop(ctx, func() string { return "https://127.0.0.1:1" }, slog.New(slog.NewTextHandler(&out, nil)))
	})
	eventually(t, "it is told that and what to do", func() bool {
		return strings.Contains(out.String(), "has expired") && strings.Contains(out.String(), "rackreach enroll --rack r1")
	})
	expired := id.Expires()
	text, _, err := c.enrollments.Create(t.Context(), "r1", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Enroll(t.Context(), text, id.dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new certificate is taken without a restart", func() bool { return id.Expires().After(expired) })
	stop()
	loop.Wait()
}

func TestRotation(t *testing.T) {
	c := newCoordinator(t, lives{})
	id, late := c.enroll(t, "r1"), c.enroll(t, "r2")
	h := httpClient(id.ClientTLS("127.0.0.1")) // never closed: nobody is restarted
	defer h.CloseIdleConnections()
	works := func(when string) {
		t.Helper()
		if got, err := whoBy(h, c.url); got != "r1 HTTP/2.0" {
			t.Fatalf("%s: the old connection: %q %v", when, got, err)
		}
		if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
			t.Fatalf("%s: a new connection: %q %v", when, got, err)
		}
	}
	renew := func() {
		t.Helper()
		if err := id.Renew(t.Context(), c.url); err != nil {
			t.Fatal(err)
		}
	}
	// As another process does it: the running coordinator sees the directory only.
	operator, err := OpenAuthorities(c.authorities.dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	old := operator.Fingerprint()
	next, err := operator.Add()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second authority is trusted", func() bool { return len(c.server.Trusted()) == 2 })
	if c.server.Fingerprint() != old {
		t.Error("the second authority signs already")
	}
	works("two authorities")
	renew() // now it trusts both
	if err := operator.Sign(next); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second authority signs", func() bool { return c.server.Fingerprint() == next })
	works("the second signs")
	if _, err := c.who(late.ClientTLS("127.0.0.1")); err == nil {
		t.Error("an agent that trusts the first only believes a certificate of the second")
	}
	renew() // now its certificate is by the second
	if err := operator.Drop(next); err == nil {
		t.Error("the authority that signs was dropped")
	}
	if err := operator.Drop(old); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first is not trusted", func() bool { return len(c.server.Trusted()) == 1 })
	works("the first is gone")
	renew()
	works("all by the second")
	stale := late.ClientTLS("127.0.0.1")
	stale.VerifyConnection = nil // it believes anybody; is it believed?
	if err := probe(t.Context(), c.url, stale); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("a certificate of a dropped authority: %v", err)
	}
	if list := operator.List(); len(list) != 1 || list[0].Fingerprint != next || !list[0].Signs {
		t.Errorf("%+v", list)
	}
}

func TestBrokenAuthoritiesLeaveThoseOfBefore(t *testing.T) {
	c := newCoordinator(t, lives{})
	id := c.enroll(t, "r1")
	var out lockedBuffer
	c.authorities.log = slog.New(slog.NewTextHandler(&out, nil))
	if err := os.WriteFile(filepath.Join(c.authorities.dir, "signer"), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is logged", func() bool { c.server.current(); return strings.Contains(out.String(), "damaged") })
	if got, err := c.who(id.ClientTLS("127.0.0.1")); got != "r1 HTTP/2.0" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := OpenAuthorities(t.TempDir(), quiet); err == nil || !strings.Contains(err.Error(), "coordinator init") {
		t.Errorf("no authorities: %v", err)
	}
	if err := InitAuthorities(c.authorities.dir); err == nil {
		t.Error("a directory with authorities gets a first one")
	}
}
