package bus

import (
	"context"
	"crypto/tls"
	"sync"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Several are coordinators on one log, of which any will do: a client that speaks with one
// of them at a time.
type Several struct {
	clients []*Client
	urls    []string

	mu sync.Mutex
	at int
}

var _ messagesconnect.BusServiceClient = (*Several)(nil)

// DialSeveral makes a client of the coordinators at some URLs, at least one, and begins with
// the first; config is how each is trusted, nil without TLS. Errors: as Dial.
func DialSeveral(urls []string, config func(url string) (*tls.Config, error)) (*Several, error) {
	s := &Several{urls: urls}
	for _, u := range urls {
		how, err := config(u)
		if err != nil {
			return nil, err
		}
		c, err := Dial(u, how)
		if err != nil {
			return nil, err
		}
		s.clients = append(s.clients, c)
	}
	return s, nil
}

// Next goes on to the next coordinator, after the last to the first, and lets go of idle
// connections.
func (s *Several) Next() {
	s.mu.Lock()
	s.at = (s.at + 1) % len(s.clients)
	s.mu.Unlock()
	s.Close()
}

// URL is that of the coordinator that is spoken with.
func (s *Several) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.urls[s.at]
}

func (s *Several) client() *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[s.at]
}

// Connect implements messagesconnect.BusServiceClient.
func (s *Several) Connect(ctx context.Context) *connect.BidiStreamForClient[messages.ConnectRequest, messages.ConnectResponse] {
	return s.client().Connect(ctx)
}

// Adopt implements messagesconnect.BusServiceClient.
func (s *Several) Adopt(ctx context.Context, q *connect.Request[messages.AdoptRequest]) (*connect.ServerStreamForClient[messages.AdoptResponse], error) {
	return s.client().Adopt(ctx, q)
}

// Close lets go of idle connections.
func (s *Several) Close() {
	for _, c := range s.clients {
		c.Close()
	}
}
