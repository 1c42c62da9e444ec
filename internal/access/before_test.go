package access

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// deadlines is an answer whose connection can have a deadline.
type deadlines struct {
	*httptest.ResponseRecorder
	at time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.at = at
	return nil
}

func TestStrangersAreRefusedBeforeTheirBodyIsRead(t *testing.T) {
	p := newPort(t, nil)
	passed := false
	before := p.gate.Before(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true }))
	good := "Bearer " + p.token(t, "ci", Viewer)
	for _, x := range []struct {
		name, procedure, kind, token string
		passes, streams              bool
		want                         string
	}{
		{name: "no token", procedure: messagesconnect.FleetServicePutPlanProcedure, kind: "application/proto", want: "no token was shown"},
		{name: "a wrong token", procedure: messagesconnect.RackServiceGetRackProcedure, kind: "application/json", token: "Bearer rr_x", want: "not known"},
		{name: "an agent without a certificate", procedure: messagesconnect.BusServiceConnectProcedure, kind: "application/grpc", want: "only the agent of a rack"},
		{name: "a stream", procedure: messagesconnect.FleetServiceWatchFleetProcedure, kind: "application/connect+json", want: "no token was shown"},
		{name: "rubbish", procedure: messagesconnect.FleetServicePutPlanProcedure, kind: "text/plain", want: "no token was shown"},
		{name: "a token", procedure: messagesconnect.RackServiceGetRackProcedure, kind: "application/proto", token: good, passes: true},
		{name: "a token, a stream", procedure: messagesconnect.RackServiceWatchEventsProcedure, kind: "application/connect+proto", token: good, passes: true, streams: true},
		{name: "who enrolls", procedure: messagesconnect.EnrollmentServiceEnrollProcedure, kind: "application/proto", passes: true},
		{name: "no call", procedure: "/healthz", kind: "text/plain", passes: true, streams: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			passed = false
			q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, x.procedure, unread{t})
			q.Header.Set("Content-Type", x.kind)
			if x.token != "" {
				q.Header.Set("Authorization", x.token)
			}
			w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			before.ServeHTTP(w, q)
			told := w.Body.String() + w.Header().Get("Grpc-Message") + w.Result().Trailer.Get("Grpc-Message")
			if passed != x.passes || !strings.Contains(strings.ReplaceAll(told, "%20", " "), x.want) {
				t.Errorf("passed %v, told %q %v", passed, told, w.Header())
			}
			if has := !w.at.IsZero(); x.passes && has == x.streams {
				t.Errorf("a deadline for its message: %v", has)
			}
		})
	}
	if n := len(mustList(t, p.audit, 0)); n != 5 {
		t.Errorf("%d refusals were written down, not 5", n)
	}
}

// TestAMessageThatNeverEnds is the whole way, over a socket.
func TestAMessageThatNeverEnds(t *testing.T) {
	p := newPort(t, nil)
	body, never := io.Pipe()
	defer func() { _ = never.Close() }()
	go func() { _, _ = never.Write(bytes.Repeat([]byte("x"), 1<<20)) }() // to be given up
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+messagesconnect.FleetServicePutPlanProcedure, body)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	r, err := p.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusUnauthorized || !strings.Contains(string(b), "no token was shown") {
		t.Errorf("%v %s %q", err, r.Status, b)
	}
}
