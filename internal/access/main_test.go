package access

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"github.com/rackreach/rackreach/messages/messagesconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// memory is a Table.
type memory struct {
	mu   sync.Mutex
	rows map[string][]byte
	revs map[string]uint64
	last uint64
}

func (m *memory) Get(_ context.Context, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revs[key] == 0 {
		return nil, 0, ErrNone
	}
	return slices.Clone(m.rows[key]), m.revs[key], nil
}

func (m *memory) Update(_ context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.revs[key] != revision {
		return 0, ErrConflict
	}
	if m.rows == nil {
		m.rows, m.revs = map[string][]byte{}, map[string]uint64{}
	}
	m.last++
	m.rows[key], m.revs[key] = slices.Clone(value), m.last
	return m.last, nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, key)
	delete(m.revs, key)
	return nil
}

func (m *memory) Keys(context.Context) (out []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.revs {
		out = append(out, key)
	}
	return out, nil
}

// port is a coordinator's port on a real socket. Its handlers do nothing.
type port struct {
	*httptest.Server
	gate   *Gate
	tokens *Tokens
	audit  *Audit
}

// agentHeader stands for a certificate.
const agentHeader = "Test-Agent"

type agentKey struct{}

func newPort(t *testing.T, change func(*GateOptions)) *port {
	t.Helper()
	audit, err := OpenAudit(filepath.Join(t.TempDir(), "audit.jsonl"), 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &port{tokens: NewTokens(&memory{}), audit: audit}
	opts := GateOptions{Tokens: p.tokens, Audit: audit, Log: quiet, Agent: func(ctx context.Context) (string, error) {
		rack, _ := ctx.Value(agentKey{}).(string)
		return rack, nil
	}}
	if change != nil {
		change(&opts)
	}
	p.gate = NewGate(opts)
	with := connect.WithInterceptors(p.gate)
	mux := http.NewServeMux()
	mux.Handle(messagesconnect.NewRackServiceHandler(messagesconnect.UnimplementedRackServiceHandler{}, with))
	mux.Handle(messagesconnect.NewFleetServiceHandler(messagesconnect.UnimplementedFleetServiceHandler{}, with))
	mux.Handle(messagesconnect.NewBusServiceHandler(messagesconnect.UnimplementedBusServiceHandler{}, with))
	mux.Handle(messagesconnect.NewEnrollmentServiceHandler(messagesconnect.UnimplementedEnrollmentServiceHandler{}, with))
	mux.Handle(messagesconnect.NewAccessServiceHandler(NewService(ServiceOptions{Tokens: p.tokens, Audit: audit, Log: quiet,
		Enroll: func(_ context.Context, rack string, _ time.Time) (string, time.Time, error) {
			return "token for " + rack, time.Now(), nil
		},
		Revoke: func(context.Context, string) error { return nil }}), with))
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if rack := r.Header.Get(agentHeader); rack != "" {
			ctx = context.WithValue(ctx, agentKey{}, rack)
		}
		if name := r.Header.Get("Test-Local"); name != "" {
			ctx = WithLocal(ctx, name)
		}
		p.gate.Before(mux).ServeHTTP(w, r.WithContext(ctx))
	}))
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(func() {
		p.Server.Close()
		if err := audit.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// token makes a token of a role.
func (p *port) token(t *testing.T, name string, role Role) string {
	t.Helper()
	secret, _, err := p.tokens.Create(t.Context(), name, role, "test", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

type answer struct{ Code, Message string }

// call makes a call with a JSON message and tells the error that came back; none
// when it was answered.
func (p *port) call(t *testing.T, procedure string, streams bool, body string, headers map[string]string) answer {
	t.Helper()
	kind, sent := "application/json", []byte(body)
	if streams {
		kind = "application/connect+json"
		sent = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+procedure, bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", kind)
	q.Header.Set("Connect-Protocol-Version", "1")
	for k, v := range headers {
		q.Header.Set(k, v)
	}
	r, err := p.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		answer
		Error answer
	}
	for streams && len(b) >= 5 && b[0]&2 == 0 {
		b = b[5+binary.BigEndian.Uint32(b[1:5]):]
	}
	if streams && len(b) >= 5 {
		b = b[5:]
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %s %q: %v", procedure, r.Status, b, err)
	}
	if streams {
		return out.Error
	}
	return out.answer
}
