package bus

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/rackreach/rackreach/messages/messagesconnect"
)

const (
	dialLimit = 10 * time.Second
	pingAfter = 15 * time.Second // of silence
	pingLimit = 15 * time.Second
	maxFrame  = 16 << 10 // bytes, the least that HTTP/2 knows: each connection keeps room for the largest that came
)

// ServerHTTP2 is how a server of the Door speaks HTTP/2: a peer that does not
// answer a ping is given up.
func ServerHTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{MaxConcurrentStreams: 250, MaxReadFrameSize: maxFrame, SendPingTimeout: pingAfter, PingTimeout: pingLimit,
		MaxReceiveBufferPerStream: 512 << 10, MaxReceiveBufferPerConnection: 2 << 20}
}

// Unpacked is an option of a handler of the Door: nothing is packed. Acknowledgements
// are small, and a packer for each of a thousand streams is not.
func Unpacked() connect.HandlerOption { return connect.WithCompression("gzip", nil, nil) }

// Client is a client of a Door.
type Client struct {
	messagesconnect.BusServiceClient
	transport *http.Transport
}

// Dial makes a client of the coordinator at a URL: https://HOST:PORT with config;
// http://HOST:PORT on loopback; or unix:///path of its socket. Nothing is sent yet.
func Dial(target string, config *tls.Config) (*Client, error) {
	t := &http.Transport{TLSClientConfig: config, TLSHandshakeTimeout: dialLimit, DisableCompression: true, Protocols: new(http.Protocols),
		DialContext: (&net.Dialer{Timeout: dialLimit}).DialContext,
		HTTP2:       &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLimit}}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%.200q is not the URL of a coordinator: write https://HOST:PORT", target)
	case u.Scheme == "unix" && u.Path != "":
		t.Protocols.SetUnencryptedHTTP2(true)
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "unix", u.Path)
		}
		target = "http://coordinator"
	case u.Scheme == "http" && loopback(u.Hostname()):
		t.Protocols.SetUnencryptedHTTP2(true)
	case u.Scheme == "http":
		return nil, fmt.Errorf("%s: without TLS only a coordinator on this machine is spoken to: write https://", target)
	case u.Scheme == "https" && u.Host != "":
		t.Protocols.SetHTTP2(true)
	default:
		return nil, fmt.Errorf("%.200q is not the URL of a coordinator: write https://HOST:PORT, or unix:///PATH of its socket", target)
	}
	h := &http.Client{Transport: t}
	return &Client{messagesconnect.NewBusServiceClient(h, strings.TrimRight(target, "/"), connect.WithReadMaxBytes(MaxMessage), connect.WithGRPC(), connect.WithAcceptCompression("gzip", nil, nil)), t}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
