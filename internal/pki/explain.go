package pki

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// Explain adds to an error of a connection to a coordinator what the agent's own
// certificate has to do with it, and what to do. It asks the coordinator once
// more: a refused certificate shows only after a handshake of TLS 1.3, and what
// is sent then often hides it behind "connection reset". nil stays nil.
func (id *Identity) Explain(ctx context.Context, url string, err error) error {
	state := id.state.Load()
	again := fmt.Sprintf("make a token with \"rackreach enroll --rack %s\" at the coordinator and start the agent with --token", state.rack)
	return state.explain(ctx, url, id.ClientTLS, again, err)
}

func (s *identityState) explain(ctx context.Context, url string, config func(host string) *tls.Config, again string, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	host, bad := hostOf(url)
	at := s.certificate.Leaf.NotAfter
	expired := time.Now().After(at)
	var refused error
	if bad == nil && !expired {
		refused = probe(ctx, url, config(host))
	}
	if bad == nil && (expired || ofTime(err) || ofTime(refused)) {
		if clocks, theirs := apart(ctx, url, config(host), errors.Join(err, refused)); clocks != "" {
			err = fmt.Errorf("%w: %s", err, clocks)
			if !theirs.After(at) {
				return err
			}
			expired = true
		}
	}
	if expired {
		return fmt.Errorf("%w: %w: that of rack %s, at %s: %s", err, ErrExpired, s.rack, at.Format(time.RFC3339), again)
	}
	if refused != nil && strings.Contains(refused.Error(), "remote error: tls:") {
		return fmt.Errorf("%w: the coordinator refuses the certificate of rack %s (%w): if it was revoked, %s", err, s.rack, refused, again)
	}
	return err
}

// probe makes a handshake and waits for the first word of the server, which is
// the beginning of HTTP/2 or why it refuses. Nothing is sent after the handshake.
func probe(ctx context.Context, to string, config *tls.Config) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	config.NextProtos = []string{"h2"}
	ctx, cancel := context.WithTimeout(ctx, callLimit/3)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	if err := conn.SetReadDeadline(time.Now().Add(callLimit / 3)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}
