package access

import (
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// bodyLimit bounds how long the message of a call may take to arrive: a plan of
// 16 MiB at 140 kB/s.
const bodyLimit = 2 * time.Minute

// Before refuses a call of which nobody knows who makes it before any of its body
// is read, and ends one whose message does not arrive. A message is held in memory
// as a whole before an interceptor sees it: strangers could fill the memory with
// messages that never end. What is no call is passed on.
func (g *Gate) Before(next http.Handler) http.Handler {
	refusal := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		need, known := policy[q.URL.Path]
		if !known {
			next.ServeHTTP(w, q)
			return
		}
		if _, _, err := g.know(q.Context(), q.URL.Path, q.Header, q.RemoteAddr, ""); err != nil {
			_ = refusal.Write(w, q, err) // whoever asked may have gone
			return
		}
		if !need.streams {
			// Where no deadline can be set, who is known may take their time.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit))
		}
		next.ServeHTTP(w, q)
	})
}
