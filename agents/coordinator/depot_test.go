package coordinator

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/internal/blob"
	"github.com/rackreach/rackreach/internal/bundle"
	"github.com/rackreach/rackreach/messages"
)

// stock puts a release into the depot of a coordinator.
func stock(t *testing.T, dir string) *bundle.Bundle {
	t.Helper()
	l, err := bundle.Init(t.Context(), filepath.Join(dir, "depot"))
	if err != nil {
		t.Fatal(err)
	}
	kernel := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(kernel, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := l.Add(t.Context(), bundle.Input{Path: kernel, Name: "vmlinuz", Kind: bundle.Kernel})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.SetRelease(t.Context(), (&bundle.Release{Name: "2026.3"}).With(a...))
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDepot: an agent fetches a release by its certificate, nobody else does, and who
// is revoked no more.
func TestDepot(t *testing.T) {
	s := serve(t, home(t, true), "", "127.0.0.1:0")
	id := s.enroll("r1")
	client := func(c *tls.Config) *http.Client {
		c.NextProtos = []string{"http/1.1"}
		transport := &http.Transport{TLSClientConfig: c}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	agent, stranger := client(id.ClientTLS("127.0.0.1")), client(s.trust())
	if _, err := bundle.OpenWeb(t.Context(), s.url+"/depot/", agent); err == nil || !strings.Contains(err.Error(), "no bundle") {
		t.Errorf("an empty depot: %v", err)
	}
	want := stock(t, s.dir)
	p, err := bundle.OpenWeb(t.Context(), s.url+"/depot", agent)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Find(t.Context(), p, "")
	if err != nil || b.Ref != want.Ref {
		t.Fatalf("%+v %v", b, err)
	}
	if damaged, err := b.CheckBlobs(t.Context()); err != nil || len(damaged) > 0 {
		t.Errorf("%v %v", damaged, err)
	}
	until(t, "what was sent counts", func() bool { // a handler counts it when its client has it already
		_, _, sent := s.c.depot.Stand()
		return sent >= 1<<20
	})
	get := func(h *http.Client, token string, status int, says string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/depot/index.json", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			q.Header.Set("Authorization", "Bearer "+token)
		}
		a, err := h.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != status || !strings.Contains(string(text), says) {
			t.Errorf("%d %q %v, want %d %q", a.StatusCode, text, err, status, says)
		}
	}
	token, err := s.admin.Access.CreateToken(t.Context(), connect.NewRequest(&messages.CreateTokenRequest{Name: "ada", Role: "operator"}))
	if err != nil {
		t.Fatal(err)
	}
	get(agent, "", http.StatusOK, "2026.3")
	get(stranger, "", http.StatusUnauthorized, "only the agent of a rack may call this")
	get(stranger, token.Msg.GetSecret(), http.StatusUnauthorized, "only the agent of a rack may call this")
	if _, err := s.admin.Access.RevokeAgent(t.Context(), connect.NewRequest(&messages.RevokeAgentRequest{Rack: "r1"})); err != nil {
		t.Fatal(err)
	}
	get(agent, "", http.StatusUnauthorized, "revoked") // over the connection that is open
	var final *blob.Final
	if _, err := p.Fetch(t.Context(), b.Artifacts[0].Digest, b.Artifacts[0].Size, 0); !errors.As(err, &final) {
		t.Errorf("%v", err)
	}
}

// Without certificates an agent on this machine fetches over loopback.
func TestDepotOnLoopback(t *testing.T) {
	s := serve(t, home(t, false), "", "127.0.0.1:0")
	stock(t, s.dir)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p, err := bundle.OpenWeb(t.Context(), s.url+"/depot", &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bundle.Find(t.Context(), p, "2026.3"); err != nil {
		t.Error(err)
	}
}
