package pki

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/messages/messagesconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 20 s it never came about: %s", what)
		}
	}
}

// coordinator is the port of a coordinator, on a real socket.
type coordinator struct {
	url         string
	authorities *Authorities
	server      *Server
	enrollments *Enrollments
	view        *View
	revoked     chan string
	ahead       atomic.Int64 // nanoseconds by which its clock is wrong
}

type lives struct{ server, agent time.Duration }

// newCoordinator serves enrollment and "/who", which tells the rack that asks.
func newCoordinator(t testing.TB, l lives) *coordinator {
	t.Helper()
	dir := t.TempDir()
	if err := InitAuthorities(dir); err != nil {
		t.Fatal(err)
	}
	authorities, err := OpenAuthorities(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c := &coordinator{authorities: authorities, revoked: make(chan string, 100)}
	c.view = NewView(func(rack string) { c.revoked <- rack })
	c.server, err = NewServer(ServerOptions{Authorities: authorities, Names: []string{"127.0.0.1", "localhost"}, Life: l.server, View: c.view, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	authorities.look, c.server.look = 10*time.Millisecond, 10*time.Millisecond
	c.serve(t, c.server.TLS(), l.agent)
	return c
}

func (c *coordinator) serve(t testing.TB, config *tls.Config, life time.Duration) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.url = "https://" + l.Addr().String()
	c.enrollments = &Enrollments{Tokens: &Memory{}, Generations: &Memory{}, View: c.view, URL: c.url, Fingerprint: c.server.Fingerprint}
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewEnrollmentServiceHandler(NewService(ServiceOptions{
		Enrollments: c.enrollments, Authorities: c.authorities, Server: c.server, Life: life, Log: quiet})))
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		rack, _, err := Rack(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, rack+" "+r.Proto)
	})
	server := &http.Server{Handler: c.late(WithConnection(mux)), TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close(); <-done })
}

// enroll makes a token and enrolls an agent with it.
func (c *coordinator) enroll(t testing.TB, rack string) *Identity {
	t.Helper()
	text, _, err := c.enrollments.Create(t.Context(), rack, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	id, err := Enroll(t.Context(), text, filepath.Join(t.TempDir(), "identity"))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// who asks "/who" over a connection of its own.
func (c *coordinator) who(config *tls.Config) (string, error) {
	h := httpClient(config)
	defer h.CloseIdleConnections()
	return whoBy(h, c.url)
}

func whoBy(h *http.Client, url string) (string, error) {
	q, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+"/who", nil)
	if err != nil {
		return "", err
	}
	r, err := h.Do(q)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}
