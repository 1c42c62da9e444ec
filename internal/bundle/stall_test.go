package bundle

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, for virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.done); return nil }

func (*pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A server that takes a question and says nothing, or stops in the middle of a file, is
// away, and the error says so: nobody told us to stop.
func TestServerThatFallsSilentIsAway(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"no answer":     func(http.ResponseWriter) {},
		"half a file":   func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"imageLayout`)); w.(http.Flusher).Flush() },
		"a header only": func(w http.ResponseWriter) { w.WriteHeader(200); w.(http.Flusher).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{make(chan net.Conn), make(chan struct{})}
				s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					begin(w)
					<-q.Context().Done()
				})}
				ended := make(chan error, 1)
				go func() { ended <- s.Serve(p) }()
				client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
					mine, its := net.Pipe()
					p.conns <- its
					return mine, nil
				}}}
				began := time.Now()
				_, err := OpenWeb(t.Context(), "http://depot/x", client)
				if err == nil || !Away(err) || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "http://depot/x: it sends nothing") {
					t.Errorf("away %v: %v", Away(err), err)
				}
				if took := time.Since(began); took < webStall || took > webAnswer {
					t.Errorf("after %s", took)
				}
				client.CloseIdleConnections()
				_ = s.Close()
				if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
