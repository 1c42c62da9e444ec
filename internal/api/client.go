package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages"
	"github.com/rackreach/rackreach/messages/messagesconnect"
)

// Client talks to the API of an agent or of a coordinator. An agent serves no
// fleet and no access.
type Client struct {
	messagesconnect.RackServiceClient
	Fleet  messagesconnect.FleetServiceClient
	Access messagesconnect.AccessServiceClient
	URL    string // of a coordinator on the network; empty: it is on this machine
	http   *http.Client
}

// Dial connects to the unix socket of an agent or of a coordinator. It fails with
// ErrNobody, wrapped, when nobody serves it, or who does is dying.
func Dial(ctx context.Context, path string) (*Client, error) {
	c := newClient("http://rackreach", "", &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: dialLimit}
			return d.DialContext(ctx, "unix", path)
		},
		DisableCompression: true,
	})
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	for tries := 0; ; tries++ {
		_, err := c.ListRacks(ctx, connect.NewRequest(&messages.ListRacksRequest{}))
		if err == nil {
			return c, nil
		}
		// An agent that begins a plan hands its socket to another service: a connection
		// that was accepted in that moment is closed unheard.
		if unheard := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); !unheard || tries == handedOver {
			c.Close()
			return nil, fmt.Errorf("connect to %s: %w: %w", path, ErrNobody, err)
		}
	}
}

// handedOver is how often a connection may be closed unheard before nobody is there.
const handedOver = 2

// Server is a coordinator on the network.
type Server struct {
	URL   string      // https://HOST:PORT, or http:// on loopback
	TLS   *tls.Config // whom to trust; nil: what the system trusts
	Token string      // of whoever asks; empty: none
}

// Connect makes a client of a coordinator. Nothing is sent yet. Errors: a URL that
// is none, or that would send a token in the clear.
func Connect(s Server) (*Client, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("%.200q is not the URL of a coordinator: write https://HOST:PORT", s.URL)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("%s: without TLS only a coordinator on this machine is asked: write https://", s.URL)
	}
	c := newClient(strings.TrimRight(s.URL, "/"), s.Token, &http.Transport{
		DialContext:         (&net.Dialer{Timeout: remoteDialLimit}).DialContext,
		TLSClientConfig:     s.TLS,
		TLSHandshakeTimeout: remoteDialLimit,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true,
	})
	c.URL = s.URL
	return c, nil
}

// remoteDialLimit bounds the connecting to a coordinator.
const remoteDialLimit = 10 * time.Second

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func newClient(base, token string, t *http.Transport) *Client {
	h := &http.Client{Transport: &bearer{t, token}}
	fit := connect.WithInterceptors(printable{})
	return &Client{RackServiceClient: messagesconnect.NewRackServiceClient(h, base, fit), Fleet: messagesconnect.NewFleetServiceClient(h, base, fit),
		Access: messagesconnect.NewAccessServiceClient(h, base, fit), http: h}
}

// bearer sends a token with every request.
type bearer struct {
	*http.Transport
	token string
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(q *http.Request) (*http.Response, error) {
	if b.token != "" {
		q = q.Clone(q.Context())
		q.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.Transport.RoundTrip(q)
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Local serves a service to this process only, and returns a client of it.
// close ends both.
func Local(s *Service) (client *Client, close func() error) {
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	client = newClient("http://rackreach", "", &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) },
		DisableCompression: true,
	})
	return client, func() error {
		client.Close()
		cancel()
		return <-ended
	}
}
